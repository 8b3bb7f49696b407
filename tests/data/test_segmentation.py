import itertools

import numpy as np
import pytest

from conftest import draw
from melanoma.data.artefacts import add_round_frame
from melanoma.data.segmentation import segment
from melanoma.data.synthetic import render
from melanoma.inference import images


def share_in_common(one, other):
    return (one & other).sum() / max((one | other).sum(), 1)


def skin_image(height=128, width=128, seed=0):
    noise = np.random.default_rng(seed).normal(0, 3, (height, width, 1))
    return np.clip(np.array((214, 172, 150)) + noise, 0, 255).astype(np.uint8)


def test_lesions_are_found_under_hair_rulers_ink_bubbles_and_frames():
    shares = []
    for seed in range(40):
        drawn = render(seed % 2, np.random.default_rng(seed), size=128)
        shares.append(share_in_common(segment(drawn.image).lesion, drawn.mask))
    assert np.mean(shares) > 0.78
    assert np.mean(np.array(shares) > 0.5) >= 0.95


@pytest.mark.parametrize("radius", [0.45, 0.6, 0.8])
def test_round_frame_is_outside_the_field(radius):
    drawn = render(1, np.random.default_rng(3), size=128, artefacts=())
    framed = add_round_frame(drawn.image, np.random.default_rng(0), radius=radius)
    y, x = np.mgrid[:128, :128] - 63.5
    seen = np.hypot(x, y) < radius * np.hypot(64, 64)
    masks = segment(framed)
    assert share_in_common(masks.field, seen) > 0.92
    assert share_in_common(masks.lesion, drawn.mask & seen) > (0.6 if radius > 0.5 else 0.4)


def test_black_bar_is_outside_and_dark_lesion_at_it_is_inside():
    image = skin_image()
    image[:, :20] = 3
    image[50:80, 15:50] = (30, 22, 20)
    masks = segment(image)
    assert not masks.field[:, :18].any()
    assert masks.field[:, 24:].all()
    assert masks.lesion[55:75, 28:45].mean() > 0.95


@pytest.mark.parametrize("tone", range(6))
def test_skin_without_frame_is_all_field(tone):
    drawn = render(1, np.random.default_rng(tone), size=128, artefacts=(), skin_tone=tone)
    assert segment(drawn.image).field.all()


def test_bare_skin_has_no_lesion():
    masks = segment(skin_image())
    assert not masks.lesion.any()
    assert masks.skin.all()


def test_sticker_at_the_edge_is_neither_lesion_nor_skin():
    image = skin_image()
    y, x = np.mgrid[:128, :128]
    sticker = np.hypot(x - 130, y - 60) < 40
    image[sticker] = (10, 110, 200)
    spot = np.hypot(x - 50, y - 64) < 9
    image[spot] = (120, 75, 50)
    masks = segment(image)
    assert share_in_common(masks.lesion, spot) > 0.7
    assert not (masks.skin & sticker).any()


def test_lesion_skin_and_frame_do_not_overlap():
    for seed in range(12):
        masks = segment(render(1, np.random.default_rng(seed), size=128).image)
        assert not (masks.lesion & masks.skin).any()
        assert not ((masks.lesion | masks.skin) & ~masks.field).any()


@pytest.mark.parametrize("shape", [(256, 256), (97, 200), (300, 140), (32, 32)])
def test_masks_have_the_size_of_the_image(shape):
    image = skin_image(*shape)
    spot = np.zeros(shape, np.bool_)
    spot[shape[0] // 3 : shape[0] // 2, shape[1] // 2 : shape[1] * 2 // 3] = True
    image[spot] = (110, 65, 45)
    masks = segment(image)
    assert masks.lesion.shape == masks.field.shape == masks.skin.shape == shape
    assert share_in_common(masks.lesion, spot) > 0.6


def test_larger_copy_has_the_same_outline():
    drawn = render(0, np.random.default_rng(5), size=128, artefacts=())
    small = segment(drawn.image).lesion
    large = segment(drawn.image.repeat(2, axis=0).repeat(2, axis=1)).lesion
    assert share_in_common(large[::2, ::2], small) > 0.95


def test_turned_image_has_turned_masks():
    image = render(1, np.random.default_rng(8), size=128, artefacts=("round_frame",)).image
    upright, turned = segment(image), segment(np.rot90(image))
    assert share_in_common(np.rot90(upright.lesion), turned.lesion) > 0.85
    assert share_in_common(np.rot90(upright.field), turned.field) > 0.97


@pytest.mark.parametrize("value", [0, 5, 128, 255])
def test_flat_image_has_no_lesion(value):
    masks = segment(np.full((50, 70, 3), value, np.uint8))
    assert not masks.lesion.any()
    assert masks.field.all() if value > 20 else not masks.skin.any()


def test_no_image_is_too_odd():
    rng = np.random.default_rng(0)
    for height, width in itertools.product((1, 2, 7, 33, 400), repeat=2):
        for image in (rng.integers(0, 256, (height, width, 3), dtype=np.uint8), skin_image(height, width)):
            assert segment(image).lesion.shape == (height, width)
    lesion_only = rng.normal((60, 35, 30), 8, (128, 128, 3)).clip(0, 255).astype(np.uint8)
    assert segment(lesion_only).field.shape == (128, 128)


def test_image_is_left_as_it_is_even_when_read_only():
    image = draw(2)
    before = image.copy()
    image.flags.writeable = False
    segment(image[:, ::-1])
    assert np.array_equal(image, before)


@pytest.mark.data
def test_most_real_lesions_are_found_and_round_frames_too(data_root):
    paths = sorted((data_root / "melanoma10k" / "train" / "malignant").glob("*.jpg"))[::60]
    masks = [segment(images.load(path)) for path in paths]
    assert np.mean([m.lesion.any() for m in masks]) > 0.85
    assert 0.03 < np.median([m.lesion.mean() for m in masks]) < 0.4
    assert 0.03 < np.mean([m.field.mean() < 0.8 for m in masks]) < 0.4
