import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from melanoma.audit.groups import SURE, join
from melanoma.data.splits import find_components


def pairs(*rows):
    return pd.DataFrame(rows, columns=["first", "second", "score"])


def as_sets(group):
    return {frozenset(np.flatnonzero(group == number).tolist()) for number in set(group.tolist())}


def test_sure_pairs_always_join():
    chain = pairs(*[(row, row + 1, 0.9) for row in range(30)])
    assert as_sets(join(31, chain)) == {frozenset(range(31))}


def test_a_chain_of_weak_pairs_does_not_swallow_everything():
    chain = pairs(*[(row, row + 1, 0.7) for row in range(100)])
    assert max(map(len, as_sets(join(101, chain)))) <= 4


def test_a_weak_pair_between_two_large_groups_keeps_them_apart():
    sure = [(0, row, 0.95) for row in range(1, 10)] + [(10, row, 0.95) for row in range(11, 20)]
    assert as_sets(join(20, pairs(*sure, (3, 14, 0.7)))) == {frozenset(range(10)), frozenset(range(10, 20))}


def test_weak_pairs_that_agree_join():
    sure = [(0, 1, 0.95), (0, 2, 0.95), (3, 4, 0.95), (3, 5, 0.95)]
    weak = [(0, 3, 0.7), (1, 4, 0.7), (2, 5, 0.7)]
    assert as_sets(join(6, pairs(*sure, *weak))) == {frozenset(range(6))}


def test_no_pairs():
    assert as_sets(join(3, pairs())) == {frozenset({0}), frozenset({1}), frozenset({2})}
    assert len(join(0, pairs())) == 0


edges = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19), st.floats(0.62, 1)), max_size=60)


@given(edges, st.randoms())
def test_groups_lie_between_the_sure_components_and_all(found, random):
    table = pairs(*found).astype({"first": "int64", "second": "int64", "score": "float64"})
    group = join(20, table)
    every = find_components(20, table[["first", "second"]].to_numpy())
    sure = find_components(20, table.loc[table["score"] >= SURE, ["first", "second"]].to_numpy())
    for row in range(20):
        assert len(set(group[sure == sure[row]])) == 1
        assert len(set(every[group == group[row]])) == 1
