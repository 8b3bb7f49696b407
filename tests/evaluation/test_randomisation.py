import numpy as np
import pytest

from melanoma.evaluation.randomisation import (
    compare_structure,
    correlate,
    follows_weights,
    list_steps,
    randomise,
)
from melanoma.inference.network_file import find_layers
from melanoma.inference.runtime import LiteRtNetwork


@pytest.fixture(scope="module")
def content(tiny_bundle):
    return (tiny_bundle / "network.tflite").read_bytes()


def values(content):
    """The stored values of each layer, joined."""
    layers = find_layers(bytearray(content))
    return [np.concatenate([one.values.ravel() for one in layer.weights]) for layer in layers]


def test_steps_go_from_the_output_down(content):
    steps = list_steps(content)
    assert [step.depth for step in steps] == [1, 2, 3, 4, 5]
    assert [step.name for step in steps] == [
        "dense layer 2",
        "dense layer 1",
        "convolution 3",
        "convolution 2",
        "convolution 1",
    ]


@pytest.mark.parametrize(("depth", "random"), [(1, {5, 4}), (2, {5, 4, 3}), (5, {0, 1, 2, 3, 4, 5})])
def test_only_the_layers_nearest_the_output_become_random(content, depth, random):
    """Layer 4 is the heat map's own kernel, which follows from layers 3 and 5."""
    before, after = values(content), values(randomise(content, depth, np.random.default_rng(0)))
    changed = {
        number for number, pair in enumerate(zip(before, after, strict=True)) if not np.array_equal(*pair)
    }
    assert changed == random


def test_every_value_keeps_its_size(content):
    before = find_layers(bytearray(content))
    after = find_layers(bytearray(randomise(content, 5, np.random.default_rng(0))))
    for number in (0, 1, 2, 3, 5):
        for old, new in zip(before[number].weights, after[number].weights, strict=True):
            sizes = [np.sort(np.abs(one.values.astype(np.float64)), axis=None) for one in (old, new)]
            np.testing.assert_array_equal(*sizes)
            assert abs(new.values.astype(np.float64).mean()) <= 4 * old.values.std() / np.sqrt(
                old.values.size
            )


def test_the_heat_map_follows_the_random_weights(content):
    assert follows_weights(content)
    for depth in (1, 2, 5):
        assert follows_weights(randomise(content, depth, np.random.default_rng(depth)))
    broken = bytearray(content)
    find_layers(broken)[4].weights[0].values[:] = 1
    assert not follows_weights(bytes(broken))
    assert [step.name for step in list_steps(bytes(broken))][:2] == ["dense layer 3", "dense layer 2"]


def test_random_networks_run_and_differ_by_seed_only(content):
    pixels = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    outputs = [
        LiteRtNetwork(randomise(content, 5, np.random.default_rng(seed))).run(pixels) for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(outputs[0].logit, outputs[1].logit)
    assert np.isfinite(outputs[0].logit).all()
    assert (outputs[0].logit != outputs[2].logit).all()


def test_rank_correlation_of_maps():
    heat = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    assert correlate(heat, heat**3) == pytest.approx(1)
    assert correlate(heat, 1 - heat) == pytest.approx(-1)
    assert np.isnan(correlate(heat, np.zeros((5, 6))))


def test_structural_similarity_of_maps():
    heat = np.random.default_rng(0).random((9, 9)).astype(np.float32)
    assert compare_structure(heat, 5 * heat) == pytest.approx(1)
    assert compare_structure(heat, np.random.default_rng(1).random((9, 9))) < 0.3
    assert compare_structure(heat[:4, :4], heat[:4, :4]) == pytest.approx(1)
    assert np.isnan(compare_structure(heat[:2, :2], heat[:2, :2]))
    assert np.isnan(compare_structure(heat, np.zeros((9, 9))))
