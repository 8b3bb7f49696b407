"""`melanoma data`: public image collections."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError

if TYPE_CHECKING:
    from melanoma.data.download.folder import Result

app = typer.Typer(help="Public image collections.", no_args_is_help=True)


class Size(StrEnum):
    """Which files of the ISIC Archive."""

    FULL = "full"
    THUMBNAIL = "thumbnail"


@app.command()
def get(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="melanoma10k, isic:COLLECTION_ID, or isic with --search.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to fill.")],
    search: Annotated[
        str | None, typer.Option(help="ISIC Archive query, such as 'diagnosis_1:Malignant'.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many images of the Archive.")] = None,
    size: Annotated[Size, typer.Option(help="The Archive's images as they are, or 256 pixels.")] = Size.FULL,
    api: Annotated[str | None, typer.Option(help="Address of the Archive's API, for a mirror.")] = None,
) -> None:
    """Fetch a public collection with its labels and licences; called again, it goes on where it stopped."""
    source, colon, number = name.partition(":")
    if source not in {"isic", "melanoma10k"} or (source == "melanoma10k" and colon):
        raise ConfigError(
            f"{name!r} is no known collection; use melanoma10k, isic:COLLECTION_ID or isic --search"
        )
    if colon and not (number.isascii() and number.isdecimal()):
        raise ConfigError(f"{name!r} lacks the number of a collection, as in isic:212")
    if source == "melanoma10k" and (search or limit or api or size is not Size.FULL):
        raise ConfigError("melanoma10k comes whole; leave out --search, --limit, --size and --api")
    if source == "melanoma10k":
        result = _get_melanoma10k(output)
    else:
        result = _get_isic(output, int(number) if colon else None, search, limit, size, api)
    for image, reason in result.failed:
        say(f"{image}: {reason}")
    typer.echo(_summarise(result))


def _get_melanoma10k(output: Path) -> "Result":
    from melanoma.data.download import kaggle

    cache = kaggle.fetch(output)  # shows its own progress
    with show_progress("copying images") as update:
        return kaggle.unpack(cache, output, progress=update)


def _get_isic(
    output: Path,
    collection: int | None,
    search: str | None,
    limit: int | None,
    size: Size,
    api: str | None,
) -> "Result":
    from melanoma.data.download import archive, isic

    with show_progress("fetching images") as update:
        return isic.download(
            output,
            collection=collection,
            search=search,
            limit=limit,
            size=size.value,
            api=api or archive.API,
            progress=update,
        )


def _summarise(result: "Result") -> str:
    licences = ", ".join(f"{name} {count:,}" for name, count in result.licences.items())
    return (
        f"{result.title}: {result.fetched + result.present:,} images in {shlex.quote(str(result.folder))}"
        f" ({result.fetched:,} fetched now, {len(result.failed):,} failed); licences: {licences}"
    )
