"""`melanoma evaluate`: how good is a bundle, or any model's predictions, on labelled images?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma.cli import inputs, options, predictors
from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    import pandas as pd

    from melanoma.data.manifest import Manifest
    from melanoma.evaluation.comparison import Comparison
    from melanoma.evaluation.evaluate import EvaluationReport, Scorer
    from melanoma.evaluation.looks import LookCount
    from melanoma.evaluation.metrics import Floats
    from melanoma.evaluation.plain_words import Origin


@dataclass(frozen=True)
class _Model:
    """What judges: `folder` of its bundle, None for predictions; `notice` must be said beside the figures.

    `calibrated_to`: the prevalence that its `y_prob` means; `trained_on`: names of sources; None where not known.
    """

    name: str
    scorer: "Scorer"
    folder: Path | None = None
    notice: str | None = None
    calibrated_to: float | None = None
    trained_on: list[str] | None = None


@dataclass(frozen=True)
class _Images:
    """What is judged, of all that the data hold; `groups` and `splits`, what the split is called, a row."""

    judged: "Manifest"
    known: "Manifest"
    groups: list[str]
    splits: "pd.Series[str]"
    name: str

    @property
    def table(self) -> "pd.DataFrame":
        """The judged images, `given_split` being what the split is called."""
        return self.judged.table.assign(given_split=self.splits.to_numpy(dtype=object))


def evaluate(
    data: options.Data,
    bundle: options.BundleOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="CSV of any model's y_prob with path or image_id, judged in place of a bundle."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Second model: a bundle, or a CSV of its predictions.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Refer from this y_prob on, in place of what a CSV says."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")] = Path(
        "evaluation"
    ),
    label: options.Labels = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Only images that a given folder split, or --splits, names so; several times for several."
        ),
    ] = None,
    splits: Annotated[
        Path | None, typer.Option(help="Splits made by `melanoma split`, for --split and the groups.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only images of this source of the data.")] = None,
    groups: options.Dependent = None,
    skin_tone: Annotated[
        bool, typer.Option("--skin-tone/--no-skin-tone", help="Estimate skin tone, for figures by it.")
    ] = True,
    seed: options.Seed = 1,
    resamples: options.Resamples = 1000,
) -> None:
    """Judge labelled images: figures with 95 % intervals as JSON, CSV and one HTML page."""
    from melanoma.evaluation import report as reporting

    inputs.check_output(output, [*data, predictions, compare, splits, groups], reporting.NAMES)
    _check_options(bundle, predictions, compare, threshold)
    images = _find_images(data, label, groups, splits, split=split, source=source)
    first, second = _open_models(images, bundle, predictions, compare, threshold)
    ita = _estimate_skin_tone(images) if skin_tone else None
    report = _judge(first, images, ita, resamples, seed)
    comparison = _compare(report, first, second, images, resamples, seed) if second else None
    looks = _note_look(first, images, data, output)
    if second and second.folder:
        _note_look(second, images, data, output)
    reporting.save(
        [report],
        output,
        title=f"{first.name} on {images.name}",
        facts=_list_facts(first, images),
        notice=first.notice,
        comparison=comparison,
        looks=looks,
        origin=_find_origin(first, images),
    )
    _print(report, comparison, looks)
    typer.echo(f"report: {output / 'report.html'}")


def _find_images(
    data: list[str],
    label: list[str] | None,
    groups: Path | None,
    splits: Path | None,
    *,
    split: list[str] | None,
    source: str | None,
) -> _Images:
    from melanoma.data import manifest as manifests

    with show_progress("reading the images") as update:
        known = manifests.load(data, labels=options.parse_labels(label), require_both=False, progress=update)
    found, called = _divide(known, groups, splits)
    rows = known.table["source"].isin([source] if source else known.table["source"])
    if not rows.any():
        names = ", ".join(repr(one.name) for one in known.sources)
        raise ManifestError(f"no source is called {source!r}; there are {names}")
    if split:
        split = list(dict.fromkeys(split))
        missing = [name for name in split if not (called == name).any()]
        if missing:
            raise ManifestError(f"no image is given as {missing[0]!r}; leave --split out to judge all")
        rows &= called.isin(split)
        if not rows.any():
            raise ManifestError(f"no image of {source!r} is given as {' or '.join(split)}")
    judged = known.subset(rows.to_numpy(copy=True))
    say(manifests.describe(judged))
    sources = source or ", ".join(one.name for one in known.sources)
    parts = " and ".join(split or ())
    name = f"{parts} of {source}" if parts and source else parts or sources
    return _Images(judged, known, found[rows].tolist(), called[rows], name)


def _divide(
    known: "Manifest", groups: Path | None, splits: Path | None
) -> "tuple[pd.Series[str], pd.Series[str]]":
    """The group of every image and what its split is called: by the files given, else by the folders."""
    from melanoma.data import splits as splitting

    called = known.table["given_split"]
    if splits is None:
        return splitting.find_groups(known, splitting.load_groups(groups) if groups else None), called
    loaded = splitting.load(splits, known).table
    if groups is None:
        return loaded["group_id"], loaded["split"]
    return splitting.find_groups(known, splitting.load_groups(groups)), loaded["split"]


def _check_options(
    bundle: str | None, predictions: Path | None, compare: str | None, threshold: float | None
) -> None:
    """Raise ConfigError for options that contradict each other, before any work."""
    if predictions is not None and bundle is not None:
        raise ConfigError("give --bundle or --predictions, and the other one with --compare")
    if threshold is not None and predictions is None and (compare is None or not _is_csv(compare)):
        raise ConfigError(
            "--threshold is for predictions from a CSV; a bundle's operating point is frozen in it"
        )


def _open_models(
    images: _Images,
    bundle: str | None,
    predictions: Path | None,
    compare: str | None,
    threshold: float | None,
) -> tuple[_Model, _Model | None]:
    """What judges, and what it is compared with."""
    second_csv = Path(compare) if compare is not None and _is_csv(compare) else None
    first = _open_bundle(bundle) if predictions is None else _open_csv(predictions, images, threshold)
    if compare is None:
        return first, None
    second = _open_bundle(compare) if second_csv is None else _open_csv(second_csv, images, threshold)
    return first, second


def _is_csv(place: str) -> bool:
    return place.lower().endswith(".csv") or Path(place).is_file()


def _open_bundle(bundle: str | None) -> _Model:
    predictor = predictors.open_predictor(bundle)
    opened = predictor.bundle
    return _Model(
        opened.name,
        predictor,
        opened.folder,
        opened.notice,
        opened.calibration.prevalence,
        opened.facts.get("sources"),
    )


def _open_csv(path: Path, images: _Images, threshold: float | None) -> _Model:
    from melanoma.evaluation import predictions

    saved = predictions.load(path, images.judged, images.known, threshold=threshold)
    return _Model(path.name, saved)


def _estimate_skin_tone(images: _Images) -> "Floats":
    from melanoma.evaluation.skin_tone import estimate_angles

    with show_progress("estimating skin tone") as update:
        return estimate_angles(images.judged.table["path"].tolist(), update)


def _judge(
    model: _Model, images: _Images, ita: "Floats | None", resamples: int, seed: int
) -> "EvaluationReport":
    from melanoma.evaluation import evaluate as evaluation

    with show_progress(f"judging with {model.name}") as update:
        return evaluation.evaluate(
            model.scorer,
            images.judged,
            name=images.name,
            resamples=resamples,
            seed=seed,
            groups=images.groups,
            ita=ita,
            calibrated_to=model.calibrated_to,
            progress=update,
        )


def _compare(
    report: "EvaluationReport", first: _Model, second: _Model, images: _Images, resamples: int, seed: int
) -> "Comparison":
    from melanoma.evaluation import comparison

    other = _judge(second, images, None, resamples, seed)
    names = first.name, second.name
    if first.name == second.name:
        names = f"{first.name} ({first.scorer.digest[:8]})", f"{second.name} ({second.scorer.digest[:8]})"
    if names[0] == names[1]:
        names = names[0], f"{names[1]}, again"
    return comparison.compare(report, other, names, resamples=resamples, seed=seed)


def _note_look(model: _Model, images: _Images, data: list[str], output: Path) -> "LookCount | None":
    """Write down that test images were judged, beside the model's run or else in `output`."""
    return inputs.note_look(
        "melanoma evaluate",
        images.table,
        bundle=model.folder,
        bundle_digest=model.scorer.digest,
        manifest_digest=images.judged.digest,
        data=data,
        output=output,
    )


