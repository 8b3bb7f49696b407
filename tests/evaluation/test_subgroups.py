import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.evaluation.attributes import MAX_VALUES, OTHER_VALUES, list_attributes
from melanoma.evaluation.judged import read_outcomes
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.subgroups import (
    MIN_OF_CLASS,
    TOO_FEW,
    Breakdown,
    WithinSources,
    average_within,
    break_down,
    draw_within,
)


def make_rows(n=200, seed=0, **columns):
    rng = np.random.default_rng(seed)
    names = [str(number) for number in range(n)]
    y_true = np.arange(n) % 2
    y_prob = np.round(rng.random(n) * 0.7 + 0.3 * y_true, 2)
    rows = pd.DataFrame({"source": ["s"] * n, "path": names, "image_id": names, "y_true": y_true})
    rows = rows.assign(y_prob=y_prob, decision=np.where(y_prob >= 0.5, "refer", "no_sign"), group=names)
    return rows.assign(**columns)


def broken_down(rows, by, resamples=50):
    found = break_down(rows, read_outcomes(rows), resamples=resamples, seed=1)
    return next(breakdown for breakdown in found if breakdown.by == by)


def counts(breakdown):
    return {part.name: (part.n_melanoma, part.n_other) for part in breakdown.subgroups}


def test_ages_fall_into_bands_and_impossible_ones_are_not_stated():
    ages = [0, 29.9, 30, 49, 50, 69, 70, 120, -5, 121, np.nan, np.inf]
    found = broken_down(make_rows(12, age_approx=ages), "age")
    assert counts(found) == {
        "under 30": (1, 1),
        "30-49": (1, 1),
        "50-69": (1, 1),
        "70 and over": (1, 1),
        "": (2, 2),
    }
    assert (found.n_not_stated, found.n_impossible) == (4, 3)


def test_age_that_is_text_is_read_and_nonsense_is_not_stated():
    found = broken_down(make_rows(4, age_approx=["45", "old", "", "-1"]), "age")
    assert (counts(found), found.n_impossible) == ({"30-49": (0, 1), "": (2, 1)}, 1)


def test_sex_takes_the_usual_words_and_counts_the_impossible():
    words = ["Male", "f", "female ", "M", "7", "banana", "unknown", ""]
    found = broken_down(make_rows(8, sex=words), "sex")
    assert counts(found) == {"female": (1, 1), "male": (1, 1), "": (2, 2)}
    assert (found.n_not_stated, found.n_impossible) == (4, 2)


def test_figures_are_those_of_the_part():
    rows = make_rows(400, sex=["male", "male", "female", "female"] * 100)
    part = broken_down(rows, "sex").subgroups[0]
    women = rows[rows["sex"] == "female"]
    assert (part.name, part.n_groups) == ("female", 200)
    assert part.figures["auroc"].value == pytest.approx(roc_auc_score(women["y_true"], women["y_prob"]))
    called = women[women["y_true"] == 1]["decision"] == "refer"
    assert part.figures["sensitivity"].value == pytest.approx(called.mean())
    for figure in part.figures.values():
        assert figure.low < figure.value < figure.high


def test_refused_images_count_as_referred_in_a_part_and_not_for_its_auroc():
    rows = make_rows(100, sex="male")
    rows.loc[:19, "decision"] = "cannot_assess"
    (part,) = broken_down(rows, "sex").subgroups
    melanoma = rows[rows["y_true"] == 1]
    assert part.figures["sensitivity"].value == pytest.approx((melanoma["decision"] != "no_sign").mean())
    kept = rows[20:]
    assert part.figures["auroc"].value == pytest.approx(roc_auc_score(kept["y_true"], kept["y_prob"]))


@pytest.mark.parametrize("enough", [True, False])
def test_too_few_of_the_needed_class_say_nothing(enough):
    melanomas = MIN_OF_CLASS if enough else MIN_OF_CLASS - 1
    rows = make_rows(60, sex="female")
    rows["y_true"] = [1] * melanomas + [0] * (60 - melanomas)
    (part,) = broken_down(rows, "sex").subgroups
    for name in ("auroc", "sensitivity"):
        assert (part.figures[name].value is not None) == enough
        assert (part.figures[name].note == TOO_FEW) != enough
    assert part.figures["specificity"].value is not None


def test_images_of_one_patient_are_one():
    rows = make_rows(200, sex="female", group=[f"patient {number // 20}" for number in range(200)])
    (part,) = broken_down(rows, "sex").subgroups
    assert part.n_groups == 10
    assert part.figures["sensitivity"].value is not None
    (part,) = broken_down(rows[:180], "sex").subgroups
    assert part.figures["sensitivity"] == Estimate(None, None, None, TOO_FEW)


def test_diagnosis_has_sensitivity_or_specificity_and_no_other():
    rows = make_rows(200, diagnosis=["Benign > nevus", "Malignant > Melanoma"] * 100)
    found = broken_down(rows, "diagnosis")
    figures = {part.name: list(part.figures) for part in found.subgroups}
    assert figures == {"nevus": ["specificity"], "melanoma": ["sensitivity"]}
    spared = rows[rows["y_true"] == 0]["decision"] == "no_sign"
    assert found.subgroups[1].figures["specificity"].value == pytest.approx(spared.mean())


def test_frequent_values_stand_alone_and_rare_ones_together():
    sites = [f"site {min(number, 30) if number < 200 else 0}" for number in range(400)]
    found = broken_down(make_rows(400, anatom_site_general=sites), "site")
    assert [part.name for part in found.subgroups][:2] == ["site 0", "site 30"]
    assert len(found.subgroups) == MAX_VALUES
    assert found.subgroups[-1].name == OTHER_VALUES
    assert sum(part.n_melanoma + part.n_other for part in found.subgroups) == 400


