"""Table of what `scripts/leave_source_out` left: every collection judged by networks that never saw it.

python benchmarks/left_out_table.py OUT
"""

import sys
from pathlib import Path
from statistics import mean
from typing import Any

from bench_table import SOURCES, read, write

FIGURES = ("auroc", "sensitivity", "specificity", "accuracy")


def find_figures(run: Path) -> dict[str, Any]:
    """Figures of the test images of a run."""
    found = read(run / "evaluation" / "evaluation.json")
    (test,) = [one for one in found["evaluations"] if one["name"] == "test"]
    return dict(test["figures"])


def main() -> None:
    """A row a run, then each seed's mean AUROC over the collections left out."""
    runs = sorted(path.parent.parent for path in Path(sys.argv[1]).glob("*/evaluation/evaluation.json"))
    named = {(run.name.rpartition("-")[0], run.name.rpartition("-")[2]): find_figures(run) for run in runs}
    print(f"| left out | seed | {' | '.join(FIGURES)} |\n|---|---|{'---|' * len(FIGURES)}")
    for source in SOURCES:
        for (left_out, seed), figures in named.items():
            if left_out == source:
                print(f"| {source} | {seed} | {' | '.join(write(figures[name]) for name in FIGURES)} |")
    for seed in sorted({seed for _, seed in named}):
        values = [figures["auroc"]["value"] for (_, other), figures in named.items() if other == seed]
        if len(values) == len(SOURCES):
            print(f"\nmean AUROC of seed {seed}: {mean(values):.4f}")


if __name__ == "__main__":
    main()
