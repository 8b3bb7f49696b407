"""Heat maps checked: do they lie on the lesion, come from what was learnt, and mark what the network goes by?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.data.manifest import Manifest
from melanoma.errors import ImageError
from melanoma.evaluation.explanation_examples import Example, choose_examples, draw_examples
from melanoma.evaluation.explanation_figures import CLASSES, Part, describe_parts
from melanoma.evaluation.heat import Look, look_at_all, tabulate
from melanoma.evaluation.localisation import pair_unrelated
from melanoma.evaluation.randomisation import list_steps
from melanoma.evaluation.weight_check import WeightCheck, check_weights
from melanoma.inference.predictor import Predictor

CHECKED: Final = 50  # images that random networks run over
INTERVAL_METHOD: Final = (
    "95 % percentile bootstrap over groups, and over the random networks where there are such"
)

Integers = NDArray[np.int64]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class MeanMap:
    """Averages over a class, rows from the top: of its `n` heat maps of sum 1, and of the lesions' share of a cell."""

    name: str
    n: int
    heat: list[list[float]]
    lesion: list[list[float]]


@dataclass(frozen=True, slots=True)
class Explanations:
    """What was found about the heat maps of one bundle on some images.

    `n` images were looked at, of `n_available`. `n_unreadable` of them could not be read; of the others
    `n_without_heat` have an empty heat map, and `n_without_lesion` no lesion that was found. `parts`: all images, and
    by class, decision and source. `notes`: what is left out, and why. `weights`: None where no image has heat. `rows`
    (see `heat.tabulate`, with `group`) and the pictures of `examples` are kept beside the figures.
    """

    name: str
    n: int
    n_available: int
    n_unreadable: int
    n_without_heat: int
    n_without_lesion: int
    parts: list[Part]
    notes: list[str]
    maps: list[MeanMap]
    weights: WeightCheck | None
    bundle_digest: str
    manifest_digest: str
    resamples: int
    seed: int
    interval_method: str = INTERVAL_METHOD
    rows: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False, compare=False)
    examples: list[Example] = field(default_factory=list, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but `rows` and `examples`, as plain JSON types."""
        parts = asdict(replace(self, rows=pd.DataFrame(), examples=[]))
        del parts["rows"], parts["examples"]
        return parts


def check_explanations(
    predictor: Predictor,
    manifest: Manifest,
    groups: Sequence[str],
    *,
    name: str,
    n_available: int,
    networks: int = 10,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Explanations:
    """Check the heat maps of a bundle on the images of a manifest.

    `groups`: one id a row; images that depend on each other share it. `n_available`: of how many the images were
    drawn. `networks`: how often the weights are made random at each step. `progress` is called with (stage, done, in
    all). Raises ImageError when no image can be read, BundleError when the network's weights cannot be changed.
    """
    list_steps(
        predictor.bundle.network.read_bytes()
    )  # refuses weights that cannot be changed, before any work
    group = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
    looks = look_at_all(
        predictor,
        [str(path) for path in manifest.table["path"]],
        keep=set(np.random.default_rng((seed, 1)).permutation(len(group))[:CHECKED].tolist()),
        seed=seed,
        progress=lambda done, total: progress("looking at heat maps", done, total),
    )
    found = _require_images(looks, manifest)
    rows = tabulate(manifest.table, looks, _lend(looks, group, seed)).assign(group=list(groups))
    parts, notes = describe_parts(rows[rows["error"] == ""], resamples=resamples, seed=seed)
    weights = _check_weights(
        predictor,
        looks,
        group,
        {"networks": networks, "resamples": resamples, "seed": seed},
        lambda done, total: progress("making weights random", done, total),
    )
    return Explanations(
        name=name,
        n=len(rows),
        n_available=n_available,
        n_unreadable=len(rows) - len(found),
        n_without_heat=sum(not look.is_warm for look in found),
        n_without_lesion=sum(look.lesion is None for look in found),
        parts=parts,
        notes=notes,
        maps=_average_maps(looks, manifest.table["y_true"].to_numpy()),
        weights=weights,
        bundle_digest=predictor.digest,
        manifest_digest=manifest.digest,
        resamples=resamples,
        seed=seed,
        rows=rows,
        examples=_draw_examples(predictor, manifest, looks, group, seed),
    )


def _require_images(looks: Sequence[Look | ImageError], manifest: Manifest) -> list[Look]:
    found = [look for look in looks if isinstance(look, Look)]
    if not found:
        raise ImageError(
            f"none of the {len(looks):,} images can be read; the first, {manifest.table['path'].iloc[0]}: {looks[0]}"
        )
    return found


def _find_warm(looks: Sequence[Look | ImageError]) -> list[tuple[int, Look]]:
    return [(number, look) for number, look in enumerate(looks) if isinstance(look, Look) and look.is_warm]


def _lend(looks: Sequence[Look | ImageError], group: Integers, seed: int) -> Integers:
    """For each image with heat another one of a different group whose heat it borrows (n,), else -1."""
    warm = np.array([number for number, _ in _find_warm(looks)], dtype=np.int64)
    partner = pair_unrelated(group[warm], np.random.default_rng((seed, 2)))
    lent = np.full(len(looks), -1, dtype=np.int64)
    lent[warm[partner >= 0]] = warm[partner[partner >= 0]]
    return lent


def _check_weights(
    predictor: Predictor,
    looks: Sequence[Look | ImageError],
    group: Integers,
    options: dict[str, int],
    progress: Callable[[int, int], None],
) -> WeightCheck | None:
    chosen = [
        (number, look, look.prepared) for number, look in _find_warm(looks) if look.prepared is not None
    ]
    if not chosen:
        return None
    numbers, warm, prepared = zip(*chosen, strict=True)
    here = np.unique(group[list(numbers)], return_inverse=True)[1].astype(np.int64)
    return check_weights(
        predictor.bundle,
        prepared,
        [look.heat for look in warm],
        here,
        **options,
        progress=progress,
    )


def _average_maps(looks: Sequence[Look | ImageError], y_true: Integers) -> list[MeanMap]:
    maps = []
    for value, name in CLASSES.items():
        warm = [look for number, look in _find_warm(looks) if y_true[number] == value]
        if warm:
            heat = np.mean([look.heat / look.heat.sum() for look in warm], axis=0)
            nothing = np.zeros(heat.shape)
            lesion = np.mean([nothing if look.lesion is None else look.lesion for look in warm], axis=0)
            maps.append(MeanMap(name, len(warm), heat.round(6).tolist(), lesion.round(4).tolist()))
    return maps


def _draw_examples(
    predictor: Predictor,
    manifest: Manifest,
    looks: Sequence[Look | ImageError],
    group: Integers,
    seed: int,
) -> list[Example]:
    warm = dict(_find_warm(looks))
    fit = np.array([number in warm for number in range(len(looks))])
    chosen = choose_examples(manifest.table["y_true"].to_numpy(), fit, group, seed)
    paths = [str(manifest.table["path"].iloc[number]) for number in chosen]
    heats = [warm[number].heat for number in chosen]
    return draw_examples(chosen, paths, heats, predictor.bundle.preprocessing, predictor.heat_box)
