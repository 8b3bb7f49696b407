"""How many images the domain check refuses, dermoscopic and not, and how good the quality hints are.

    python benchmarks/domain.py melanoma10k=DIR ham10000=DIR isic2017=DIR --groups audit/groups.csv

Fitted on a part of the collections and judged on the rest, then on all collections but one and judged on that one;
images that share a group (copies, views of one lesion) never stand on both sides. The pictures that are no dermoscopy
come from `melanoma.data.not_dermoscopy`. The check is fitted against parts of photographs too, so each picture is
judged by a check that never saw the photographs it shows: they are dealt to `FOLDS` parts, and there is a fit for
each. Intervals are Wilson's, of 95 %, and count pictures; those of one photograph are less independent than that.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.stats import binomtest

from melanoma.data import counterexamples
from melanoma.data import manifest as manifests
from melanoma.data import splits as splitting
from melanoma.data.artefacts import add_hair, add_ink, add_round_frame, add_ruler
from melanoma.data.domain_fitting import MAX_IMAGES, alter
from melanoma.data.not_dermoscopy import KINDS, deal, draw_all
from melanoma.inference import images
from melanoma.inference.description import describe
from melanoma.inference.domain import Domain, fit_domain
from melanoma.inference.predictor import load_predictor
from melanoma.inference.preprocessing import Preprocessing, prepare
from melanoma.inference.quality import find_hints

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Change = Callable[[Pixels, np.random.Generator], Pixels]
Rows = NDArray[np.int64]
SPEC = Preprocessing(150)
FOLDS = 4


@dataclass
class Images:
    """Prepared real images with what the fit needs; all (n, ...)."""

    paths: list[str]
    source: NDArray[np.str_]
    group: NDArray[np.str_]
    features: Floats
    altered: Floats


def load(data: list[str], groups: Path | None, each: int, seed: int) -> Images:
    """At most `each` images of every source, described as they are and altered."""
    manifest = manifests.load(data)
    group = np.asarray(splitting.find_groups(manifest, splitting.load_groups(groups) if groups else None))
    source = manifest.table["source"].to_numpy(dtype=str)
    order = np.random.default_rng(seed).permutation(len(source))
    kept = np.sort(np.concatenate([order[source[order] == name][:each] for name in np.unique(source)]))
    paths = [str(manifest.table["path"].iloc[row]) for row in kept]
    features, altered = [], []
    for number, path in enumerate(paths):
        pixels = prepare(images.load(path), SPEC)
        features.append(describe(pixels))
        altered.append(describe(alter(pixels, np.random.default_rng([seed, number]))))
    return Images(paths, source[kept], group[kept].astype(str), np.stack(features), np.stack(altered))


def fit(real: Images, rows: Rows, seed: int, without: frozenset[str] = frozenset()) -> Domain:
    """The check as `domain_fitting.fit` makes it, from images that are described already."""
    drawn = np.random.default_rng(seed).permutation(rows)[:MAX_IMAGES]
    against = counterexamples.load(without)
    return fit_domain(real.features[drawn], real.altered[drawn], against, seed=seed)


def refuse(domain: Domain, features: Floats) -> NDArray[np.bool_]:
    """Which images are refused, bool (n,)."""
    return np.asarray(domain.score(features) < domain.limit)


def split(real: Images, seed: int) -> dict[str, tuple[Rows, Rows]]:
    """Rows to fit on and to judge, for each trial."""
    names = np.unique(real.group)
    held = np.isin(real.group, np.random.default_rng(seed).permutation(names)[: int(0.3 * len(names))])
    trials = {"held out": (np.flatnonzero(~held), np.flatnonzero(held))}
    for name in np.unique(real.source):
        out = real.source == name
        if not out.all():
            trials[f"without {name}"] = (
                np.flatnonzero(~out & ~np.isin(real.group, real.group[out])),
                np.flatnonzero(out),
            )
    return trials


@dataclass
class Pictures:
    """Pictures that are no dermoscopy; all (n, ...)."""

    kind: NDArray[np.str_]
    fold: Rows
    features: Floats


def draw_pictures(each: int, seed: int) -> Pictures:
    """`each` of every kind, described."""
    kind, fold, features = zip(
        *((kind, fold, describe(prepare(p, SPEC))) for kind, fold, p in draw_all(each, seed, FOLDS)),
        strict=True,
    )
    return Pictures(np.array(kind), np.array(fold), np.stack(features))


def write_share(refused: NDArray[np.bool_]) -> str:
    """Percent with Wilson's interval."""
    interval = binomtest(int(refused.sum()), len(refused)).proportion_ci(method="wilson")
    return f"{100 * refused.mean():.1f} ({100 * interval.low:.1f}-{100 * interval.high:.1f})"


