import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from melanoma.data import synthetic
from melanoma.data.artefacts import ARTEFACTS, DEFAULT_RATES, draw_artefacts
from melanoma.data.scene import SKIN_TONES
from melanoma.data.synthetic import render, write_collection
from melanoma.errors import ConfigError, ManifestError, OutputError

N = 160


def draw(y_true, seed, **options):
    return render(y_true, np.random.default_rng(seed), **options)


def draw_many(rates=DEFAULT_RATES):
    images, y_true = [], np.arange(N) % 2
    for i, label in enumerate(y_true):
        rng = np.random.default_rng((i + 1, 11))
        images.append(draw(int(label), rng, size=64, artefacts=draw_artefacts(label, rng, rates)).image)
    return np.stack(images) / 255, y_true


def cross_validated_auroc(features, y_true):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.03, max_iter=1000))
    scores = cross_val_predict(model, features, y_true, cv=4, method="decision_function")
    return roc_auc_score(y_true, scores)


def border_colours(images):
    blocks = images.reshape(len(images), 8, 8, 8, 8, 3).mean((2, 4))
    rim = np.ones((8, 8), bool)
    rim[1:-1, 1:-1] = False
    return blocks[:, rim].reshape(len(images), -1)


def lesion_colours(images):
    middle = images[:, 16:-16, 16:-16].reshape(len(images), -1, 3)
    return np.quantile(middle, (0.05, 0.25, 0.5, 0.75), axis=1).swapaxes(0, 1).reshape(len(images), -1)


@pytest.mark.parametrize("size", [64, 150, 192, 512])
def test_shapes_types_and_mask(size):
    drawn = draw(1, 4, size=size)
    assert drawn.image.shape == (size, size, 3)
    assert drawn.image.dtype == np.uint8
    assert drawn.mask.shape == (size, size)
    assert drawn.mask.dtype == bool
    assert drawn.truth.lesion_fraction == drawn.mask.mean()


def test_same_seed_same_image():
    first, again, other = draw(0, 7), draw(0, 7), draw(0, 8)
    assert np.array_equal(first.image, again.image)
    assert first.truth == again.truth
    assert not np.array_equal(first.image, other.image)


def test_global_random_state_is_neither_read_nor_changed():
    np.random.seed(1)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = draw(1, 3, size=64, artefacts=ARTEFACTS)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(draw(1, 3, size=64, artefacts=ARTEFACTS).image, first.image)


def test_lesion_is_darker_than_the_skin_and_inside_the_image():
    for seed in range(30):
        drawn = draw(seed % 2, seed, size=96, artefacts=())
        assert 0.04 < drawn.truth.lesion_fraction < 0.4
        rim = np.concatenate([drawn.mask[[0, -1]].ravel(), drawn.mask[:, [0, -1]].ravel()])
        assert rim.mean() < 0.1
        assert drawn.image[drawn.mask].mean() < drawn.image[~drawn.mask].mean()


def test_artefacts_lie_over_an_unchanged_scene():
    plain, hairy = draw(1, 5, artefacts=()), draw(1, 5, artefacts=("hair",))
    both = draw(1, 5, artefacts=("hair", "round_frame"))
    assert np.array_equal(plain.mask, hairy.mask)
    assert 0 < np.any(plain.image != hairy.image, axis=2).mean() < 0.6
    assert np.array_equal(both.image[90:100, 90:100], hairy.image[90:100, 90:100])
    assert (plain.truth.artefacts, both.truth.artefacts) == ((), ("hair", "round_frame"))


def test_skin_tones_run_from_light_to_dark():
    brightness = [
        np.mean([draw(0, seed, size=64, artefacts=(), skin_tone=tone).image.mean() for seed in range(8)])
        for tone in range(len(SKIN_TONES))
    ]
    assert all(np.diff(brightness) < 0)
    truth = draw(0, 1, size=64, skin_tone=2).truth
    assert truth.skin_tone == 2
    assert SKIN_TONES[2][0] <= truth.ita <= SKIN_TONES[2][1]


def test_traits_carry_the_class_and_difficulty_moves_the_classes_together():
    def auroc(trait, difficulty):
        truths = [draw(i % 2, i, size=64, artefacts=(), difficulty=difficulty).truth for i in range(120)]
        return roc_auc_score([t.y_true for t in truths], [getattr(t, trait) for t in truths])

    assert auroc("asymmetry", 0.0) == 1
    assert 0.9 < auroc("asymmetry", 0.5) < 1
    assert 0.35 < auroc("asymmetry", 1.0) < 0.65
    assert auroc("n_colours", 0.3) > 0.9
    assert auroc("blue_grey_veil", 0.3) > 0.75


def test_class_changes_nothing_but_the_lesion():
    benign, melanoma = (draw(y, 12, artefacts=(), skin_tone=1) for y in (0, 1))
    assert np.array_equal(benign.image[:8, :8], melanoma.image[:8, :8])
    assert benign.truth.ita == melanoma.truth.ita


def test_class_is_in_the_lesion_and_not_in_the_border():
    images, y_true = draw_many()
    assert cross_validated_auroc(lesion_colours(images), y_true) > 0.75
    assert 0.35 < cross_validated_auroc(border_colours(images), y_true) < 0.65


