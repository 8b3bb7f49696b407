"""`melanoma check-explanations`: can a bundle's heat maps be believed?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma.cli import options
from melanoma.cli.progress import say, show_progress, show_stages
from melanoma.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    from melanoma.data.manifest import Manifest
    from melanoma.evaluation.looks import LookCount
    from melanoma.inference.predictor import Predictor


@dataclass(frozen=True)
class _Images:
    """Some of the `n_available` images, drawn by lot; `groups` a row."""

    drawn: "Manifest"
    groups: list[str]
    name: str
    n_available: int
    n_skipped: int


def check_explanations(
    data: options.Data,
    bundle: options.BundleOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "explanations"
    ),
    images: Annotated[
        int, typer.Option(min=0, help="Images of each class, drawn by lot; 0 takes all.")
    ] = 200,
    networks: Annotated[
        int, typer.Option(min=2, help="Random networks for each step of the check of weights.")
    ] = 10,
    split: Annotated[str | None, typer.Option(help="Only images that a given folder split names so.")] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV of source, path, group_id: images that depend on each other, from an audit."),
    ] = None,
    label: options.Labels = None,
    seed: options.Seed = 1,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 1000,
) -> None:
    """Check heat maps: do they lie on the lesion, and do they come from what the network has learnt?"""
    from melanoma.evaluation import explanation_report as reporting
    from melanoma.evaluation.explanation_summary import list_findings
    from melanoma.evaluation.explanations import check_explanations as check

    _refuse_inputs(output, data, reporting.NAMES)
    predictor = options.open_predictor(bundle)
    chosen = _draw_images(data, label, split, groups, images, seed)
    with show_stages() as progress:
        report = check(
            predictor,
            chosen.drawn,
            chosen.groups,
            name=chosen.name,
            n_available=chosen.n_available,
            networks=networks,
            resamples=resamples,
            seed=seed,
            progress=progress,
        )
    title = f"Heat maps of {predictor.bundle.name} on {chosen.name}"
    looks = _note_look(predictor, chosen.drawn, data, output)
    notice = predictor.bundle.facts.get("notice")
    facts = {
        "bundle": f"{predictor.bundle.name}, {predictor.digest}",
        "files left out": f"{chosen.n_skipped} (empty, or missing)",
    }
    reporting.save(report, output, title=title, facts=facts, notice=notice, looks=looks)
    for finding in list_findings(report):
        typer.echo(f"{finding.question} {finding.answer}. {finding.sentence}")
    for note in report.notes:
        typer.echo(note)
    typer.echo(f"report: {output / 'report.html'}")


def _refuse_inputs(output: Path, data: list[str], names: tuple[str, ...]) -> None:
    inputs = options.resolve_inputs(data)
    for name in names:
        if (output / name).resolve() in inputs:
            raise ConfigError(f"{output / name} is one of the inputs; give another --output")


def _draw_images(
    data: list[str], label: list[str] | None, split: str | None, groups: Path | None, images: int, seed: int
) -> _Images:
    from melanoma.data import manifest as manifests
    from melanoma.data import splits as splitting
    from melanoma.evaluation.sampling import draw_images

    with show_progress("reading the images") as update:
        known = manifests.load_leniently(data, labels=options.parse_labels(label), progress=update)
    found = splitting.find_groups(known, splitting.load_groups(groups) if groups else None)
    rows = (
        (known.table["given_split"] == split).to_numpy() if split else (known.table["path"] != "").to_numpy()
    )
    if not rows.any():
        raise ManifestError(f"no image is given as {split!r}; leave --split out to take all")
    wanted, found = known.subset(rows), found[rows]
    numbers = draw_images(wanted.table["y_true"].to_numpy(), found.factorize()[0], images, seed)
    drawn = wanted.subset(numbers.tolist())
    say(manifests.describe(drawn))
    name = ", ".join(source.name for source in known.sources) + (f" ({split})" if split else "")
    return _Images(drawn, found.iloc[numbers].tolist(), name, len(wanted.table), len(known.skipped))


def _note_look(
    predictor: "Predictor", images: "Manifest", data: list[str], output: Path
) -> "LookCount | None":
    """Write down that test images were judged, beside the bundle's run or else in `output`."""
    from melanoma.evaluation import looks

    run = looks.find_run(predictor.bundle.folder)
    n = looks.count_test_images(images.table, run)
    if n == 0:
        return None
    look = looks.look_now(
        "melanoma check-explanations",
        bundle_digest=predictor.digest,
        manifest_digest=images.digest,
        data=data,
        splits=sorted(images.table["given_split"].replace("", "none given").unique()),
        n=n,
    )
    say(f"this look at test images is noted in {(run or output) / looks.NAME}")
    return looks.record(run or output, look)
