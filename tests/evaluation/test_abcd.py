import itertools

import numpy as np
import pytest

from conftest import require_extra

require_extra("cv2", "bench")

import cv2

from melanoma.data.artefacts import add_round_frame
from melanoma.data.synthetic import render
from melanoma.evaluation.abcd import colour
from melanoma.evaluation.abcd.features import FAMILIES, NAMES, describe
from melanoma.evaluation.abcd.lesion import (
    NO_LESION,
    NO_SKIN,
    REFERENCE_SKIN,
    SIDE,
    Lesion,
    look,
    remove_hair,
)

BROWN = (120, 78, 56)
Y, X = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
DISC = np.hypot(X, Y) < 45


def paint(where=DISC, pigment=BROWN, blur=0.0, seed=0):
    """A lesion of one colour on skin, RGB."""
    share = where.astype(np.float64)
    share = cv2.GaussianBlur(share, (0, 0), blur)[..., None] if blur else share[..., None]
    image = np.array(REFERENCE_SKIN) * (1 - share) + np.array(pigment) * share
    noise = np.random.default_rng(seed).normal(0, 2, (SIDE, SIDE, 1))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def features(image):
    values, problem = describe(image)
    assert problem == ""
    return values


def test_every_feature_has_a_name_a_meaning_and_a_number():
    assert len(set(NAMES)) == len(NAMES) == sum(map(len, FAMILIES.values()))
    assert all(meanings[name].strip() for meanings in FAMILIES.values() for name in meanings)
    for seed in range(6):
        values = features(render(seed % 2, np.random.default_rng(seed), size=128).image)
        assert tuple(values) == NAMES
        assert np.isfinite(list(values.values())).all()


def test_disc_is_symmetric_smooth_and_of_one_colour():
    disc = features(paint())
    assert disc["asymmetry_shape_more"] < 0.04
    assert disc["asymmetry_elongation"] > 0.97
    assert disc["border_compactness"] < 1.25
    assert disc["border_notches"] == 0
    assert disc["colour_count"] == 1
    assert disc["size_diameter"] == pytest.approx(90 / (2 * SIDE / np.sqrt(np.pi)), rel=0.05)


def test_half_moon_and_half_dark_are_asymmetric_in_their_own_way():
    plain, moon = features(paint()), features(paint(DISC & ~(np.hypot(X - 30, Y) < 30)))
    assert moon["asymmetry_shape_more"] > plain["asymmetry_shape_more"] + 0.1
    assert moon["asymmetry_shape_more"] > moon["asymmetry_shape_less"] + 0.05
    image = paint()
    image[DISC & (X > 0)] = (60, 40, 34)
    half = features(image)
    assert half["asymmetry_shape_more"] < 0.05
    assert half["asymmetry_colour_more"] > plain["asymmetry_colour_more"] + 10
    assert half["asymmetry_colour_more"] > 2 * half["asymmetry_colour_less"]
    assert half["asymmetry_pigment_offset"] > plain["asymmetry_pigment_offset"] + 0.02


def test_star_has_a_ragged_border():
    star = features(paint(np.hypot(X, Y) < 45 + 14 * np.cos(7 * np.arctan2(Y, X))))
    disc = features(paint())
    assert star["border_compactness"] > disc["border_compactness"] + 0.3
    assert star["border_roughness"] > 3 * disc["border_roughness"]
    assert star["border_notches"] >= 5
    assert star["border_solidity"] < 0.9


def test_sharp_end_of_pigment_is_abrupt_in_each_sector_and_a_soft_one_is_not():
    sharp, soft = features(paint()), features(paint(blur=9))
    assert sharp["border_abrupt_sectors"] == 8
    assert soft["border_abrupt_sectors"] <= 1
    image = paint(blur=9)
    image[X > 0] = paint()[X > 0]
    assert 2 <= features(image)["border_abrupt_sectors"] <= 6


@pytest.mark.parametrize(
    "names",
    [
        *itertools.combinations(("red", "light_brown", "dark_brown", "blue_grey"), 2),
        ("dark_brown", "black"),  # beside black, what is light is taken for skin
    ],
)
def test_two_colours_are_counted(names):
    image = paint(pigment=colour.PROTOTYPES[names[0]])
    second = DISC & (X > 5)
    image[second] = colour.PROTOTYPES[names[1]]
    values = features(image)
    assert values["colour_count"] == 2
    assert values[f"colour_share_{names[1]}"] == pytest.approx(second.sum() / DISC.sum(), abs=0.1)


