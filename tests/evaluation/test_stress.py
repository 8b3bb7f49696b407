from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import draw, require_extra
from manifests import make_manifest

require_extra("cv2", "bench")

from melanoma.data import manifest as manifests
from melanoma.errors import ManifestError
from melanoma.evaluation import pairs
from melanoma.evaluation.effects import estimate_auroc
from melanoma.evaluation.pairs import COLUMNS, TITLES, judge
from melanoma.evaluation.perturbations import CHANGES
from melanoma.evaluation.stress import draw_sample, run
from melanoma.inference.decision import Decision
from melanoma.inference.predictor import Predictor, load_predictor


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    return load_predictor(tiny_bundle)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Three images of each class."""
    root = tmp_path_factory.mktemp("stress")
    for label, melanoma in (("benign", False), ("malignant", True)):
        (root / label).mkdir()
        for number in range(3):
            image = draw(number + 10 * melanoma, 48 + 4 * number, 56, melanoma=melanoma)
            Image.fromarray(image).save(root / label / f"{number}.png")
    return manifests.load([str(root)])


@pytest.fixture(scope="module")
def judged(predictor, collection):
    return judge(predictor, collection.table, list("aabbcc"), seed=4)


def test_every_image_has_every_change_in_order(judged, collection):
    assert tuple(judged.rows.columns) == COLUMNS
    assert judged.rows["change"].tolist() == list(TITLES) * 6
    assert judged.rows["path"].drop_duplicates().tolist() == collection.table["path"].tolist()
    assert judged.rows["group"].tolist() == np.repeat(list("aabbcc"), len(TITLES)).tolist()


def test_before_is_what_a_user_gets(judged, predictor):
    for _, row in judged.rows.drop_duplicates("path").iterrows():
        said = predictor.predict(row["path"])
        assert (row["y_prob_before"], row["decision_before"]) == (said.y_prob, said.decision)


def test_controls_have_the_energy_of_their_change(judged):
    moved = {change.name for change in CHANGES if change.moves_pixels}
    rows = judged.rows[judged.rows["change"].isin({change.name for change in CHANGES} - moved)]
    assert rows["rms_change"].gt(0).any()
    np.testing.assert_allclose(rows["rms_control"], rows["rms_change"], rtol=0.01, atol=0.03)
    geometric = judged.rows[judged.rows["change"].isin(moved)]
    assert geometric["y_prob_control"].isna().all()
    assert geometric["decision_control"].eq("").all()


def test_an_image_does_not_mind_which_others_are_judged(judged, predictor, collection):
    alone = judge(predictor, collection.table.iloc[[4]], ["x"], seed=4).rows
    together = judged.rows[judged.rows["path"] == collection.table["path"].iloc[4]]
    numbers = ["y_prob_before", "y_prob_after", "y_prob_control"]
    np.testing.assert_array_equal(alone[numbers], together[numbers])
    other_seed = judge(predictor, collection.table.iloc[[4]], ["x"], seed=5).rows
    assert not np.array_equal(other_seed["y_prob_after"], alone["y_prob_after"], equal_nan=True)


def test_unreadable_images_are_listed(predictor, collection, tmp_path):
    table = collection.table.copy()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    table.loc[1, "path"] = str(broken)
    seen = []
    judged = judge(predictor, table, list("abcdef"), progress=lambda *done: seen.append(done))
    assert [path for path, _ in judged.unreadable] == [str(broken)]
    assert len(judged.rows) == 5 * len(TITLES)
    assert seen[-1] == (6, 6)
    with pytest.raises(ManifestError, match="not one of 1 images can be read"):
        judge(predictor, table.iloc[[1]], ["a"])


def test_large_images_are_brought_below_the_limit(predictor, collection, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "MAX_SIDE", 128)
    monkeypatch.setattr(pairs, "_MIN_SIDE", 32)
    table = collection.table.iloc[[0]].copy()
    large = np.asarray(Image.fromarray(draw(1, 60, 80)).resize((400, 300)))
    Image.fromarray(large).save(tmp_path / "large.jpg")
    table["path"] = str(tmp_path / "large.jpg")
    sizes = set()
    monkeypatch.setattr(
        predictor, "predict", lambda image: sizes.add(image.shape) or Predictor.predict(predictor, image)
    )
    rows = judge(predictor, table, ["a"]).rows
    assert max(size[1] for size in sizes) == 100
    assert rows["y_prob_before"].iloc[0] == pytest.approx(
        Predictor.predict(predictor, large).y_prob, abs=0.02
    )


def sampled(manifest, images, seed=0, groups=None):
    ids = [str(i) for i in range(len(manifest.table))] if groups is None else groups
    return draw_sample(manifest, ids, images, seed)


def test_sample_holds_at_most_so_many_of_each_class():
    manifest = make_manifest([{"y_true": y} for y in [1] * 5 + [0] * 30 + [-1] * 12])
    sample = sampled(manifest, 8)
    assert Counter(sample.manifest.table["y_true"]) == {1: 5, 0: 8, -1: 8}
    assert sample.n_given == {"melanoma": 5, "other": 30, "unlabelled": 12}
    assert len(sample.groups) == 21


def test_sample_depends_on_the_seed_and_on_what_the_images_hold():
    rows = [{"y_true": 0, "content_digest": f"c{number}"} for number in range(40)]
    drawn = [
        set(sampled(make_manifest(some), 10, seed).manifest.table["content_digest"])
        for some, seed in ((rows, 1), (rows[::-1], 1), (rows, 2), (rows[:-1], 1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0] & drawn[3]) >= 9


def test_groups_are_drawn_whole():
    manifest = make_manifest([{"y_true": 0}] * 60)
    groups = [str(number % 12) for number in range(60)]
    sample = sampled(manifest, 20, groups=groups)
    assert Counter(Counter(sample.groups).values()) == {5: 4}


def test_how_much_is_hidden_is_a_score_of_its_own(predictor, judged):
    hidden = judged.rows[judged.rows["change"] == "lesion_hidden"]
    assert (hidden["share_hidden"].isna() == hidden["y_prob_after"].isna()).all()
    assert judged.rows.loc[judged.rows["change"] != "lesion_hidden", "share_hidden"].isna().all()
    shares = hidden.assign(share_hidden=np.where(hidden["y_true"] == 1, 0.5, 0.1))
    assert estimate_auroc(shares, "share_hidden", resamples=50).value == 1
    assert (
        estimate_auroc(shares[shares["y_true"] == 1], "share_hidden", resamples=50).note == "one class only"
    )


def test_run_sums_up(predictor, collection):
    report = run(predictor, sampled(collection, 2), resamples=100)
    assert (report.n, report.n_given) == ({"melanoma": 2, "other": 2}, {"melanoma": 3, "other": 3})
    assert [effect.change for effect in report.effects] == list(TITLES)
    assert report.find("ruler").change == "ruler"
    assert report.bundle_digest == predictor.digest


def test_a_control_is_judged_by_the_network_alone(predictor, collection, monkeypatch):
    """The domain check takes noise for no dermoscopy; a flip of the control must not come from that."""
    whole = type(predictor)(predictor.bundle)
    original = whole.predict

    def refuse_noise(image):
        said = original(image)
        return replace(said, decision=Decision.CANNOT_ASSESS) if is_noisy(image) else said

    monkeypatch.setattr(whole, "predict", refuse_noise)
    rows = judge(whole, collection.table.head(2), list("ab"), seed=4).rows
    controlled = rows["decision_control"] != ""
    assert controlled.any()
    assert not rows.loc[controlled, "decision_control"].eq(Decision.CANNOT_ASSESS).any()


def is_noisy(image):
    """What `add_noise` gives has the size of the network's input."""
    return isinstance(image, np.ndarray) and image.shape == (32, 32, 3)
