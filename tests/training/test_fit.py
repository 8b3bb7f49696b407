import math

import numpy as np
import pytest

from conftest import require_extra

require_extra("tensorflow", "train")

import keras
from sklearn.metrics import roc_auc_score

from melanoma.config import Recipe, parse_recipe
from melanoma.errors import RunError
from melanoma.inference.preprocessing import Preprocessing
from melanoma.training import fit as fitting
from melanoma.training import step
from melanoma.training.fit import Progress, evaluate_logits, fit, load_checkpoint, make_deterministic
from melanoma.training.models import create_model
from melanoma.training.pipeline import ImageSet

TEMPLATE = {
    "name": "tiny",
    "model": {"dropout": 0.3},
    "input": {"size": 32},
    "augmentation": {"rotation": 20, "horizontal_flip": True},
    "optimizer": {"name": "adamw", "weight_decay": 0.01, "schedule": "cosine", "ema_momentum": 0.9},
    "training": {"epochs": 3, "batch_size": 16},
}


class Images:
    """Noise, brighter where the row is odd."""

    def read(self, rows: np.ndarray) -> np.ndarray:
        noise = [np.random.default_rng(row).integers(0, 150, (32, 32, 3)) + 80 * (row % 2) for row in rows]
        return np.stack(noise).astype(np.uint8)


class StoppedError(Exception):
    pass


class StopAfter(Progress):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch(self, epoch: int, row: dict[str, float]) -> None:
        if epoch == self.epoch:
            raise StoppedError


def image_set(first: int, last: int) -> ImageSet:
    rows = np.arange(first, last)
    y_true = (rows % 2).astype(np.float32)
    diagnosis = np.where(rows % 2, 0, np.where(rows % 4, 1, -1))
    return ImageSet(Images(), rows, y_true, Preprocessing(32), 0 * rows, diagnosis)


def recipe(**training: object) -> Recipe:
    return parse_recipe({**TEMPLATE, "training": {**TEMPLATE["training"], **training}}, "test")


def run(folder, chosen: Recipe, progress: Progress | None = None, seed: int = 5):
    make_deterministic(seed)
    return fit(
        lambda: create_model(chosen.model, chosen.input),
        image_set(0, 44),
        image_set(44, 64),
        chosen,
        seed=seed,
        folder=folder,
        progress=progress,
    )


@pytest.mark.parametrize(("keep", "diagnosis_loss"), [("last", 0.0), ("best", 0.5)])
def test_stopping_and_resuming_gives_the_same_bits(tmp_path, keep, diagnosis_loss):
    chosen = recipe(keep=keep, diagnosis_loss=diagnosis_loss)
    model, state = run(tmp_path / "whole", chosen)
    for epoch in (1, 2) if keep == "best" else (2,):
        folder = tmp_path / f"stopped-{epoch}"
        with pytest.raises(StoppedError):
            run(folder, chosen, StopAfter(epoch))
        resumed, resumed_state = run(folder, chosen)
        assert resumed_state.history == state.history
        for weight, other in zip(model.get_weights(), resumed.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, other)


def test_another_seed_gives_other_weights(tmp_path):
    first, second = (run(tmp_path / str(seed), recipe(epochs=1), seed=seed)[0] for seed in (1, 2))
    assert (first.get_weights()[0] != second.get_weights()[0]).any()


def test_it_learns(tmp_path):
    _, state = run(tmp_path, recipe(epochs=12))
    assert state.history[-1]["val_auroc"] > 0.95
    assert [row["epoch"] for row in state.history] == list(range(1, 13))


def test_a_second_loss_teaches_diagnoses_and_leaves_no_trace(tmp_path):
    model, _ = run(tmp_path, recipe(epochs=12, diagnosis_loss=1.0))
    plain = create_model(recipe().model, recipe().input)
    assert [weight.shape for weight in model.get_weights()] == [
        weight.shape for weight in plain.get_weights()
    ]
    assert len(model.outputs) == 1
    trained, _ = load_checkpoint(tmp_path)
    images = image_set(44, 64)
    with fitting.averaged_weights(trained):
        outputs = trained.predict_on_batch(images.batch(np.arange(20))[0] * np.float32(1 / 255))
    np.testing.assert_allclose(
        model.predict_on_batch(images.batch(np.arange(20))[0] * np.float32(1 / 255)),
        outputs["logit"],
        atol=1e-5,
    )
    odds = outputs["diagnosis"][:, 1] - outputs["diagnosis"][:, 0]
    assert set(images.diagnosis) == {-1, 0, 1}
    assert roc_auc_score(images.diagnosis[images.diagnosis >= 0], odds[images.diagnosis >= 0]) > 0.95
    assert np.mean(odds[images.diagnosis == -1]) > np.mean(
        odds[images.diagnosis == 0]
    )  # not taken for the first
    assert outputs["diagnosis"].argmax(axis=1).max() <= 1  # the five others never come up


