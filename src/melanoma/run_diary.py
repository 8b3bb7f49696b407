"""What a training run tells its tracker, and when."""

import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from melanoma.config import Recipe
from melanoma.evaluation import plots
from melanoma.evaluation.evaluate import EvaluationReport
from melanoma.files import replacing
from melanoma.listener import Listener
from melanoma.run_images import Request, RunImages
from melanoma.tracking import Tracker, system_metrics
from melanoma.training.fit import Progress
from melanoma.training.step import Row
from melanoma.version import __version__


class TrackedProgress(Progress):
    """Passes on what the loop tells, and notes every epoch for tracking."""

    def __init__(self, listener: Listener, tracker: Tracker, folder: Path, draws: int) -> None:
        self._listener, self._tracker = listener, tracker
        self._folder, self._draws = folder, draws
        self._began = self._trained = time.monotonic()

    def on_batch(self, epoch: int, step: int, steps: int, row: Row) -> None:
        """Pass it on."""
        self._trained = time.monotonic()
        self._listener.on_batch(epoch, step, steps, row)

    def on_epoch(self, epoch: int, row: Row) -> None:
        """Note the epoch's figures, its seconds in all, the speed of its training, the load; send, pass it on."""
        speed = self._draws / max(self._trained - self._began, 1e-9)
        values = {"epoch_seconds": time.monotonic() - self._began, "images_per_second": speed}
        values |= {**_figures(row), **system_metrics(self._folder)}
        self._tracker.metrics(values, step=epoch, key=f"epoch/{epoch}")
        self._tracker.send()
        self._began = time.monotonic()
        self._listener.on_epoch(epoch, row)


def note_start(tracker: Tracker, folder: Path, recipe: Recipe, request: Request, images: RunImages) -> None:
    """Parameters, tags, datasets with their digests, and the files that exist from the start."""
    manifest = images.manifest
    tracker.params(
        {
            **_flatten(recipe.model_dump()),
            "seed": request.seed,
            "manifest_digest": manifest.digest,
            "splits_digest": images.splits.digest,
            **{f"n_{split}": count for split, count in images.counts.items()},
        }
    )
    tracker.tags({"melanoma.version": __version__, "python": platform.python_version()})
    if request.parent:
        tracker.tags({"mlflow.parentRunId": request.parent})
    if request.average:
        tracker.tags({"melanoma.average_of": ", ".join(Path(member).name for member in request.average)})
    if request.notice:
        tracker.tags({"melanoma.notice": request.notice, "mlflow.note.content": request.notice})
    names = ", ".join(source.name for source in manifest.sources)
    for split in sorted(images.counts.keys() - {"excluded"}):
        part = manifest.subset(images.rows_of(split))
        counts = {"n_images": len(part.table), "n_melanoma": int(part.table["y_true"].sum())}
        tracker.dataset(names, part.digest, split, names, **counts)
    for name in ("recipe.yaml", "splits.csv"):
        tracker.artifact(folder / name)
    tracker.send()


def note_epochs(tracker: Tracker, history: list[Row]) -> None:
    """Note every epoch, for a run that was killed between a checkpoint and its note; noted ones stay."""
    for row in history:
        epoch = int(row["epoch"])
        tracker.metrics(_figures(row), step=epoch, key=f"epoch/{epoch}")


def note_end(
    tracker: Tracker, folder: Path, reports: list[EvaluationReport], history: list[Row], register: bool
) -> None:
    """Final figures, plots, reports and the bundle."""
    figures = _final_figures(reports)
    tracker.metrics(figures, step=int(history[-1]["epoch"]), key="final")
    pictures = {"history": plots.plot_history(history), "roc": plots.plot_roc(reports)}
    pictures |= {
        "reliability": plots.plot_reliability(reports),
        "confusion": plots.plot_confusion(reports[-1]),
    }
    for name, figure in pictures.items():
        path = folder / "evaluation" / f"{name}.png"
        with replacing(path) as temporary:
            temporary.write_bytes(plots.to_png(figure))
        tracker.artifact(path, "plots")
    for name in ("evaluation/report.html", "evaluation/evaluation.json", "history.csv"):
        tracker.artifact(folder / name, "evaluation")
    tracker.bundle(folder / "bundle", figures, register=register)


def _figures(row: Row) -> Row:
    """An epoch's figures without its number, which is their step."""
    return {name: value for name, value in row.items() if name != "epoch"}


def _final_figures(reports: list[EvaluationReport]) -> dict[str, float]:
    """`test_accuracy`, `final_train_auroc` and so on: the per-epoch series keep the short names."""
    return {
        f"{'' if report.name == 'test' else 'final_'}{report.name}_{name}": estimate.value
        for report in reports
        for name, estimate in report.figures.items()
        if estimate.value is not None
    }


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
