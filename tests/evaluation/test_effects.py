import numpy as np
import pandas as pd
import pytest

from conftest import require_extra

require_extra("pandas", "bench")

from melanoma.evaluation.effects import summarise
from melanoma.evaluation.stress_words import describe

THRESHOLD = 0.5


def decide(y_prob):
    return np.where(np.isnan(y_prob), "", np.where(np.nan_to_num(y_prob) >= THRESHOLD, "refer", "no_sign"))


def make_rows(y_true, before, after, control=None, change="hair_strong", groups=None):
    """The rows of one change."""
    n = len(y_true)
    moments = {"before": before, "after": after, "control": [np.nan] * n if control is None else control}
    columns = {"y_true": y_true, "group": [str(i) for i in range(n)] if groups is None else groups}
    for name, y_prob in moments.items():
        columns[f"y_prob_{name}"] = np.asarray(y_prob, float)
        columns[f"decision_{name}"] = decide(np.asarray(y_prob, float))
    return pd.DataFrame(columns).assign(change=change, reason="")


def one(rows, **options):
    (effect,) = summarise(rows, resamples=200, **options)
    return effect


def values(part):
    return {name: contrast.changed.value for name, contrast in part.figures.items()}


def test_figures_of_each_class_by_hand():
    rows = make_rows(
        [1, 1, 1, 1, 0, 0],
        before=[0.9, 0.8, 0.6, 0.3, 0.2, 0.4],
        after=[0.7, 0.4, 0.4, 0.6, 0.2, 0.9],
        control=[0.9, 0.7, 0.6, 0.3, 0.1, 0.4],
    )
    effect = one(rows)
    melanoma, other = effect.classes["melanoma"], effect.classes["other"]
    assert values(melanoma) == pytest.approx(
        {"abs_delta": 0.275, "delta": -0.125, "to_no_sign": 0.5, "to_refer": 0.25}
    )
    assert values(other) == pytest.approx(
        {"abs_delta": 0.25, "delta": 0.25, "to_no_sign": 0, "to_refer": 0.5}
    )
    moved = melanoma.figures["abs_delta"]
    assert (moved.control.value, moved.difference.value) == pytest.approx((0.025, 0.25))
    assert moved.difference.low <= 0.25 <= moved.difference.high
    assert (effect.auroc.before.value, effect.auroc.after.value) == pytest.approx((0.875, 0.5))
    assert effect.auroc.difference.value == pytest.approx(-0.375)
    assert effect.auroc.control_difference.value == pytest.approx(0)
    assert effect.auroc.beyond_control.value == pytest.approx(-0.375)
    assert (melanoma.n, melanoma.n_control, melanoma.n_groups) == (4, 4, 4)


def test_difference_from_the_control_is_paired():
    """Each image moves by exactly 0.1 more than its control, however unlike the images are."""
    rng = np.random.default_rng(0)
    before = rng.uniform(0.1, 0.5, 60)
    noise = rng.uniform(0, 0.3, 60)
    rows = make_rows([1, 0] * 30, before, before + noise + 0.1, before + noise)
    figures = one(rows).classes["melanoma"].figures["abs_delta"]
    assert figures.difference.value == pytest.approx(0.1)
    assert figures.difference.high - figures.difference.low < 1e-9 or figures.difference.low is None
    assert figures.changed.high - figures.changed.low > 0.03


def test_control_of_some_images_is_set_against_the_same_images():
    rows = make_rows([1, 1, 0, 0], [0.5] * 4, [0.6, 0.9, 0.6, 0.6], [0.55, np.nan, 0.5, 0.5])
    part = one(rows).classes["melanoma"]
    assert (part.n, part.n_control) == (2, 1)
    assert part.figures["delta"].changed.value == pytest.approx(0.25)
    assert part.figures["delta"].difference.value == pytest.approx(0.05)


def test_image_without_the_change_is_left_out_with_its_reason():
    rows = make_rows([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2], [0.9, np.nan, 0.1, 0.2], change="lesion_hidden")
    rows.loc[1, "reason"] = "no lesion was found"
    effect = one(rows)
    assert effect.missing == {"no lesion was found": 1}
    assert effect.classes["melanoma"].n == 1
    assert "1 (no lesion was found)" in describe(effect)