def test_what_no_image_states_is_named_and_left_out():
    found = break_down(make_rows(20), read_outcomes(make_rows(20)), resamples=20, seed=0)
    assert [breakdown.by for breakdown in found] == ["age", "sex", "site", "diagnosis"]
    assert all(not breakdown.subgroups for breakdown in found)
    assert {breakdown.note for breakdown in found} == {"not stated for any image"}


def test_spellings_of_one_value_are_one():
    rows = make_rows(4, anatom_site_general=["Lower  Extremity", "lower_extremity", "N/A", "lower extremity"])
    assert counts(broken_down(rows, "site")) == {"lower extremity": (2, 1), "": (0, 1)}


def test_skin_tone_is_marked_as_an_estimate():
    rows = make_rows(6, ita=[60.0, 50.0, np.nan, -40.0, 60.0, 20.0])
    found = broken_down(rows, "skin tone")
    assert list(counts(found)) == ["very light", "light", "tan", "dark", ""]
    assert found.note.startswith("An estimate")
    assert "skin tone" not in [attribute.name for attribute in list_attributes(make_rows(6))]


def test_breakdown_survives_json():
    rows = make_rows(100, sex=["male", "female", ""] * 33 + [""], diagnosis="nevus")
    for breakdown in break_down(rows, read_outcomes(rows), resamples=20, seed=0):
        plain = {
            **{name: getattr(breakdown, name) for name in ("by", "n_not_stated", "n_impossible", "note")},
            "subgroups": [
                {
                    **{name: getattr(part, name) for name in ("name", "n_melanoma", "n_other", "n_groups")},
                    "figures": {name: figure.to_dict() for name, figure in part.figures.items()},
                }
                for part in breakdown.subgroups
            ],
        }
        assert Breakdown.from_dict(json.loads(json.dumps(plain, allow_nan=False))) == breakdown


def sources_of(rows, **options):
    return average_within(rows, read_outcomes(rows), **{"resamples": 100, "seed": 0} | options)


def test_model_that_knows_only_the_source_is_found_out():
    rows = pd.concat([make_rows(200, 1, source="a"), make_rows(200, 2, source="b")], ignore_index=True)
    rows["y_true"] = np.r_[np.arange(200) % 10 == 0, np.arange(200) % 10 != 0].astype(int)
    rows["y_prob"] = np.random.default_rng(0).random(400) * 0.4 + 0.6 * (rows["source"] == "b")
    rows["group"] = [str(number) for number in range(400)]
    assert roc_auc_score(rows["y_true"], rows["y_prob"]) > 0.85
    found = sources_of(rows)
    assert found.auroc.low < 0.5 < found.auroc.high


def test_mean_within_sources_is_plain():
    rows = pd.concat([make_rows(60, 1, source="a"), make_rows(300, 2, source="b")], ignore_index=True)
    found = sources_of(rows)
    values = [roc_auc_score(part["y_true"], part["y_prob"]) for _, part in rows.groupby("source")]
    assert found.auroc.value == pytest.approx(np.mean(values))
    assert found.auroc.low < found.auroc.value < found.auroc.high
    assert (found.sources, found.left_out) == (["a", "b"], [])


def test_perfect_and_blind_source_average_to_three_quarters_without_spread():
    rows = pd.concat([make_rows(40, 1, source="a"), make_rows(40, 1, source="b")], ignore_index=True)
    rows["y_prob"] = np.where(rows["source"] == "a", rows["y_true"] * 1.0, 0.5)
    rows["group"] = [str(number) for number in range(80)]
    found = sources_of(rows)
    assert (found.auroc.value, found.auroc.low) == (0.75, None)


def test_group_in_two_sources_is_drawn_as_one():
    parts = [make_rows(60, 3, source=name) for name in ("a", "b")]
    twins = pd.concat(parts, ignore_index=True)  # the same groups, labels and probabilities in both
    alone = twins.assign(group=[str(number) for number in range(120)])
    together, apart = (sources_of(rows, resamples=400).auroc for rows in (twins, alone))
    assert together.value == apart.value
    assert together.high - together.low > 1.2 * (apart.high - apart.low)


def test_every_draw_keeps_each_sources_number_of_groups():
    rows = make_rows(90, source=["a"] * 30 + ["b"] * 60, group=[str(number // 3) for number in range(90)])
    where = np.array([rows["source"] == "a", rows["source"] == "b"])
    draws = list(draw_within(read_outcomes(rows), where, 150, 0))
    weights = np.concatenate(draws)
    assert weights.shape == (150, 90)
    assert (weights @ where.T == [30, 60]).all()
    assert (weights[:, ::3] == weights[:, 1::3]).all()
    assert len(np.unique(weights, axis=0)) > 140


def test_source_with_one_class_is_left_out_of_the_mean():
    rows = pd.concat([make_rows(60, n, source=name) for n, name in enumerate("abc")], ignore_index=True)
    rows["group"] = [str(number) for number in range(180)]
    rows.loc[rows["source"] == "c", "y_true"] = 0
    assert (sources_of(rows).sources, sources_of(rows).left_out) == (["a", "b"], ["c"])
    rows.loc[rows["source"] == "b", "decision"] = "cannot_assess"
    found = sources_of(rows)
    assert found.auroc.value is None
    assert "fewer than two sources" in found.auroc.note
    assert WithinSources.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_one_source_has_no_mean():
    assert sources_of(make_rows(20)) is None