def test_best_keeps_the_epoch_of_the_lowest_validation_loss(tmp_path, monkeypatch):
    losses = iter([0.5, 0.3, 0.9])

    def evaluate(logit, y_true):
        return {"loss": next(losses), "accuracy": 0.5, "auroc": 0.5}

    monkeypatch.setattr(fitting, "evaluate_logits", evaluate)
    chosen = recipe(keep="best")
    model, state = run(tmp_path, chosen)
    assert state.best_epoch == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0002", "epoch-0003"]
    best = keras.models.load_model(tmp_path / "epoch-0002" / "model.keras")
    with fitting.averaged_weights(best):
        expected = best.get_weights()
    np.testing.assert_array_equal(model.get_weights()[0], expected[0])


def test_averaged_weights_come_and_go(tmp_path):
    run(tmp_path, recipe(epochs=1))
    model, _ = load_checkpoint(tmp_path)
    before = model.get_weights()[0]
    with fitting.averaged_weights(model):
        assert (model.get_weights()[0] != before).any()
    np.testing.assert_array_equal(model.get_weights()[0], before)


def test_schedule_warms_up_and_falls_to_zero():
    chosen = parse_recipe(
        {**TEMPLATE, "optimizer": {"schedule": "cosine", "warmup_epochs": 1, "learning_rate": 0.01}}, "test"
    )
    schedule = step.create_schedule(chosen.optimizer, steps=30, steps_per_epoch=10)
    rates = [float(schedule(number)) for number in (0, 10, 20, 30)]
    assert rates == pytest.approx([0.0001, 0.01, 0.005, 0], abs=1e-6)


def test_figures_of_logits_by_hand():
    figures = evaluate_logits(np.array([2.0, -1.0, 0.5, -3.0]), np.array([1, 1, 0, 0], dtype=np.float32))
    losses = [math.log1p(math.exp(value)) for value in (-2.0, 1.0, 0.5, -3.0)]
    assert figures == pytest.approx({"loss": sum(losses) / 4, "accuracy": 0.5, "auroc": 0.75})


def test_a_loss_that_is_not_finite_ends_the_run_and_says_what_to_do(tmp_path):
    class Broken(Images):
        def read(self, rows):
            return np.full((len(rows), 32, 32, 3), 255, dtype=np.uint8)

    chosen = parse_recipe({**TEMPLATE, "optimizer": {"name": "adam", "learning_rate": 1e30}}, "test")
    rows = np.arange(32)
    images = ImageSet(Broken(), rows, (rows % 2).astype(np.float32), Preprocessing(32), 0 * rows, 0 * rows)
    make_deterministic(0)
    with pytest.raises(RunError, match="learning_rate"):
        fit(lambda: create_model(chosen.model, chosen.input), images, images, chosen, seed=0, folder=tmp_path)


def test_validation_logits_that_are_not_finite_end_the_run_before_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "predict_logits", lambda _, images, team: np.full(len(images), np.nan))
    with pytest.raises(RunError, match="validation logits of epoch 1 are not finite; lower"):
        run(tmp_path, recipe())
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("name", ["state.json", "model.keras"])
def test_a_damaged_checkpoint_is_named(tmp_path, name):
    with pytest.raises(StoppedError):
        run(tmp_path, recipe(), StopAfter(1))
    damaged = tmp_path / "epoch-0001" / name
    damaged.write_bytes(damaged.read_bytes()[:20])
    with pytest.raises(RunError, match="epoch-0001 is damaged"):
        load_checkpoint(tmp_path)


def test_an_unfinished_checkpoint_is_not_taken(tmp_path):
    with pytest.raises(StoppedError):
        run(tmp_path, recipe(), StopAfter(1))
    half = tmp_path / ".epoch-0002"
    half.mkdir()
    (half / "model.keras").write_bytes(b"half")
    assert load_checkpoint(tmp_path)[1].epoch == 1
    assert run(tmp_path, recipe())[1].epoch == 3
