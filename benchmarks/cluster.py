"""What Ray costs and how it grows: images a second with one worker and with two, beside `melanoma predict`'s own way.

    python benchmarks/cluster.py FOLDER [--images 400 2000]
    python benchmarks/cluster.py --names 1000000

`--names`: instead, how long it takes to find so many images in a list and in a table, and how large their blocks are.
Else two sizes, so that what a start costs is told from what an image costs; `melanoma predict --cluster` pays both.
"""

import argparse
import itertools
import pickle
import tempfile
import time
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from ray.cluster_utils import Cluster

from melanoma import cluster, load_predictor
from melanoma.archive import blocks, scoring
from melanoma.archive.output import Output
from melanoma.inference.scoring import score_files
from melanoma.inference.sources import ImageFile, find_images


def main() -> None:
    """Measure, and print ratios within this run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--images", type=int, nargs=2, default=(400, 2000))
    parser.add_argument("--names", type=int)
    options = parser.parse_args()
    if options.names:
        time_listing(options.names)
        return
    few, many = options.images
    found = list(itertools.islice(itertools.cycle(find_images([options.folder])), many))
    costs = {}
    for workers in (1, 2):
        local = fit({n: time_local(found[:n], workers) for n in (few, many)})
        costs[workers] = fit({n: time_cluster(found[:n], workers) for n in (few, many)})
        start, image = costs[workers]
        print(f"{workers} workers: {1 / image:.1f} images a second, {start:.1f} s before the first", end="; ")
        print(f"without Ray {1 / local[1]:.1f}, so Ray is {local[1] / image:.2f} times as fast")
    print(f"from one worker to two: {costs[1][1] / costs[2][1] / 2:.0%} efficient")
    print(f"a start is worth {costs[2][0] / costs[2][1]:.0f} images on two cores")


def time_listing(n: int) -> None:
    """Blocks of images that nobody reads."""
    names = [f"s3://bucket/archive/2026/{number // 1000:04}/ISIC_{number:07}.jpg" for number in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "names.txt").write_text("\n".join(names), encoding="utf-8")
        parquet.write_table(pa.table({"path": names}), Path(folder, "names.parquet"))
        for name in ("names.txt", "names.parquet"):
            began = time.perf_counter()
            found = blocks.find([str(Path(folder, name))])
            seconds = time.perf_counter() - began
            sent = sum(len(pickle.dumps(block)) for block in found.blocks) / 1e6
            print(
                f"{name}: {found.n:,} images in {seconds:.1f} s, {len(found.blocks):,} blocks, {sent:.1f} MB as sent"
            )


def fit(seconds: dict[int, float]) -> tuple[float, float]:
    """Seconds for a start, and for an image."""
    (few, first), (many, second) = sorted(seconds.items())
    image = (second - first) / (many - few)
    return first - few * image, image


def time_local(files: list[ImageFile], workers: int) -> float:
    """Seconds on one thread, or on all cores as `melanoma predict` uses them."""
    predictor = load_predictor()
    judged = predictor.score_files(files, 1) if workers == 1 else score_files(predictor, files)
    began = time.perf_counter()
    for _ in judged:
        pass
    return time.perf_counter() - began


def time_cluster(files: list[ImageFile], workers: int) -> float:
    """Seconds on a cluster of one node with so many cores, from joining it to the last part."""
    predictor = load_predictor()
    cut = list(blocks._cut_files(files, blocks.SMALLEST))
    with tempfile.TemporaryDirectory() as folder:
        output = Output(str(Path(folder) / "out"))
        output.begin({})
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": workers, "include_dashboard": False})
        try:
            began = time.perf_counter()
            with cluster.connect(made.address):
                cluster.score(list(enumerate(cut)), scoring.pack(predictor, None, output))
            return time.perf_counter() - began
        finally:
            made.shutdown()


if __name__ == "__main__":
    main()
