"""Arguments and options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from melanoma.errors import ConfigError, ManifestError

Data = Annotated[
    list[str],
    typer.Argument(metavar="DATA...", help="Folder or CSV of labelled images, as PATH or NAME=PATH."),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", help="What a label means: NAME=1 for melanoma, NAME=0 for other."),
]
Groups = Annotated[
    Path | None, typer.Option(help="CSV of source, path, group_id: images that must stay in one split.")
]
BundleOption = Annotated[
    str | None,
    typer.Option("--bundle", help="Bundle folder or models:/name@alias; default: the shipped one."),
]
Dependent = Annotated[
    Path | None,
    typer.Option(help="CSV of source, path, group_id: images that depend on each other, from an audit."),
]
Split = Annotated[str | None, typer.Option(help="Only images that a given folder split names so.")]
Resamples = Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")]


def parse_labels(labels: Sequence[str] | None) -> dict[str, int]:
    """`NAME=0|1` pairs as a mapping. Raises ConfigError."""
    parsed = {}
    for text in labels or []:
        name, equals, value = text.rpartition("=")
        if not equals or value not in {"0", "1"}:
            raise ConfigError(f"--label {text!r} must be NAME=1 for melanoma or NAME=0 for other")
        parsed[name] = int(value)
    return parsed


def check_sources(data: Sequence[str]) -> None:
    """Raise ManifestError for a source, given as PATH or NAME=PATH, that is not there."""
    from melanoma.data.manifest import name_source

    for source in data:
        name_source(source)


def resolve_inputs(data: Sequence[str]) -> set[Path]:
    """Every path that sources, given as PATH or NAME=PATH, may mean. Raises ManifestError."""
    texts = {text for source in data for text in (source, source.partition("=")[2]) if text}
    return {_expand(text).resolve() for text in texts}


def _expand(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # a home folder of nobody
        raise ManifestError(f"no such folder or file: {text}") from error
