import dataclasses

import pytest

from conftest import require_extra

require_extra("pandas", "bench")

from melanoma.evaluation import plain_words
from melanoma.evaluation.evaluate import Confusion, EvaluationReport
from melanoma.evaluation.looks import LookCount
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.plain_words import Origin
from melanoma.evaluation.utility import DecisionCurve, NetBenefit

NONE = Estimate(None, None, None, "one class only")


def report(sensitivity=0.95, specificity=0.79, coverage=1.0, sources=("home",)):
    def spread(value):
        return NONE if value is None else Estimate(value, value - 0.02, min(value + 0.02, 1.0))

    figures = {
        "sensitivity": spread(sensitivity),
        "specificity": spread(specificity),
        "auroc": spread(0.9),
    }
    made = EvaluationReport(
        "test", 200, 100, 100, 200, coverage, figures, Confusion(0, 0, 0, 0), [], None, None, "b", "m", 100, 1
    )
    return dataclasses.replace(made, sources=list(sources))


def test_the_images_in_natural_frequencies():
    words = plain_words.describe_images(report())
    assert "Of 100 melanomas the model refers about 95 (93 to 97)." in words
    assert "Of 100 images that show no melanoma it refers about 21 (19 to 23) as well." in words
    assert "in about 90 (88 to 92) of 100 such pairs" in words


def test_a_practice_in_whole_patients():
    """2 % of 1,000: 20 melanomas of whom 19 are found, 980 others of whom 206 are referred."""
    words = plain_words.describe_practice(report())
    assert "of 1,000 patients 20 have it: the model refers about 19 of them" in words
    assert "Of the 980 others it refers about 206 (186 to 225) too" in words
    assert "of about 225 people it refers, about 19 have melanoma" in words


def test_those_found_and_missed_are_all_melanomas():
    words = plain_words.describe_practice(report(sensitivity=0.925))  # 18.5 of 20, and 1.5
    assert "the model refers about 18 of them and misses about 2 (" in words


def test_a_rare_miss_is_not_called_none():
    assert "misses fewer than 1 (0 to 1)" in plain_words.describe_practice(report(sensitivity=0.98))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sensitivity": None}, "There is no melanoma here."),
        ({"specificity": None}, "All of these images are melanomas."),
        ({"coverage": 0.0}, "nothing can be said of how well it tells melanoma"),
    ],
)
def test_what_cannot_be_said_is_not_said(options, said):
    made = report(**options)
    assert said in plain_words.describe_images(made)
    assert plain_words.describe_practice(made) == ""
    assert plain_words.count_patients(made) is None


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (Origin(None, 0), "What the model was trained on is not known here"),
        (Origin(["home"], 200), "elsewhere expect worse."),
        (Origin(["home"], 0), "Nothing says that they were kept apart from training"),
        (Origin(["home"], 50), "Only 50 of the 200 are known to be test images"),
        (Origin(["away"], 0), "come from elsewhere than the training images (away)"),
    ],
)
def test_what_the_figures_are_worth(origin, said):
    assert said in plain_words.describe_worth(report(), origin, None)


def test_test_images_that_were_kept_apart_give_no_warning():
    words = plain_words.describe_worth(report(), Origin(["home"], 200), LookCount(1, 1))
    assert "too good" not in words
    assert "looked at 7 times" in plain_words.describe_worth(report(), None, LookCount(7, 2))


def curve(useful):
    points = tuple(
        NetBenefit(number / 100, Estimate(0.5, 0.4 if number in useful else -1.0, 0.6), refer_all=0.3)
        for number in range(1, 21)
    )
    return DecisionCurve(0.02, points)


@pytest.mark.parametrize(
    ("useful", "said"),
    [
        ([], "nowhere clear"),
        ([4, 5], "nowhere clear"),
        ([3, 4, 5, 9, 10, 11], "from 3 % to 5 % and from 9 % to 11 %"),
        (range(1, 21), "at every threshold shown"),
        (range(2, 21), "at nearly every threshold shown"),
    ],
)
def test_where_a_model_is_of_use(useful, said):
    assert said in plain_words.describe_use(curve(useful))
