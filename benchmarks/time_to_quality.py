"""How long runs took to reach a validation AUROC, and what other settings of the processor would make of it.

    python benchmarks/time_to_quality.py RUN... [--auroc 0.925] [--batches 15] [--rounds 3]

Runs were trained beside other work, so their own clock says little: the draws until the AUROC was reached come from
`history.csv`, the images a second from training a few batches here and now, all runs in turn. Runs are comparable
when they have the same validation images. A run that goes on from another is counted with that one's draws when
both are given, the earlier first.
"""

import argparse
import os
import tempfile
from pathlib import Path

import pandas as pd
from train_epoch import measure, open_images

from melanoma.config import Recipe
from melanoma.runs import load


def count_epochs(folder: Path, auroc: float) -> int | None:
    """Epochs until the validation AUROC was first reached."""
    history = pd.read_csv(folder / "history.csv")
    reached = history["epoch"][history["val_auroc"] >= auroc]
    return int(reached.iloc[0]) if len(reached) else None


def time_draws(recipe: Recipe, batches: int, rounds: int) -> float:
    """Images a second."""
    with tempfile.TemporaryDirectory() as name:
        images = open_images(recipe, Path(name))
        rate = measure(recipe, images, batches, rounds)["whole"]
        images.cache.close()
    return rate


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--auroc", type=float, default=0.925)
    parser.add_argument("--batches", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0"
    print(f"validation AUROC {asked.auroc}; oneDNN {'on' if onednn else 'off'}\n")
    print("| run | images/s | epochs | minutes | AUROC at the end |\n|---|---|---|---|---|")
    spent: dict[str, float] = {}
    for folder in asked.runs:
        recipe = load(folder)[1]
        epochs, rate = count_epochs(folder, asked.auroc), time_draws(recipe, asked.batches, asked.rounds)
        before = spent.get(str(Path(recipe.model.weights).resolve()), 0.0)
        minutes = recipe.training.draws / rate / 60
        history = pd.read_csv(folder / "history.csv")
        spent[str(folder.resolve())] = before + minutes * len(history)
        shown = "–" if epochs is None else f"{before + minutes * epochs:.0f}"
        name = f"{recipe.model.name}, {recipe.input.size} px" + (", goes on" if before else "")
        reached = f"{epochs or '–'} of {len(history)}"
        print(f"| {name} | {rate:.0f} | {reached} | {shown} | {history['val_auroc'].iloc[-1]:.3f} |")


if __name__ == "__main__":
    main()
