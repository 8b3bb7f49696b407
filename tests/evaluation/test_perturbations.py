import numpy as np
import pytest

from conftest import draw, require_extra

require_extra("cv2", "bench")

from melanoma.evaluation.perturbations import (
    CHANGES,
    add_noise,
    blur,
    compress,
    crop,
    light,
    measure_energy,
    seed_generator,
)

RNG = np.random.default_rng(0)


def difference(first, second):
    return np.abs(first.astype(int) - second).mean()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_change_depends_on_its_generator_alone(change):
    image = draw(3, 90, 120, melanoma=True)
    before = image.copy()
    image.setflags(write=False)
    first, again = (change.apply(image, seed_generator(1, "digest", change.name)) for _ in range(2))
    assert np.array_equal(image, before)
    assert np.array_equal(first, again)
    assert first.dtype == np.uint8
    assert change.moves_pixels or first.shape == image.shape
    assert first.shape != image.shape or not np.array_equal(first, image)


def test_names_are_unique_and_strong_changes_more_than_mild():
    image = draw(5, 120, 120, melanoma=True)
    made = {change.name: change.apply(image, seed_generator(0, "", change.name)) for change in CHANGES}
    assert len(made) == len(CHANGES)
    for kind in ("round_frame", "hair", "gel_bubbles", "blur", "jpeg"):
        assert difference(made[f"{kind}_strong"], image) > 1.2 * difference(made[f"{kind}_mild"], image), kind


def test_generators_differ_by_seed_image_and_change():
    keys = [(0, "a", "hair"), (1, "a", "hair"), (0, "b", "hair"), (0, "a", "ruler"), (0, "a", "hair")]
    drawn = [seed_generator(*key).integers(2**40) for key in keys]
    assert len(set(drawn)) == 4
    assert drawn[0] == drawn[4]


@pytest.mark.parametrize("energy", [40.0, 3e3, 2e5, 8e6])
@pytest.mark.parametrize("level", [0, 3, 128, 255])
def test_noise_has_the_energy_it_was_asked_for(energy, level):
    image = np.full((40, 40, 3), level, np.uint8)
    image[10:30] = 150
    noisy = add_noise(image, energy, np.random.default_rng(1))
    # The smallest steps are one grey level in one value.
    assert measure_energy(image, noisy) == pytest.approx(energy, rel=0.01, abs=2)


def test_no_energy_is_no_noise_and_too_much_ends():
    image = draw(1)
    assert np.array_equal(add_noise(image, 0, np.random.default_rng(0)), image)
    most = add_noise(image, 1e12, np.random.default_rng(0))
    assert np.isin(most, (0, 255)).mean() > 0.98


def test_light_acts_on_linear_values():
    image = draw(2)
    assert np.array_equal(light(image, RNG, gains=(1, 1, 1)), image)
    # 188 is half of the light of 255 in sRGB.
    white = np.full((2, 2, 3), 255, np.uint8)
    assert np.array_equal(light(white, RNG, gains=(0.5, 1, 2)), np.tile((188, 255, 255), (2, 2, 1)))
    warm = next(change for change in CHANGES if change.name == "cast_warm").apply(image, RNG)
    assert warm[..., 0].mean() > image[..., 0].mean()
    assert warm[..., 2].mean() < image[..., 2].mean()


def test_blur_is_a_share_of_the_side():
    edge = np.zeros((100, 100, 3), np.uint8)
    edge[:, 50:] = 200
    large = edge.repeat(3, axis=0).repeat(3, axis=1)
    small, enlarged = (blur(image, RNG, deviation=0.03) for image in (edge, large))
    assert difference(enlarged[1::3, 1::3], small) < 1
    assert 0 < small[50, 45, 0] < 100


def test_jpeg_is_decoded_again():
    image = draw(4)
    mild, strong = (compress(image, RNG, quality=quality) for quality in (90, 10))
    assert 0 < difference(mild, image) < difference(strong, image) < 30


def test_crop_keeps_the_middle_and_a_quarter_turn_every_pixel():
    image = draw(6, 80, 60)
    assert np.array_equal(crop(image, RNG, side=0.5), image[20:60, 15:45])
    turned = next(change for change in CHANGES if change.name == "quarter_turn").apply(image, RNG)
    assert any(np.array_equal(np.rot90(turned, k), image) for k in (1, 3))