def _find_origin(model: _Model, images: _Images) -> "Origin":
    from melanoma.evaluation import looks
    from melanoma.evaluation.plain_words import Origin

    run = looks.find_run(model.folder) if model.folder else None
    return Origin(model.trained_on, looks.count_test_images(images.table, run))


def _list_facts(model: _Model, images: _Images) -> dict[str, str]:
    kind = "predictions" if model.folder is None else "bundle"
    return {
        kind: f"{model.name}, {model.scorer.digest}",
        "images": images.judged.digest,
        "files left out": f"{len(images.known.skipped)} (empty, missing, or without a label)",
    }


def _print(report: "EvaluationReport", comparison: "Comparison | None", looks: "LookCount | None") -> None:
    for figure, estimate in report.figures.items():
        typer.echo(f"{'accuracy at 0.5' if figure == 'accuracy' else figure}: {estimate}")
    if report.rows is not None and (broken := int((report.rows["error"] != "").sum())):
        typer.echo(f"could not be read, so count as referred: {broken}; predictions.csv names them")
    if report.within_sources is not None:
        typer.echo(f"auroc within sources, mean: {report.within_sources.auroc}")
    if comparison is not None:
        for figure, pair in comparison.figures.items():
            typer.echo(f"{figure}, {comparison.first} minus {comparison.second}: {pair.difference}")
        delong = comparison.delong
        said = f"z {delong.z:.2f}, p {delong.p_value:.3g}" if delong else comparison.delong_note
        typer.echo(f"DeLong's test of equal auroc: {said}")
    if looks is not None:
        typer.echo(f"looks at test images so far: {looks.total}, of exactly these: {looks.same_images}")
