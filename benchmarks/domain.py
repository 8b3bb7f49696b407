"""How many images the domain check refuses, dermoscopic and not, and how good the quality hints are.

    python benchmarks/domain.py melanoma10k=DIR ham10000=DIR isic2017=DIR --groups audit/groups.csv

Fitted on a part of the collections and judged on the rest, then on all collections but one and judged on that one;
images that share a group (copies, views of one lesion) never stand on both sides. The pictures that are no dermoscopy
come from `melanoma.data.not_dermoscopy`; none of them takes part in a fit.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from melanoma.data import counterexamples
from melanoma.data import manifest as manifests
from melanoma.data import splits as splitting
from melanoma.data.artefacts import add_hair, add_ink, add_round_frame, add_ruler
from melanoma.data.domain_fitting import MAX_IMAGES, alter
from melanoma.data.not_dermoscopy import KINDS, draw_all
from melanoma.data.segmentation import segment
from melanoma.inference import images
from melanoma.inference.description import describe
from melanoma.inference.domain import Domain, fit_domain
from melanoma.inference.predictor import load_predictor
from melanoma.inference.preprocessing import Preprocessing, prepare
from melanoma.inference.quality import find_hints

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Change = Callable[[Pixels, np.random.Generator], Pixels]
SPEC = Preprocessing(150)


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


def fit(real: Images, rows: NDArray[np.int64], seed: int) -> Domain:
    """The check as `domain_fitting.fit` makes it, from images that are described already."""
    drawn = np.random.default_rng(seed).permutation(rows)[:MAX_IMAGES]
    return fit_domain(real.features[drawn], real.altered[drawn], counterexamples.load(), seed=seed)


def refused(domain: Domain, features: Floats) -> float:
    """Share of refused images."""
    return float(np.mean(domain.score(features) < domain.limit))


def split(real: Images, seed: int) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
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


def print_refused(
    real: Images, domains: dict[str, Domain], judged: dict[str, NDArray[np.int64]], each: int, seed: int
) -> None:
    """The table by kind, one column a fit."""
    kinds, features = zip(
        *((kind, describe(prepare(p, SPEC))) for kind, p in draw_all(each, seed)), strict=True
    )
    kind, described = np.array(kinds), np.stack(features)
    print(f"\nrefused, percent                {'   '.join(f'{name:>19s}' for name in domains)}")
    rows = {f"{len(described):,} non-dermoscopic": np.ones(len(kind), np.bool_)}
    rows |= {f"  {name}": kind == name for name in KINDS}
    for name, which in rows.items():
        shares = [100 * refused(domain, described[which]) for domain in domains.values()]
        print(f"{name:<32s}{'   '.join(f'{share:19.1f}' for share in shares)}")
    shares = [100 * refused(domain, real.features[judged[name]]) for name, domain in domains.items()]
    print(f"{'dermoscopic, not fitted on':<32s}{'   '.join(f'{share:19.1f}' for share in shares)}")
    counts = [len(judged[name]) for name in domains]
    print(f"{'  of so many':<32s}{'   '.join(f'{count:19,}' for count in counts)}")


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
        print(f"{name:<40s}{100 * refused(domain, features):6.1f}")


DEFECTS: dict[str, tuple[str, Change]] = {
    "blur, 1 % of the width": ("blurred", lambda image, _: _blur(image, 0.01)),
    "blur, 2 % of the width": ("blurred", lambda image, _: _blur(image, 0.02)),
    "40 % of the light": ("too dark", lambda image, _: (image * 0.4).astype(np.uint8)),
    "160 % of the light": ("too bright", lambda image, _: np.clip(image * 1.6, 0, 255).astype(np.uint8)),
    "15 hairs": ("hair over the lesion", lambda image, rng: add_hair(image, rng, count=15)),
    "40 hairs": ("hair over the lesion", lambda image, rng: add_hair(image, rng, count=40)),
    "cut through the lesion": ("lesion cut off at the rim", lambda image, _: _cut(image)),
}


def _cut(image: Pixels) -> Pixels:
    """Without what lies left of the lesion's middle."""
    columns = np.flatnonzero(segment(image).lesion.any(axis=0))
    at = int(columns.mean()) if len(columns) else image.shape[1] // 2
    return np.ascontiguousarray(image[:, min(at, image.shape[1] - 32) :])


def print_hints(paths: Sequence[str]) -> None:
    """Share with the hint: of untouched images, and of those with the defect."""
    plain = [find_hints(images.load(path)) for path in paths]
    print(f"\nquality hints on {len(paths)} images, percent   untouched   with the defect")
    for name, (hint, change) in DEFECTS.items():
        changed = (change(images.load(path), np.random.default_rng(n)) for n, path in enumerate(paths))
        found = np.mean([hint in find_hints(image) for image in changed])
        before = np.mean([hint in hints for hints in plain])
        print(f"{name:<26s}{hint:<28s}{100 * before:7.1f}{100 * found:18.1f}")


def print_times(domain: Domain, paths: Sequence[str]) -> None:
    """Best of five passes over the same decoded images, and the ratio to the network's."""
    predictor = load_predictor()
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
    options = parser.parse_args()
    real = load(options.data, options.groups, options.each, options.seed)
    trials = split(real, options.seed)
    domains = {name: fit(real, rows, options.seed) for name, (rows, _) in trials.items()}
    for name, domain in domains.items():
        print(f"{name}: fitted on {domain.n:,} images, limit {domain.limit:.3f}")
    print_refused(
        real, domains, {name: rows for name, (_, rows) in trials.items()}, options.pictures, options.seed
    )
    rows = np.random.default_rng(options.seed).permutation(trials["held out"][1])[:300]
    paths = [real.paths[row] for row in rows]
    print_changes(domains["held out"], paths)
    print_hints(paths)
    print_times(domains["held out"], paths[:50])


if __name__ == "__main__":
    main()
