"""`melanoma check-explanations`: can a bundle's heat maps be believed?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma.cli import inputs, options, predictors
from melanoma.cli.progress import say, show_stages

if TYPE_CHECKING:
    from melanoma.data.manifest import Manifest


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
    split: options.Split = None,
    groups: options.Dependent = None,
    label: options.Labels = None,
    seed: options.Seed = 1,
    resamples: options.Resamples = 1000,
) -> None:
    """Check heat maps: do they lie on the lesion, and do they come from what the network has learnt?"""
    from melanoma.evaluation import explanation_report as reporting
    from melanoma.evaluation.explanation_summary import list_findings
    from melanoma.evaluation.explanations import check_explanations as check

    inputs.check_output(output, [*data, groups], reporting.NAMES)
    predictor = predictors.open_predictor(bundle)
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
    looks = inputs.note_look(
        "melanoma check-explanations",
        chosen.drawn.table,
        bundle=predictor.bundle.folder,
        bundle_digest=predictor.digest,
        manifest_digest=chosen.drawn.digest,
        data=data,
        output=output,
    )
    notice = predictor.bundle.notice
    facts = {
        "bundle": f"{predictor.bundle.name}, {predictor.digest}",
        "files left out": f"{chosen.n_skipped} (empty, or missing)",
        "not assessed": inputs.describe_refused(report.rows.loc[report.rows["error"] == "", "decision"]),
    }
    reporting.save(report, output, title=title, facts=facts, notice=notice, looks=looks)
    for finding in list_findings(report):
        typer.echo(f"{finding.question} {finding.answer}. {finding.sentence}")
    for note in report.notes:
        typer.echo(note)
    typer.echo(f"not assessed: {facts['not assessed']}")
    typer.echo(f"report: {output / 'report.html'}")


def _draw_images(
    data: list[str], label: list[str] | None, split: str | None, groups: Path | None, images: int, seed: int
) -> _Images:
    from melanoma.data import manifest as manifests
    from melanoma.evaluation.sampling import draw_images

    known, wanted, found = inputs.find_images(data, label, split, groups)
    numbers = draw_images(wanted.table["y_true"].to_numpy(), found.factorize()[0], images, seed)
    drawn = wanted.subset(numbers.tolist())
    say(manifests.describe(drawn))
    name = ", ".join(source.name for source in known.sources) + (f" ({split})" if split else "")
    return _Images(drawn, found.iloc[numbers].tolist(), name, len(wanted.table), len(known.skipped))
