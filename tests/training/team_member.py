"""One process that trains a tiny network, alone or in a team, and prints the loss of every step; see test_team.py.

    python team_member.py FOLDER alone|devices|RANK

Run as a process, since TensorFlow fixes its devices when it is first used.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from melanoma.config import InputConfig, ModelConfig, Recipe, parse_recipe
from melanoma.inference.preprocessing import Preprocessing
from melanoma.training import fit as fitting
from melanoma.training import team as teams
from melanoma.training.models import create_model
from melanoma.training.pipeline import ImageSet
from melanoma.training.step import Alone

SIZE, STEPS = 32, 30


def make_recipe(epochs: int = 2) -> Recipe:
    """Everything that the default recipe uses but dropout, whose masks differ; no batch can be halved."""
    return parse_recipe(
        {
            "name": "tiny",
            "model": {"name": "original_cnn"},
            "input": {"size": SIZE},
            "augmentation": {"horizontal_flip": True, "noise": 0.05, "mixup": 0.3},
            "optimizer": {"name": "adamw", "weight_decay": 0.01, "schedule": "cosine", "ema_momentum": 0.9},
            "training": {
                "epochs": epochs, "batch_size": 15, "label_smoothing": 0.05, "draw": "balanced",
                "draws": 15 * STEPS - 7, "diagnosis_loss": 0.3, "keep": "last",
            },
        },
        "test",
    )  # fmt: skip


class Images:
    """Noise, brighter where the row is odd."""

    def read(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (n, size, size, 3)."""
        noise = [
            np.random.default_rng(row).integers(0, 200, (SIZE, SIZE, 3)) + 30 * (row % 2) for row in rows
        ]
        return np.stack(noise).astype(np.uint8)


def image_set(first: int, last: int) -> ImageSet:
    """Images of both classes, a third of unknown diagnosis."""
    rows = np.arange(first, last)
    diagnosis = np.where(rows % 3, rows % 2, -1)
    return ImageSet(Images(), rows, (rows % 2).astype(np.float32), Preprocessing(SIZE), 0 * rows, diagnosis)


class Noted:
    """Whoever trains, with the loss of every step noted."""

    def __init__(self, team: Alone) -> None:
        self._team, self.losses = team, []

    def __getattr__(self, name: str) -> object:
        return getattr(self._team, name)

    def train(self, *arguments: object) -> dict[str, float]:
        """Pass it on."""
        figures = self._team.train(*arguments)
        self.losses.append(figures["loss"])
        return figures


def find_team(who: str) -> Alone:
    """What the command line names."""
    if who == "alone":
        return Alone()
    return teams.gather_devices(2) if who == "devices" else teams.join(int(who), cores=1)


def main() -> None:
    """Train, and print what every step lost and the weights came to."""
    folder, who = Path(sys.argv[1]), sys.argv[2]
    team = Noted(find_team(who))
    fitting.make_deterministic(1)
    recipe = make_recipe()
    model, state = fitting.fit(
        lambda: create_model(ModelConfig(name="original_cnn"), InputConfig(size=SIZE)),
        image_set(0, 90), image_set(90, 120), recipe, seed=3, folder=folder, team=team,
    )  # fmt: skip
    size = float(sum(np.abs(weight).sum() for weight in model.get_weights()))
    print(json.dumps({"losses": team.losses, "history": state.history, "size": size}))


if __name__ == "__main__":
    main()