def print_refused(real: Images, pictures: Pictures, seed: int) -> Domain:
    """The table by kind, one column a trial; gives back the check of the first trial that saw all photographs."""
    trials, whole, columns = split(real, seed), {}, {}
    for name, (fitted, judged) in trials.items():
        refused = np.zeros(len(pictures.kind), np.bool_)
        for fold, part in enumerate(deal(FOLDS, seed)):
            rows = pictures.fold == fold
            refused[rows] = refuse(fit(real, fitted, seed, part), pictures.features[rows])
        whole[name] = fit(real, fitted, seed)
        taken = refuse(whole[name], real.features[judged])
        print(f"{name}: fitted on {whole[name].n:,} images, limit {whole[name].limit:.3f}", flush=True)
        kinds = {f"  {kind}": write_share(refused[pictures.kind == kind]) for kind in KINDS}
        columns[name] = {
            f"{len(refused):,} non-dermoscopic": write_share(refused),
            **kinds,
            "dermoscopic, not fitted on": write_share(taken),
            "  of so many": f"{len(judged):,}",
        }
    print(f"\nrefused, percent                {'   '.join(f'{name:>19s}' for name in columns)}")
    for row in columns["held out"]:
        print(f"{row:<32s}{'   '.join(f'{column[row]:>19s}' for column in columns.values())}")
    return whole["held out"]


def print_clinics(real: Images, pictures: Pictures, seed: int) -> None:
    """Fitted on few images of one collection alone, as `melanoma calibrate` does it."""
    print("\nfitted on             refused, percent: its other images   other collections   non-dermoscopic")
    for name in np.unique(real.source):
        own = np.random.default_rng(seed).permutation(np.flatnonzero(real.source == name))
        for count in (100, 300):
            fitted, others = own[:count], real.source != name
            rest = own[count:][~np.isin(real.group[own[count:]], real.group[fitted])]
            refused = np.zeros(len(pictures.kind), np.bool_)
            for fold, part in enumerate(deal(FOLDS, seed)):
                rows = pictures.fold == fold
                refused[rows] = refuse(fit(real, fitted, seed, part), pictures.features[rows])
            domain = fit(real, fitted, seed)
            shares = (refuse(domain, real.features[rest]), refuse(domain, real.features[others]), refused)
            print(f"{count} of {name:<18s}{'   '.join(f'{write_share(share):>19s}' for share in shares)}")


CHANGES: dict[str, Change] = {
    "as it is": lambda image, _: image,
    "darkened to 70 %": lambda image, _: (image * 0.7).astype(np.uint8),
    "darkened to 50 %": lambda image, _: (image * 0.5).astype(np.uint8),
    "pale (half the contrast, lighter)": lambda image, _: (image * 0.5 + 120).astype(np.uint8),
    "greyish (40 % of the saturation)": lambda image, _: _desaturate(image, 0.4),
    "bluish cast": lambda image, _: np.clip(image * (0.85, 0.95, 1.15), 0, 255).astype(np.uint8),
    "round frame": add_round_frame,
    "small field in a black frame": lambda image, rng: add_round_frame(image, rng, radius=0.45),
    "40 hairs": lambda image, rng: add_hair(image, rng, count=40),
    "ruler": add_ruler,
    "ink": add_ink,
    "middle half (lesion fills it)": lambda image, _: _crop_middle(image, 0.5),
    "squashed to 4:3, 768x576": lambda image, _: _resize(image, 768, 576),
    "6000x4000": lambda image, _: _resize(image, 6000, 4000),
    "turned by 90 degrees": lambda image, _: np.ascontiguousarray(np.rot90(image)),
}


def _desaturate(image: Pixels, share: float) -> Pixels:
    grey = image.mean(axis=2, keepdims=True)
    return np.asarray(grey + share * (image - grey), dtype=np.uint8)


