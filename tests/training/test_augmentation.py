import numpy as np
import pytest

from conftest import require_extra

require_extra("cv2", "train")

from melanoma.config import AugmentationConfig
from melanoma.training.augmentation import augment, draw_affine_maps

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)


def changed(seed: int = 0, **values: float) -> np.ndarray:
    return augment(IMAGES, AugmentationConfig(**values), np.random.default_rng(seed))


def test_nothing_asked_changes_nothing():
    np.testing.assert_array_equal(changed(), IMAGES)


def test_the_seed_decides_and_the_input_stays():
    before = IMAGES.copy()
    first, again, other = (changed(seed, rotation=20, shift=0.2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(IMAGES, before)


def test_each_image_of_a_batch_changes_differently():
    copies = np.repeat(IMAGES[:1], 8, axis=0)
    results = augment(copies, AugmentationConfig(rotation=90), np.random.default_rng(0))
    assert len({result.tobytes() for result in results}) == 8


@pytest.mark.parametrize(("name", "axis"), [("horizontal_flip", 1), ("vertical_flip", 0)])
def test_a_flip_mirrors_about_half_of_the_images_exactly(name, axis):
    copies = np.repeat(IMAGES[:1], 200, axis=0)
    results = augment(copies, AugmentationConfig(**{name: True}), np.random.default_rng(0))
    mirrored = sum(np.array_equal(result, np.flip(IMAGES[0], axis)) for result in results)
    kept = sum(np.array_equal(result, IMAGES[0]) for result in results)
    assert mirrored + kept == 200
    assert 70 < mirrored < 130


def test_changes_stay_within_their_limits():
    config = AugmentationConfig(shift=0.1, zoom=0.2, rotation=20)
    maps = draw_affine_maps(2000, 100, config, np.random.default_rng(0))
    centre = maps @ np.array([49.5, 49.5, 1])
    # The centre moves by the rotated shift alone, at most 10 pixels along each axis before rotation.
    assert np.abs(centre - 49.5).max() <= 10 * np.sqrt(2) + 1e-9
    assert np.abs(centre - 49.5).max() > 10
    scales = np.linalg.norm(maps[:, :, :2], axis=1)
    assert 0.8 - 1e-9 <= scales.min() < 0.81
    assert 1.19 < scales.max() <= 1.2 + 1e-9
    angles = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert 19 < np.abs(angles).max() <= 20 + 1e-9


def test_edges_are_repeated_and_not_black():
    white = np.full((20, 30, 30, 3), 255, dtype=np.uint8)
    config = AugmentationConfig(shift=0.4, zoom=0.3, rotation=180, shear=20)
    assert augment(white, config, np.random.default_rng(0)).min() == 255


def test_brightness_scales_all_channels_alike():
    grey = np.full((50, 8, 8, 3), 100, dtype=np.uint8)
    results = augment(grey, AugmentationConfig(brightness=0.3), np.random.default_rng(0))
    means = results.mean(axis=(1, 2, 3))
    assert 70 <= means.min() < 75
    assert 125 < means.max() <= 130
    assert (results == results[..., :1]).all()


def test_saturation_leaves_grey_alone_and_moves_colour():
    grey = np.full((5, 8, 8, 3), 100, dtype=np.uint8)
    config = AugmentationConfig(saturation=0.5)
    assert np.abs(augment(grey, config, np.random.default_rng(0)).astype(int) - 100).max() <= 1
    red = np.zeros((5, 8, 8, 3), dtype=np.uint8) + np.array([200, 50, 50], dtype=np.uint8)
    spread = np.ptp(augment(red, config, np.random.default_rng(0)).astype(int), axis=-1)
    assert spread.max() > 155 > spread.min()


def test_hue_leaves_grey_and_brightness_alone_and_turns_colour():
    config = AugmentationConfig(hue=30)
    grey = np.full((5, 8, 8, 3), 100, dtype=np.uint8)
    assert np.abs(augment(grey, config, np.random.default_rng(0)).astype(int) - 100).max() <= 1
    skin = np.zeros((9, 8, 8, 3), dtype=np.uint8) + np.array([180, 120, 110], dtype=np.uint8)
    turned = augment(skin, config, np.random.default_rng(0)).astype(int)
    luma = turned @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - luma.mean()).max() < 2
    assert np.ptp(turned[:, 0, 0], axis=0).max() > 20


def test_a_margin_is_cut_away_at_a_random_place():
    config = AugmentationConfig(margin=10)
    large = np.zeros((40, 50, 50, 3), dtype=np.uint8) + np.arange(50, dtype=np.uint8)[:, None, None]
    cut = augment(large, config, np.random.default_rng(0))
    assert cut.shape == (40, 40, 40, 3)
    tops = cut[:, 0, 0, 0].astype(int)
    assert (tops.min(), tops.max()) == (0, 10)
    assert np.abs(np.diff(cut[:, :, 0, 0].astype(int), axis=1) - 1).max() <= 1


def test_half_of_the_images_are_stretched_over_the_width_they_lose_whichever_way_they_are_turned():
    config = AugmentationConfig(aspect=0.25, quarter_turns=True)
    maps = draw_affine_maps(400, 100, config, np.random.default_rng(0))
    corners = np.array([[0, 0, 1], [99, 0, 1], [0, 99, 1], [99, 99, 1]])
    extents = np.ptp(maps @ corners.T, axis=2)  # of the input that is seen, x and y
    np.testing.assert_allclose(extents[:, 1], 99)
    stretched = extents[:, 0] < 98
    np.testing.assert_allclose(extents[stretched, 0], 0.75 * 99)
    assert 150 < stretched.sum() < 250
    np.testing.assert_allclose((maps @ [49.5, 49.5, 1]), 49.5)


def test_quarter_turns_and_cuts_move_whole_pixels():
    ways = [np.rot90(IMAGES, k, (1, 2))[:, :, ::flip] for k in range(4) for flip in (1, -1)]
    taken = []
    for number, image in enumerate(changed(quarter_turns=True, horizontal_flip=True)):
        same = [way for way, images in enumerate(ways) if np.array_equal(image, images[number])]
        assert len(same) == 1
        taken += same
    assert len(set(taken)) > 2
    for image, whole in zip(changed(margin=6), IMAGES, strict=True):
        assert any(np.array_equal(image, whole[y : y + 34, x : x + 34]) for y in range(7) for x in range(7))


def test_poor_photographs_are_blurred_noisy_and_compressed():
    steps = np.zeros((64, 32, 32, 3), np.uint8)
    steps[:, :, 16:] = (200, 120, 90)
    blurred, noisy, compressed = (
        augment(steps, AugmentationConfig(**{name: value}), np.random.default_rng(0))
        for name, value in (("blur", 2.0), ("noise", 0.1), ("compression", 1.0))
    )
    assert (np.abs(np.diff(blurred[:, 16, :, 0].astype(int), axis=1)).max(axis=1) < 100).mean() > 0.5
    deviation = noisy[:, :, 20:, 0].std(axis=(1, 2))
    assert deviation.max() == pytest.approx(0.1 * 255, rel=0.15)
    assert deviation.min() < 3
    assert all((image != whole).any() for image, whole in zip(compressed, steps, strict=True))
    assert np.abs(compressed[:, :, 24:].astype(int).mean(axis=(0, 1, 2)) - [200, 120, 90]).max() < 3


def test_frames_are_round_black_and_as_frequent_as_asked():
    white = np.full((300, 60, 60, 3), 255, dtype=np.uint8)
    framed = augment(white, AugmentationConfig(frame=0.5), np.random.default_rng(0))
    dark = (framed == 0).all(axis=3)
    drawn = dark.any(axis=(1, 2))
    # Frames that lie outside the image altogether show nothing.
    assert 0.3 < drawn.mean() < 0.5
    assert (framed[:, 30, 30] == 255).all()
    assert dark[drawn][:, [0, 0, -1, -1], [0, -1, 0, -1]].any(axis=1).all()
    always = augment(white, AugmentationConfig(frame=1.0), np.random.default_rng(0))
    assert (always == 0).all(axis=3).any(axis=(1, 2)).mean() > drawn.mean() * 1.5