def test_frame_tied_to_melanoma_puts_the_class_into_the_border():
    images, y_true = draw_many({**DEFAULT_RATES, "round_frame": (0.05, 0.95)})
    assert cross_validated_auroc(border_colours(images), y_true) > 0.8


@pytest.mark.parametrize(
    ("y_true", "options", "message"),
    [
        (2, {}, "y_true"),
        (1, {"size": 63}, "size"),
        (1, {"size": 513}, "size"),
        (1, {"difficulty": 1.1}, "difficulty"),
        (1, {"skin_tone": 6}, "skin_tone"),
        (1, {"artefacts": ("tattoo",)}, "tattoo"),
    ],
)
def test_render_refuses_what_makes_no_image(y_true, options, message):
    with pytest.raises(ConfigError, match=message):
        draw(y_true, 0, **options)


def read_truth(folder):
    with (folder / "truth.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_collection_has_its_folders_truth_and_warning(tmp_path):
    seen = []
    folder = write_collection(
        tmp_path / "new" / "drawn", n=20, seed=3, size=64, progress=lambda *step: seen.append(step)
    )
    counts = {str(p.relative_to(folder)): len(list(p.glob("*.jpg"))) for p in folder.glob("*/*")}
    assert {Path(name).as_posix(): count for name, count in counts.items()} == {
        "train/benign": 8,
        "train/malignant": 8,
        "test/benign": 2,
        "test/malignant": 2,
    }
    assert seen == [(done, 20) for done in range(1, 21)]
    rows = read_truth(folder)
    assert {row["path"] for row in rows} == {p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg")}
    assert all(row["path"].split("/")[:2] == [row["split"], row["label"]] for row in rows)
    with Image.open(folder / rows[0]["path"]) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (64, 64), "RGB")
    text = (folder / "README.txt").read_text(encoding="utf-8")
    assert "not photographs" in text
    assert "No figure computed from them is medical evidence" in text
    assert [p.name for p in folder.parent.iterdir()] == ["drawn"]


def test_collection_is_reproducible_and_rates_move_nothing_else(tmp_path):
    tied = {**DEFAULT_RATES, "ink": (0, 1)}
    first = write_collection(tmp_path / "a", n=12, seed=3, size=64)
    again = write_collection(tmp_path / "b", n=12, seed=3, size=64)
    inked = write_collection(tmp_path / "c", n=12, seed=3, size=64, rates=tied)
    other = write_collection(tmp_path / "d", n=12, seed=4, size=64)
    for path in first.rglob("*.*"):
        assert path.read_bytes() == (again / path.relative_to(first)).read_bytes()
    assert read_truth(first) != read_truth(other)
    for plain, marked in zip(read_truth(first), read_truth(inked), strict=True):
        assert ("ink" in marked["artefacts"]) == (marked["label"] == "malignant")
        assert plain["asymmetry"] == marked["asymmetry"]


def test_patients_keep_to_one_side_and_one_skin_tone(tmp_path):
    rows = read_truth(write_collection(tmp_path / "p", n=40, seed=1, size=64, patients=True))
    patients = {row["patient_id"] for row in rows}
    assert 8 < len(patients) < 30
    for patient in patients:
        own = [row for row in rows if row["patient_id"] == patient]
        assert len({row["split"] for row in own}) == 1
        assert len({row["skin_tone"] for row in own}) == 1


def test_complete_collection_is_reused(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()  # an empty folder is as good as none
    folder = write_collection(tmp_path / "a", n=8, seed=1, size=64)
    monkeypatch.setattr(synthetic, "render", lambda *_, **__: pytest.fail("must not draw again"))
    assert write_collection(folder, n=8, seed=1, size=64) == folder


def test_another_folder_is_refused_and_left_alone(tmp_path):
    folder = write_collection(tmp_path / "a", n=8, seed=1, size=64)
    with pytest.raises(ManifestError, match="something else"):
        write_collection(folder, n=8, seed=2, size=64)
    assert json.loads((folder / "collection.json").read_text(encoding="utf-8"))["seed"] == 1
    next(folder.rglob("*.jpg")).unlink()
    with pytest.raises(ManifestError, match="lost some"):
        write_collection(folder, n=8, seed=1, size=64)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(ManifestError, match="something else"):
        write_collection(tmp_path / "photos", n=8, seed=1, size=64)
    assert (tmp_path / "photos" / "mine.jpg").read_bytes() == b"mine"


def test_a_stop_in_the_middle_leaves_nothing(tmp_path):
    def stop(done, n):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_collection(tmp_path / "a", n=8, seed=1, size=64, progress=stop)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_collection(tmp_path / "file" / "a", n=8, seed=1, size=64)


@pytest.mark.parametrize(
    "options",
    [
        {"n": 1},
        {"n": 0},
        {"prevalence": 0},
        {"prevalence": 1.5},
        {"test_share": 1.0},
        {"seed": -1},
        {"size": 20},
        {"rates": {"tattoo": (0, 1)}},
    ],
)
def test_values_that_make_no_collection_are_refused(tmp_path, options):
    with pytest.raises(ConfigError):
        write_collection(tmp_path / "a", **{"n": 8, "seed": 1, "size": 64, **options})
    assert not (tmp_path / "a").exists()