def _crop_middle(image: Pixels, share: float) -> Pixels:
    h, w = image.shape[:2]
    y, x = int(h * (1 - share) / 2), int(w * (1 - share) / 2)
    return np.ascontiguousarray(image[y : h - y, x : w - x])


def _resize(image: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(
        Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8
    )


def _blur(image: Pixels, share: float) -> Pixels:
    radius = share * max(image.shape)
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)), dtype=np.uint8)


def print_changes(domain: Domain, paths: Sequence[str]) -> None:
    """Refused after changes that a real image may have."""
    print(f"\n{len(paths)} held-out dermoscopic images, changed: refused, percent")
    for name, change in CHANGES.items():
        some = paths[:60] if name.startswith("6000") else paths
        changed = (change(images.load(path), np.random.default_rng(n)) for n, path in enumerate(some))
        features = np.stack([describe(prepare(image, SPEC)) for image in changed])
        print(f"{name:<40s}{write_share(refuse(domain, features))}")


DEFECTS: dict[str, tuple[str, Change]] = {
    "blur, 1 % of the width": ("blurred", lambda image, _: _blur(image, 0.01)),
    "blur, 2 % of the width": ("blurred", lambda image, _: _blur(image, 0.02)),
    "40 % of the light": ("too dark", lambda image, _: (image * 0.4).astype(np.uint8)),
    "160 % of the light": ("too bright", lambda image, _: np.clip(image * 1.6, 0, 255).astype(np.uint8)),
    "15 hairs": ("hair in view", lambda image, rng: add_hair(image, rng, count=15)),
    "40 hairs": ("hair in view", lambda image, rng: add_hair(image, rng, count=40)),
}


def print_hints(paths: Sequence[str]) -> None:
    """Share with the hint: of untouched images, and of those with the defect."""
    plain = [find_hints(images.load(path)) for path in paths]
    print(f"\nquality hints on {len(paths)} images, percent   untouched   with the defect")
    for name, (hint, change) in DEFECTS.items():
        changed = (change(images.load(path), np.random.default_rng(n)) for n, path in enumerate(paths))
        found = np.array([hint in find_hints(image) for image in changed])
        before = np.array([hint in hints for hints in plain])
        print(f"{name:<26s}{hint:<24s}{write_share(before):>18s}{write_share(found):>22s}")


def print_times(domain: Domain, paths: Sequence[str]) -> None:
    """Best of five passes over the same decoded images, and the ratio to the network's."""
    predictor = load_predictor(domain_check=False)
    decoded = [images.load(path) for path in paths]
    prepared = [prepare(image, SPEC) for image in decoded]
    steps: dict[str, Callable[[int], object]] = {
        "network, with preparation": lambda n: predictor.run(decoded[n]),
        "domain check": lambda n: domain.refuse(prepared[n]),
        "quality hints": lambda n: find_hints(decoded[n]),
    }
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(5):
        for name, step in steps.items():
            began = time.perf_counter()
            for n in range(len(decoded)):
                step(n)
            best[name] = min(best[name], 1000 * (time.perf_counter() - began) / len(decoded))
    print("\nms an image, and against the network")
    for name, each in best.items():
        print(f"{name:<28s}{each:6.2f}{each / best['network, with preparation']:8.2f}")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description="measure the domain check and the quality hints")
    parser.add_argument("data", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--groups", type=Path)
    parser.add_argument("--each", type=int, default=4000, help="images a collection")
    parser.add_argument("--pictures", type=int, default=80, help="non-dermoscopic pictures a kind")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--clinics", action="store_true", help="only fits on few images of one collection")
    options = parser.parse_args()
    real = load(options.data, options.groups, options.each, options.seed)
    pictures = draw_pictures(options.pictures, options.seed)
    if options.clinics:
        print_clinics(real, pictures, options.seed)
        return
    domain = print_refused(real, pictures, options.seed)
    held = split(real, options.seed)["held out"][1]
    paths = [real.paths[row] for row in np.random.default_rng(options.seed).permutation(held)[:300]]
    print_changes(domain, paths)
    print_hints(paths)
    print_times(domain, paths[:50])


if __name__ == "__main__":
    main()
