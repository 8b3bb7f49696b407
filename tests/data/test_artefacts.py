import numpy as np
import pytest

from melanoma.data.artefacts import (
    ARTEFACTS,
    DEFAULT_RATES,
    add_gel_bubbles,
    add_hair,
    add_round_frame,
    draw_artefacts,
    smooth_noise,
)
from melanoma.errors import ConfigError


def skin(height, width):
    return np.full((height, width, 3), (214, 172, 150), np.uint8)


@pytest.mark.parametrize("name", ARTEFACTS)
@pytest.mark.parametrize("shape", [(96, 160), (130, 64), (17, 40)])
def test_artefact_changes_some_pixels_and_keeps_the_shape(name, shape):
    image = skin(*shape)
    before = image.copy()
    changed = ARTEFACTS[name](image, np.random.default_rng(3))
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(image, before), "the input must stay as it is"
    share = np.any(changed != image, axis=2).mean()
    assert 0.0005 < share < 0.75


@pytest.mark.parametrize("name", ARTEFACTS)
def test_same_seed_same_artefact(name):
    drawn = [ARTEFACTS[name](skin(80, 100), np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", ARTEFACTS)
def test_artefact_lies_where_it_lies_whatever_the_image(name):
    light, dark = np.full((90, 120, 3), 200, np.uint8), np.full((90, 120, 3), 90, np.uint8)
    touched = [np.any(ARTEFACTS[name](i, np.random.default_rng(1)) != i, axis=2) for i in (light, dark)]
    assert np.mean(touched[0] != touched[1]) < 0.03


def test_artefacts_accept_a_read_only_image():
    image = skin(64, 64)
    image.setflags(write=False)
    for add in ARTEFACTS.values():
        assert add(image, np.random.default_rng(0)).flags.writeable


def test_more_hairs_cover_more():
    few, many = (add_hair(skin(128, 128), np.random.default_rng(2), count=count) for count in (3, 40))
    assert np.mean(many != skin(128, 128)) > 3 * np.mean(few != skin(128, 128))


def test_no_hairs_and_no_bubbles_change_nothing():
    for add in (add_hair, add_gel_bubbles):
        assert np.array_equal(add(skin(70, 90), np.random.default_rng(2), count=0), skin(70, 90))


def test_round_frame_blackens_the_corners_and_spares_the_middle():
    framed = add_round_frame(skin(100, 140), np.random.default_rng(4), radius=0.75)
    assert framed[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 20
    assert np.array_equal(framed[30:70, 45:95], skin(40, 50))


def test_rates_tie_an_artefact_to_a_class():
    rates = {"ink": (0.1, 0.9), "ruler": (0.0, 1.0)}
    drawn = {y: [draw_artefacts(y, np.random.default_rng(i), rates) for i in range(300)] for y in (0, 1)}
    assert np.mean(["ink" in names for names in drawn[0]]) == pytest.approx(0.1, abs=0.06)
    assert np.mean(["ink" in names for names in drawn[1]]) == pytest.approx(0.9, abs=0.06)
    assert not any("ruler" in names or "hair" in names for names in drawn[0])
    assert all("ruler" in names for names in drawn[1])


def test_default_rates_are_the_same_for_both_classes():
    assert set(DEFAULT_RATES) == set(ARTEFACTS)
    assert all(benign == melanoma for benign, melanoma in DEFAULT_RATES.values())


@pytest.mark.parametrize("rates", [{"tattoo": (0, 1)}, {"hair": (0, 1.5)}, {"hair": (-0.1, 0)}])
def test_bad_rates_are_refused(rates):
    with pytest.raises(ConfigError, match="artefact rate"):
        draw_artefacts(0, np.random.default_rng(0), rates)


def test_smooth_noise_has_the_deviation_it_was_asked_for():
    noise = smooth_noise(np.random.default_rng(0), (200, 300), ((12, 0.3), (40, 0.4)))
    assert noise.shape == (200, 300)
    assert noise.dtype == np.float32
    assert noise.std() == pytest.approx(0.5, abs=0.1)
    assert abs(noise.mean()) < 0.1
