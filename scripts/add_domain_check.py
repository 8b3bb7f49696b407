"""Fit the domain check of a bundle anew, on images of one's own; network, calibration and threshold stay.

    python scripts/add_domain_check.py src/melanoma/bundles/default melanoma10k=DIR ham10000=DIR isic2017=DIR \
        --groups audit/groups.csv

For a bundle whose run had images of one collection only. Images of a given test split, and those that share a group
with one of them, take no part. At most 3,000 images are used, the same number of every source.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from melanoma.data import domain_fitting
from melanoma.data import manifest as manifests
from melanoma.data import splits as splitting
from melanoma.data.manifest import Manifest
from melanoma.inference import bundle as bundles


def choose(manifest: Manifest, groups: Path | None, seed: int) -> NDArray[np.int64]:
    """Rows to fit on."""
    group = np.asarray(splitting.find_groups(manifest, splitting.load_groups(groups) if groups else None))
    source = manifest.table["source"].to_numpy(dtype=str)
    test = (manifest.table["given_split"] == "test").to_numpy(dtype=bool)
    free = ~np.isin(group, group[test])
    names = np.unique(source)
    order = np.random.default_rng(seed).permutation(len(group))
    each = domain_fitting.MAX_IMAGES // len(names)
    return np.sort(np.concatenate([order[(free & (source == name))[order]][:each] for name in names]))


def main() -> None:
    """Read, fit, write the bundle in its place."""
    parser = argparse.ArgumentParser(description="fit the domain check of a bundle anew")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--groups", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    bundle = bundles.load(options.bundle)
    manifest = manifests.load(options.data)
    rows = choose(manifest, options.groups, options.seed)
    paths = [str(manifest.table["path"].iloc[row]) for row in rows]
    domain = domain_fitting.fit_files(paths, seed=options.seed)
    sources = sorted(manifest.table["source"].unique().tolist())
    facts = {"sources": sources, "n": len(rows), "manifest_digest": manifest.digest, "seed": options.seed}
    saved = bundles.save(
        options.bundle,
        bundle.network,
        name=bundle.name,
        preprocessing=bundle.preprocessing,
        calibration=bundle.calibration,
        operating_point=bundle.operating_point,
        facts={**bundle.facts, "domain_check": facts},
        domain=domain,
    )
    print(
        f"{options.bundle}: format {saved.format_version}, digest {saved.digest}, {asdict(saved.operating_point)}"
    )


if __name__ == "__main__":
    main()
