"""`melanoma stress`: what artefacts do to a bundle, and what it knows without the lesion."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma.cli import options
from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError, ManifestError, OutputError

if TYPE_CHECKING:
    from melanoma.data.manifest import Manifest
    from melanoma.evaluation.looks import LookCount
    from melanoma.evaluation.stress import Sample
    from melanoma.inference.predictor import Predictor

_LISTED = 5  # files that cannot be read


def stress(
    data: options.Data,
    bundle: options.BundleOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")] = Path("stress"),
    images: Annotated[int, typer.Option(min=1, help="At most so many images of each class.")] = 200,
    label: options.Labels = None,
    split: Annotated[str | None, typer.Option(help="Only images that a given folder split names so.")] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV of source, path, group_id: images that depend on each other, from an audit."),
    ] = None,
    seed: options.Seed = 1,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 1000,
) -> None:
    """Judge images with and without artefacts, and without their lesion: what moves, and which decisions flip."""
    from melanoma.evaluation import stress as testing
    from melanoma.evaluation import stress_report, stress_words

    _check_output(output, data, stress_report.NAMES)
    predictor = options.open_predictor(bundle)
    manifest, group = _find_images(data, label, split, groups)
    sample = testing.draw_sample(manifest, group, images, seed)
    with show_progress(f"stressing {predictor.bundle.name}") as update:
        report = testing.run(predictor, sample, resamples=resamples, seed=seed, progress=update)
    for path, reason in report.unreadable[:_LISTED]:
        say(f"left out {path}: {reason}")
    if len(report.unreadable) > _LISTED:
        say(f"left out {len(report.unreadable) - _LISTED:,} more")
    name = split or ", ".join(source.name for source in manifest.sources)
    stress_report.save(
        report,
        output,
        title=f"{predictor.bundle.name} under stress: {name}",
        facts=_list_facts(predictor, manifest),
        notice=predictor.bundle.facts.get("notice"),
        looks=_note_look(predictor, sample, data, output),
    )
    for effect in report.effects:
        typer.echo(stress_words.describe(effect))
    typer.echo(f"report: {output / 'report.html'}")


def _check_output(output: Path, data: list[str], names: tuple[str, ...]) -> None:
    """Before minutes of work: the results must have a place that is no input."""
    inputs = options.resolve_inputs(data)
    for name in names:
        if (output / name).resolve() in inputs:
            raise ConfigError(f"{output / name} is one of the inputs; give another --output")
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; give a folder as --output")


def _find_images(
    data: list[str], label: list[str] | None, split: str | None, groups: Path | None
) -> tuple["Manifest", list[str]]:
    """The images to draw from, and the group of each; folders without labels will do."""
    from melanoma.data import manifest as manifests
    from melanoma.data import splits as splitting

    with show_progress("reading the images") as update:
        known = manifests.load_leniently(data, labels=options.parse_labels(label), progress=update)
    if known.contradictions:
        raise ManifestError(known.contradictions[0][2])
    found = splitting.find_groups(known, splitting.load_groups(groups) if groups else None)
    if split is not None:
        rows = (known.table["given_split"] == split).to_numpy()
        if not rows.any():
            raise ManifestError(f"no image is given as {split!r}; leave --split out to draw from all")
        known, found = known.subset(rows), found[rows]
    say(manifests.describe(known))
    return known, found.tolist()


def _note_look(predictor: "Predictor", sample: "Sample", data: list[str], output: Path) -> "LookCount | None":
    """Test images are looked at here too: write it down."""
    from melanoma.evaluation import looks

    noted = looks.note(
        "melanoma stress",
        sample.manifest.table,
        bundle=predictor.bundle.folder,
        bundle_digest=predictor.digest,
        manifest_digest=sample.manifest.digest,
        data=data,
        otherwise=output,
    )
    if noted is None:
        return None
    say(f"this look at test images is noted in {noted[1]}")
    return noted[0]


def _list_facts(predictor: "Predictor", manifest: "Manifest") -> dict[str, str]:
    return {
        "bundle": f"{predictor.bundle.name}, {predictor.digest}",
        "files left out": f"{len(manifest.skipped)} (empty or missing)",
        "drawn from": ", ".join(source.name for source in manifest.sources),
    }