def test_refused_image_counts_as_referred():
    rows = make_rows([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2], [0.2, 0.2, 0.1, 0.2])
    rows.loc[[0, 2], "decision_after"] = "cannot_assess"
    effect = one(rows)
    assert effect.refused == 2
    assert effect.classes["melanoma"].figures["to_no_sign"].changed.value == 0.5
    assert effect.classes["other"].figures["to_refer"].changed.value == 0.5


def test_one_class_has_no_auroc_and_says_why():
    effect = one(make_rows([0, 0, 0], [0.1, 0.2, 0.3], [0.2, 0.3, 0.6], [0.1, 0.2, 0.3]))
    assert set(effect.classes) == {"other"}
    assert (effect.auroc.after.value, effect.auroc.after.note) == (None, "one class only")
    assert "33.3 % of the other images become false alarms" in describe(effect)


def test_unlabelled_images_have_flips_only():
    effect = one(make_rows([-1, -1, -1], [0.1, 0.7, 0.3], [0.7, 0.2, 0.3]))
    assert set(effect.classes) == {"unlabelled"}
    assert values(effect.classes["unlabelled"])["to_no_sign"] == pytest.approx(1 / 3)
    assert effect.auroc.before.value is None
    assert "33.3 % of the unlabelled images are no longer referred, 33.3 % newly" in describe(effect)


def test_groups_widen_intervals():
    rng = np.random.default_rng(1)
    shift = np.repeat(rng.uniform(0, 0.3, 12), 5)
    before = np.full(60, 0.3)
    alone = one(make_rows([0] * 60, before, before + shift))
    together = one(make_rows([0] * 60, before, before + shift, groups=[str(i // 5) for i in range(60)]))
    spread = [
        figure.high - figure.low
        for figure in (e.classes["other"].figures["delta"].changed for e in (alone, together))
    ]
    assert spread[1] > 1.5 * spread[0]
    assert together.classes["other"].n_groups == 12


def test_same_seed_same_intervals():
    rows = make_rows([1, 0] * 10, np.linspace(0.1, 0.9, 20), np.linspace(0.2, 0.6, 20))
    assert summarise(rows, resamples=100, seed=3) == summarise(rows, resamples=100, seed=3)
    assert summarise(rows, resamples=100, seed=3) != summarise(rows, resamples=100, seed=4)


def words(moved, noise, y_true=(1, 0) * 20):
    rng = np.random.default_rng(0)
    jitter = rng.uniform(0.9, 1.1, len(y_true))
    before = np.full(len(y_true), 0.4)
    control = None if noise is None else before + noise * jitter
    return describe(one(make_rows(list(y_true), before, before + moved * jitter, control)))


def test_sentence_says_whether_noise_does_as_much():
    assert "towards melanoma; noise of the same energy moves it by 0.0" in words(0.05, 0.01)
    assert "clearly less in melanomas and other images" in words(0.05, 0.01)
    assert "clearly more in melanomas and other images" in words(-0.01, 0.06)
    assert "away from melanoma" in words(-0.01, 0.06)
    assert "noise" not in words(0.05, None)
    assert "No melanoma is lost, no false alarm is gained" in words(0.05, 0.01)


def test_lesion_hidden_is_judged_by_its_auroc():
    rng = np.random.default_rng(2)
    y_true = [1, 0] * 40
    before = np.where(np.array(y_true) == 1, 0.7, 0.3) + rng.normal(0, 0.2, 80)
    told = one(make_rows(y_true, before, before, before, change="lesion_hidden"))
    chance = one(make_rows(y_true, before, rng.random(80), before, change="lesion_hidden"))
    reverse = one(make_rows(y_true, before, 1 - before, before, change="lesion_hidden"))
    assert "Melanoma is still told" in describe(told)
    assert "No sign that melanoma is told without the lesion" in describe(chance)
    assert "Below chance" in describe(reverse)
    assert "as large a patch of skin hidden instead changes it by 0.00" in describe(told)


def test_few_groups_are_never_clear():
    few = (1, 0) * 9
    assert "towards melanoma" not in words(0.05, 0.01, few)
    assert "noise of the same energy moves it by 0.010 and 0.010, too few to say" in words(0.05, 0.01, few)
    uneven = (1,) * 20 + (0,) * 4
    assert words(0.05, 0.01, uneven).count("clearly less in melanomas.") == 1
    y_true, before = [1, 0] * 9, np.random.default_rng(0).random(18)
    hidden = one(make_rows(y_true, before, before, before, change="lesion_hidden"))
    assert "so few images nobody can say whether melanoma is told without the lesion" in describe(hidden)
