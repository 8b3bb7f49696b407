import numpy as np
import pandas as pd

from melanoma.audit.montage import choose_pairs


def make_pairs(scores):
    return pd.DataFrame({"first": 0, "second": range(1, len(scores) + 1), "score": scores})


def test_chosen_pairs_span_the_scores_and_crowd_at_the_weak_end():
    scores = np.random.default_rng(0).permutation(np.linspace(0.6, 1, 1000))
    chosen = choose_pairs(make_pairs(scores), 20)["score"].tolist()
    assert len(chosen) == 20
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0.6, 1)
    assert np.median(chosen) < 0.75


def test_choice_does_not_depend_on_the_order_of_the_rows():
    pairs = make_pairs([0.9, 0.7, 0.7, 0.8, 0.7] * 30)
    shuffled = pairs.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(choose_pairs(pairs, 7), choose_pairs(shuffled, 7))


def test_few_pairs_are_all_chosen():
    assert choose_pairs(make_pairs([0.9, 0.7]), 20)["score"].tolist() == [0.7, 0.9]
    assert choose_pairs(make_pairs([]), 20).empty
    for count in range(2, 12):
        assert len(choose_pairs(make_pairs(np.arange(11) / 20), count)) == min(count, 11)
