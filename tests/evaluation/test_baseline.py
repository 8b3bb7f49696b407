import json

import numpy as np
import pandas as pd
import pytest

from conftest import require_extra
from manifests import make_manifest

require_extra("sklearn", "bench")

from melanoma.data import splits as splitting
from melanoma.errors import SplitError
from melanoma.evaluation import baseline, baseline_files
from melanoma.evaluation.abcd.features import NAMES
from melanoma.evaluation.abcd.lesion import NO_LESION
from melanoma.evaluation.predictions import load

N = 240


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(baseline, "MOST_TREES", 12)
    monkeypatch.setattr(baseline, "RESAMPLES", 100)


@pytest.fixture(scope="module")
def manifest():
    return make_manifest([{"y_true": number % 2} for number in range(N)])


@pytest.fixture(scope="module")
def splits(manifest):
    return splitting.assign(manifest, val=0.2, calibration=0.2, test=0.2, seed=1)


@pytest.fixture
def table(manifest):
    """Features of noise, but for one that tells the class."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(0, 1, (N, len(NAMES))), columns=list(NAMES))
    table["colour_entropy"] += 2 * manifest.table["y_true"]
    return table.assign(problem="", error="")


def fit(manifest, splits, table, **options):
    return baseline.fit(manifest, splits, table, seed=1, **options)


def split_rows(splits, name):
    return (splits.table["split"] == name).to_numpy()


def test_what_tells_the_class_is_learnt_and_named_first(manifest, splits, table):
    told = []
    fitted = fit(manifest, splits, table, progress=lambda *count: told.append(count))
    test, y_true = split_rows(splits, "test"), manifest.table["y_true"]
    assert fitted.y_prob[test & (y_true == 1)].mean() > fitted.y_prob[test & (y_true == 0)].mean() + 0.4
    assert next(iter(fitted.features)) == "colour_entropy"
    assert next(iter(fitted.families)) == "colour"
    assert fitted.features["colour_entropy"].value > 0.1
    assert fitted.operating_point.sensitivity >= 0.95
    assert fitted.calibration.n == split_rows(splits, "calibration").sum()
    assert {stage for stage, *_ in told} == {"choosing on val", "measuring importance"}


def test_trees_are_chosen_on_val(manifest, splits, table):
    trials = fit(manifest, splits, table).trials
    assert sorted(trial.hyperparameters.max_leaf_nodes for trial in trials) == list(baseline.LEAVES)
    losses = [trial.val_log_loss for trial in trials]
    assert losses == sorted(losses)
    val = split_rows(splits, "val")
    table.loc[val, "colour_entropy"] = -10.0 * manifest.table["y_true"]  # what was learnt misleads on val
    misled = fit(manifest, splits, table).trials[0]
    assert misled.hyperparameters.trees < trials[0].hyperparameters.trees
    assert misled.val_log_loss > losses[0] + 0.1


def test_same_seed_same_everything(manifest, splits, table):
    one, two = fit(manifest, splits, table), fit(manifest, splits, table)
    assert np.array_equal(one.y_prob, two.y_prob)
    assert one.to_dict() == two.to_dict()
    other = baseline.fit(manifest, splits, table, seed=2)
    assert not np.array_equal(one.y_prob, other.y_prob)


def test_test_images_choose_nothing(manifest, splits, table):
    before = fit(manifest, splits, table)
    test = split_rows(splits, "test")
    table.loc[test, list(NAMES)] = 99.0
    manifest.table.loc[test, "y_true"] = 1 - manifest.table.loc[test, "y_true"]
    after = fit(manifest, splits, table)
    manifest.table.loc[test, "y_true"] = 1 - manifest.table.loc[test, "y_true"]
    assert np.array_equal(before.y_prob[~test], after.y_prob[~test])
    assert (before.operating_point, before.trials) == (after.operating_point, after.trials)
    assert before.features == after.features


def test_without_lesion_is_judged_and_counted_unreadable_is_refused(manifest, splits, table, tmp_path):
    test = np.flatnonzero(split_rows(splits, "test"))
    table.loc[test[:3], list(NAMES)] = np.nan
    table.loc[test[:2], "problem"] = NO_LESION
    table.loc[test[2], "error"] = "no image"
    fitted = fit(manifest, splits, table)
    assert np.isfinite(np.delete(fitted.y_prob, test[2])).all()
    assert np.isnan(fitted.y_prob[test[2]])
    counts = fitted.counts["test"]
    assert (counts["without_features"], counts["unreadable"]) == (2, 1)
    assert counts["melanoma"] + counts["other"] == len(test)
    baseline_files.save(fitted, manifest, splits, table, tmp_path, seed=1)
    saved = load(tmp_path / "predictions.csv", manifest)
    rows = list(saved.score(manifest.table["path"].tolist()))
    assert (rows[test[2]].y_prob, rows[test[2]].decision, rows[test[2]].error) == (
        None,
        "cannot_assess",
        "no image",
    )
    assert saved.operating_point.threshold == fitted.operating_point.threshold


def test_predictions_decide_as_the_threshold_does_and_splits_are_kept(manifest, splits, table, tmp_path):
    fitted = fit(manifest, splits, table)
    baseline_files.save(fitted, manifest, splits, table, tmp_path, seed=1)
    assert splitting.load(tmp_path / "splits.csv", manifest).digest == splits.digest
    saved = load(tmp_path / "predictions.csv", manifest)
    rows = list(saved.score(manifest.table["path"].tolist()))
    assert [row.y_prob for row in rows] == fitted.y_prob.tolist()
    calibration = split_rows(splits, "calibration") & (manifest.table["y_true"] == 1)
    referred = np.array([row.decision == "refer" for row in rows])
    assert referred[calibration].mean() == fitted.operating_point.sensitivity


def test_document_says_what_it_is_and_nothing_of_the_place(manifest, splits, table, tmp_path):
    baseline_files.save(fit(manifest, splits, table), manifest, splits, table, tmp_path, seed=1)
    text = (tmp_path / "baseline.json").read_text()
    assert str(tmp_path) not in text
    document = json.loads(text, parse_constant=pytest.fail)
    assert document["splits_digest"] == splits.digest
    assert set(document["features"]) == set(NAMES)
    meanings = document["features_meaning"]
    assert {name for family in meanings.values() for name in family} == set(NAMES)
    assert document["trials"][0]["hyperparameters"]["learning_rate"] == 0.05
    assert document["versions"]["scikit-learn"]


def test_split_without_a_class_is_one_line(manifest, splits, table):
    lame = splits.table.copy()
    lame.loc[split_rows(splits, "val") & (manifest.table["y_true"] == 1), "split"] = "excluded"
    lame = splitting.Splits(lame, "digest")
    with pytest.raises(SplitError, match="the val split holds no image of class melanoma"):
        baseline.check(manifest, lame)
    table.loc[split_rows(splits, "val") & (manifest.table["y_true"] == 1), "error"] = "no image"
    with pytest.raises(SplitError, match="the val split holds no readable images of both classes"):
        fit(manifest, splits, table)
