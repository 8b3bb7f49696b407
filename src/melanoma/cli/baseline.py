"""`melanoma baseline`: the traditional method, to set the networks against."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma.cli import inputs, options
from melanoma.cli.progress import say, show_progress, show_stages
from melanoma.errors import ConfigError

if TYPE_CHECKING:
    from melanoma.data.manifest import Manifest
    from melanoma.data.splits import Splits
    from melanoma.evaluation.baseline import Baseline

SHOWN = 5  # most important features


def baseline(
    data: options.Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "baseline"
    ),
    groups: options.Groups = None,
    splits: Annotated[Path | None, typer.Option(help="Splits made by `melanoma split`.")] = None,
    label: options.Labels = None,
    seed: options.Seed = 1,
    features: Annotated[
        Path | None,
        typer.Option(help="features.csv of an earlier run; images found in it are not measured again."),
    ] = None,
) -> None:
    """Train the traditional method: lesion segmentation, ABCD-rule features, gradient-boosted trees."""
    from melanoma.data import manifest as manifests
    from melanoma.evaluation import baseline as fitting
    from melanoma.evaluation import baseline_files
    from melanoma.evaluation.abcd import table as tables

    inputs.check_output(output, [*data, groups, splits], baseline_files.NAMES)
    with show_progress("reading the images") as update:
        manifest = manifests.load(data, labels=options.parse_labels(label), progress=update)
    say(manifests.describe(manifest))
    divided = divide(manifest, splits, groups, seed)
    fitting.check(manifest, divided)
    with show_progress("measuring lesions") as update:
        table = tables.measure(manifest, output, [features] if features else [], progress=update)
    with show_stages() as tell:
        fitted = fitting.fit(manifest, divided, table, seed=seed, progress=tell)
    baseline_files.save(fitted, manifest, divided, table, output, seed=seed)
    report(fitted, data, output)


def divide(manifest: "Manifest", splits: Path | None, groups: Path | None, seed: int) -> "Splits":
    """The splits that `melanoma train` takes for the same options. Raises ConfigError for both options."""
    from melanoma.config import SplitsConfig
    from melanoma.data import splits as splitting

    if splits and groups:
        raise ConfigError("give --splits, which holds the groups already, or --groups")
    if splits:
        return splitting.load(splits, manifest)
    table = splitting.load_groups(groups) if groups else None
    return splitting.assign(manifest, **SplitsConfig().model_dump(), seed=seed, groups=table)


def report(fitted: "Baseline", data: list[str], output: Path) -> None:
    """What was chosen, what matters, and how to judge it."""
    for name, counts in fitted.counts.items():
        typer.echo(
            f"{name}: {counts['melanoma']:,} melanoma, {counts['other']:,} other; without features"
            f" {counts['without_features']:,}, unreadable {counts['unreadable']:,}"
        )
    best = fitted.trials[0].hyperparameters
    typer.echo(f"chosen on val: {best.max_leaf_nodes} leaves, {best.trees} trees")
    point = fitted.operating_point
    typer.echo(
        f"threshold {point.threshold:.3f}: on calibration sensitivity {point.sensitivity:.3f},"
        f" specificity {point.specificity:.3f}"
    )
    for name, fall in [*fitted.families.items(), *list(fitted.features.items())[:SHOWN]]:
        typer.echo(f"auroc lost on val without {name}: {fall}")
    files = {"--splits": output / "splits.csv", "--predictions": output / "predictions.csv"}
    options_ = [str(word) for pair in files.items() for word in pair]
    command = ["melanoma", "evaluate", *data, *options_, "--split", "test", "-o", str(output / "evaluation")]
    typer.echo(f"judge it with: {shlex.join(command)}")
