"""How a bundle takes artefacts, other light, other framing, and photographs without their lesion."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from melanoma.data.manifest import Manifest
from melanoma.evaluation import pairs
from melanoma.evaluation.effects import CLASSES, Effect, estimate_auroc, summarise
from melanoma.evaluation.metrics import INTERVAL_METHOD, Estimate
from melanoma.inference.decision import OperatingPoint
from melanoma.inference.predictor import Predictor


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Images drawn from a manifest, at most `images` of each class, with the group of every row.

    `n_given`: images there were to draw from, by names of `effects.CLASSES`.
    """

    manifest: Manifest
    groups: list[str]
    images: int
    n_given: dict[str, int]


@dataclass(frozen=True, slots=True)
class StressReport:
    """What every change does to one model on some images.

    `n`: images judged, by names of `effects.CLASSES`; `n_given, images` as in `Sample`. `unreadable`: path and
    reason of drawn images that could not be read. `effects`: in the order of `pairs.TITLES`. `hidden_share`: AUROC
    of how much of the image is hidden with the lesion, as a score by itself. `rows`: as `pairs.Judged` has them.
    """

    n: dict[str, int]
    n_given: dict[str, int]
    n_groups: int
    images: int
    unreadable: list[tuple[str, str]]
    effects: list[Effect]
    hidden_share: Estimate
    operating_point: OperatingPoint
    bundle_digest: str
    manifest_digest: str
    resamples: int
    seed: int
    rows: pd.DataFrame = field(repr=False, compare=False)
    interval_method: str = INTERVAL_METHOD

    def find(self, change: str) -> Effect:
        """The effect of one change, by its name."""
        return next(effect for effect in self.effects if effect.change == change)

    def to_dict(self) -> dict[str, Any]:
        """Everything but `rows`, as plain JSON types."""
        parts = {name: getattr(self, name) for name in self.__slots__ if name != "rows"}
        effects = [effect.to_dict() for effect in self.effects]
        plain = {"hidden_share": asdict(self.hidden_share), "operating_point": asdict(self.operating_point)}
        return parts | {"effects": effects, **plain}


def draw_sample(manifest: Manifest, groups: Sequence[str], images: int, seed: int) -> Sample:
    """Draw at most `images` images of each class, by group. `groups`: one id a row.

    Groups come in an order that depends on the seed and on what they hold; the last one of a class may be cut. So
    images that depend on each other are drawn together, and a few images more or less in the data
    leave most of the others where they are.
    """
    table = manifest.table
    keys = [hashlib.sha256(f"{seed}\0{digest}".encode()).hexdigest() for digest in table["content_digest"]]
    rows = pd.DataFrame({"y_true": table["y_true"].to_numpy(), "group": list(groups), "key": keys})
    rows["turn"] = rows.groupby("group")["key"].transform("min")
    taken = rows.sort_values(["turn", "key"], kind="stable").groupby("y_true", sort=False).head(images)
    drawn = sorted(taken.index.tolist())
    return Sample(manifest.subset(drawn), [groups[row] for row in drawn], images, _count(table["y_true"]))


def run(
    predictor: Predictor,
    sample: Sample,
    *,
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> StressReport:
    """Judge each image with and without every change, and sum up.

    `progress` is called with (images done, images in all). Raises ManifestError when not one image can be read.
    """
    judged = pairs.judge(predictor, sample.manifest.table, sample.groups, seed=seed, progress=progress)
    hidden = judged.rows[judged.rows["change"] == pairs.LESION_HIDDEN]  # one row an image
    return StressReport(
        n=_count(hidden["y_true"]),
        n_given=sample.n_given,
        n_groups=hidden["group"].nunique(),
        images=sample.images,
        unreadable=list(judged.unreadable),
        effects=summarise(judged.rows, resamples=resamples, seed=seed),
        hidden_share=estimate_auroc(hidden, "share_hidden", resamples=resamples, seed=seed),
        operating_point=predictor.operating_point,
        bundle_digest=predictor.digest,
        manifest_digest=sample.manifest.digest,
        resamples=resamples,
        seed=seed,
        rows=judged.rows,
    )


def _count(y_true: "pd.Series[int]") -> dict[str, int]:
    counts = {name: int((y_true == value).sum()) for value, name in CLASSES.items()}
    return {name: count for name, count in counts.items() if count}