def test_another_light_or_camera_changes_no_colour():
    image = render(1, np.random.default_rng(3), size=SIDE, artefacts=()).image
    warm = np.clip(image * np.array([1.0, 0.86, 0.74]), 0, 255).astype(np.uint8)
    dark = (image * 0.7).astype(np.uint8)
    plain = features(image)
    for changed in (features(warm), features(dark)):
        assert changed["colour_distance"] == pytest.approx(plain["colour_distance"], rel=0.12)
        assert changed["colour_redness_mean"] == pytest.approx(plain["colour_redness_mean"], abs=2.5)
        assert changed["colour_blue_absorption"] == pytest.approx(plain["colour_blue_absorption"], abs=0.05)


def test_more_colours_drawn_more_entropy_found():
    drawn = [render(n % 2, np.random.default_rng(n), size=128, artefacts=()) for n in range(24)]
    entropy = [features(one.image)["colour_entropy"] for one in drawn]
    assert np.corrcoef(entropy, [one.truth.n_colours for one in drawn])[0, 1] > 0.7


def test_dots_and_lines_are_told_apart():
    plain, dotted, lined = paint(), paint(), paint()
    rng = np.random.default_rng(1)
    for x, y in rng.uniform(-28, 28, (14, 2)):
        dotted[np.hypot(X - x, Y - y) < 2.2] = (50, 35, 30)
    for y in (-20, -10, 0, 10, 20):
        lined[(np.abs(Y - y) < 1) & (np.abs(X) < 10)] = (50, 35, 30)
    plain, dotted, lined = (features(image) for image in (plain, dotted, lined))
    assert dotted["structure_dots"] > plain["structure_dots"] + 1
    assert (
        lined["structure_lines_share"]
        > max(plain["structure_lines_share"], dotted["structure_lines_share"]) + 0.02
    )
    assert plain["structure_empty"] > dotted["structure_empty"] + 0.1


@pytest.mark.parametrize("size", [96, 300, 512])
def test_size_of_the_image_hardly_matters(size):
    image = render(1, np.random.default_rng(8), size=256, artefacts=()).image
    other = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < 256 else cv2.INTER_CUBIC)
    one, two = features(image), features(other)
    for name in (
        "asymmetry_shape_more",
        "border_solidity",
        "size_diameter",
        "colour_entropy",
        "colour_distance",
    ):
        assert two[name] == pytest.approx(one[name], rel=0.12, abs=0.03), name


def test_round_black_frame_is_not_seen():
    drawn = render(1, np.random.default_rng(12), size=SIDE, artefacts=())
    framed = add_round_frame(drawn.image, np.random.default_rng(0), radius=0.8)
    one, two = features(drawn.image), features(framed)
    for name in ("asymmetry_shape_more", "border_solidity", "colour_entropy", "colour_distance"):
        assert two[name] == pytest.approx(one[name], rel=0.2, abs=0.05), name


def test_hair_is_painted_over_and_short_lines_stay():
    image = paint()
    hairy = image.copy()
    for shift in (-40, -10, 25):
        hairy[np.abs(X - 0.4 * Y - shift) < 1.3] = (30, 25, 22)
    assert np.abs(remove_hair(hairy).astype(int) - image).mean() < 2
    assert np.abs(hairy.astype(int) - image).mean() > 4
    streak = image.copy()
    streak[(np.abs(X) < 1) & (np.abs(Y) < 8)] = (40, 30, 25)
    assert np.array_equal(remove_hair(streak), streak)


def test_without_lesion_or_skin_there_are_no_features():
    bare, problem = describe(paint(np.zeros_like(DISC)))
    assert problem == NO_LESION
    assert tuple(bare) == NAMES
    assert np.isnan(list(bare.values())).all()
    assert describe(paint(np.hypot(X, Y) < 170))[1] in {NO_LESION, NO_SKIN}


def test_no_image_is_too_odd():
    rng = np.random.default_rng(0)
    for height, width in itertools.product((1, 7, 33, 400), repeat=2):
        values, problem = describe(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        assert problem or not np.isinf(list(values.values())).any()


def test_axes_follow_the_lesion():
    long = (np.abs(X * np.cos(0.6) + Y * np.sin(0.6)) < 50) & (np.abs(Y * np.cos(0.6) - X * np.sin(0.6)) < 18)
    lesion = look(paint(long))
    assert isinstance(lesion, Lesion)
    assert lesion.angle == pytest.approx(0.6, abs=0.05)
    assert features(paint(long))["asymmetry_elongation"] == pytest.approx(18 / 50, abs=0.05)
