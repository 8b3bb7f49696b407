"""`melanoma evaluate`: how good is a bundle on labelled images?"""

from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import options
from melanoma.cli.progress import say, show_progress


def evaluate(
    data: options.Data,
    bundle: options.BundleOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")] = Path(
        "evaluation"
    ),
    label: options.Labels = None,
    split: Annotated[str | None, typer.Option(help="Only images that a given folder split names so.")] = None,
    seed: options.Seed = 1,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples.")] = 1000,
) -> None:
    """Judge labelled images: figures with 95 % intervals as JSON, CSV and one HTML page."""
    from melanoma.data import manifest as manifests
    from melanoma.data import splits as splitting
    from melanoma.errors import ManifestError
    from melanoma.evaluation import evaluate as evaluation
    from melanoma.evaluation import report as reporting

    with show_progress("reading the images") as update:
        manifest = manifests.load(
            data, labels=options.parse_labels(label), require_both=False, progress=update
        )
    if split is not None:
        rows = (manifest.table["given_split"] == split).to_numpy()
        if not rows.any():
            raise ManifestError(f"no image is given as {split!r}; leave --split out to judge all")
        manifest = manifest.subset(rows)
    say(manifests.describe(manifest))
    predictor = options.open_predictor(bundle)
    name = split or ", ".join(source.name for source in manifest.sources)
    with show_progress("judging") as update:
        report = evaluation.evaluate(
            predictor,
            manifest,
            name=name,
            resamples=resamples,
            seed=seed,
            groups=splitting.find_groups(manifest).tolist(),
            progress=update,
        )
    notice = predictor.bundle.facts.get("notice")
    facts = {"bundle": f"{predictor.bundle.name}, {predictor.digest}", "images": manifest.digest}
    facts["files left out"] = f"{len(manifest.skipped)} (empty, missing, or without a label)"
    reporting.save([report], output, title=f"{predictor.bundle.name} on {name}", facts=facts, notice=notice)
    for figure, estimate in report.figures.items():
        typer.echo(f"{figure}: {estimate}")
    typer.echo(f"report: {output / 'report.html'}")
