"""`melanoma stress`: what artefacts do to a bundle, and what it knows without the lesion."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma.cli import inputs, options, predictors
from melanoma.cli.progress import say, show_progress

if TYPE_CHECKING:
    from melanoma.data.manifest import Manifest
    from melanoma.evaluation.stress import StressReport
    from melanoma.inference.predictor import Predictor

_LISTED = 5  # files that cannot be read


def stress(
    data: options.Data,
    bundle: options.BundleOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")] = Path("stress"),
    images: Annotated[int, typer.Option(min=1, help="At most so many images of each class.")] = 200,
    label: options.Labels = None,
    split: options.Split = None,
    groups: options.Dependent = None,
    seed: options.Seed = 1,
    resamples: options.Resamples = 1000,
) -> None:
    """Judge images with and without artefacts, and without their lesion: what moves, and which decisions flip."""
    from melanoma.data import manifest as manifests
    from melanoma.evaluation import stress as testing
    from melanoma.evaluation import stress_report, stress_words

    inputs.check_output(output, [*data, groups], stress_report.NAMES)
    predictor = predictors.open_predictor(bundle)
    _, manifest, group = inputs.find_images(data, label, split, groups)
    say(manifests.describe(manifest))
    sample = testing.draw_sample(manifest, group.tolist(), images, seed)
    with show_progress(f"stressing {predictor.bundle.name}") as update:
        report = testing.run(predictor, sample, resamples=resamples, seed=seed, progress=update)
    for path, reason in report.unreadable[:_LISTED]:
        say(f"left out {path}: {reason}")
    if len(report.unreadable) > _LISTED:
        say(f"left out {len(report.unreadable) - _LISTED:,} more")
    name = split or ", ".join(source.name for source in manifest.sources)
    facts = _list_facts(predictor, manifest, report)
    stress_report.save(
        report,
        output,
        title=f"{predictor.bundle.name} under stress: {name}",
        facts=facts,
        notice=predictor.bundle.notice,
        looks=inputs.note_look(
            "melanoma stress",
            sample.manifest.table,
            bundle=predictor.bundle.folder,
            bundle_digest=predictor.digest,
            manifest_digest=sample.manifest.digest,
            data=data,
            output=output,
        ),
    )
    for effect in report.effects:
        typer.echo(stress_words.describe(effect))
    typer.echo(f"not assessed: {facts['not assessed']}")
    typer.echo(f"report: {output / 'report.html'}")


def _list_facts(predictor: "Predictor", manifest: "Manifest", report: "StressReport") -> dict[str, str]:
    as_they_are = report.rows[report.rows["change"] == report.effects[0].change]
    return {
        "bundle": f"{predictor.bundle.name}, {predictor.digest}",
        "files left out": f"{len(manifest.skipped)} (empty or missing)",
        "not assessed": inputs.describe_refused(as_they_are["decision_before"]),
        "drawn from": ", ".join(source.name for source in manifest.sources),
    }
