"""Registration, candidates and pairs, on drawn images whose copies are known."""

import hashlib

import cv2
import numpy as np
import pytest

from melanoma.audit import duplicates, registration
from melanoma.audit.candidates import align, find_candidates
from melanoma.audit.descriptors import TURNS, Crop, turn_image
from melanoma.data.artefacts import add_round_frame
from melanoma.data.synthetic import render

STRANGERS = 24


def image(seed, size=192):
    return render(seed % 2, np.random.default_rng(seed), size=size).image


def resize(picture, side):
    return cv2.resize(np.ascontiguousarray(picture), (side, side), interpolation=cv2.INTER_AREA)


def grey_of(picture):
    return cv2.cvtColor(resize(picture, 128), cv2.COLOR_RGB2GRAY)


def find(pictures, content=None):
    grey = np.stack([grey_of(picture) for picture in pictures])
    colour = np.stack([resize(picture, 32) for picture in pictures])
    pixels = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures]
    return duplicates.find_pairs(grey, colour, content or pixels, pixels)


def list_pairs(table):
    return {(row.first, row.second): (row.kind, row.change) for row in table.itertuples()}


@pytest.fixture(scope="module")
def strangers():
    return [image(100 + seed) for seed in range(STRANGERS)]


def recompress(picture):
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


CHANGES = {
    "smaller": (lambda p: resize(p, 100), ""),
    "compressed": (recompress, ""),
    "centre crop": (lambda p: p[:, 24:168], "cropped to 75% x 100%"),
    "upright crop": (lambda p: p[24:168], "cropped to 100% x 75%"),
    "mild crop": (lambda p: p[8:184, 10:186], "cropped to 92% x 92%"),
    "darker": (lambda p: (p * 0.8).astype(np.uint8), "recoloured"),
    "mirrored": (lambda p: p[:, ::-1], "mirrored"),
    "transposed": (lambda p: p.swapaxes(0, 1), "mirrored, quarter turn"),
    "turned": (np.rot90, "quarter turn"),
    "turned back": (lambda p: np.rot90(p, 3), "quarter turn"),
    "crop, turned": (lambda p: np.rot90(p[:, 24:168], 2), "half turn, cropped to 75% x 100%"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_and_described(name, strangers):
    change, words = CHANGES[name]
    table, plain = find([*strangers, np.ascontiguousarray(change(strangers[5]))])
    assert list_pairs(table) == {(5, STRANGERS): ("copy", words)}
    assert plain == 0
    assert table["score"].iloc[0] > duplicates.COPY_SCORE


def test_strangers_in_the_same_round_frame_are_no_pair():
    rng = np.random.default_rng(0)
    framed = [add_round_frame(image(seed), rng, radius=0.8) for seed in range(16)]
    assert find(framed)[0].empty


def test_another_view_is_told_from_a_copy(strangers):
    """The same lesion, photographed a little turned and sheared, with other fine noise."""
    rng = np.random.default_rng(1)
    seen = strangers[3].astype(np.float32)
    matrix = cv2.getRotationMatrix2D((96, 96), 7, 1.05)
    matrix[0, 1] += 0.05
    moved = cv2.warpAffine(seen, matrix, (192, 192), borderMode=cv2.BORDER_REFLECT)
    noisy = (moved + cv2.resize(rng.normal(0, 16, (96, 96, 3)), (192, 192))).clip(0, 255).astype(np.uint8)
    table, _ = find([*strangers, noisy])
    assert list_pairs(table)[3, STRANGERS][0] == "view"


def test_equal_pixels_need_no_registration():
    flat = [np.full((64, 64, 3), value, np.uint8) for value in (10, 10, 200)]
    table, plain = find(flat, content=["a", "b", "c"])
    assert list_pairs(table) == {(0, 1): ("same_pixels", "")}
    assert plain == 3
    assert list_pairs(find(flat, content=["a", "a", "c"])[0]) == {(0, 1): ("same_bytes", "")}


def test_many_equal_images_are_tied_to_the_first_and_found_once(strangers):
    """Pairs do not grow with the square of a family."""
    table, _ = find([strangers[0]] * 40 + [strangers[1]])
    assert set(list_pairs(table)) == {(0, row) for row in range(1, 40)}


def test_what_is_found_of_one_image_holds_for_its_equals(strangers):
    table, _ = find([strangers[0], strangers[1], strangers[0], resize(strangers[0], 120)])
    assert set(list_pairs(table)) == {(0, 2), (0, 3), (2, 3)}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images(count, strangers):
    table, plain = duplicates.find_pairs(
        np.stack([grey_of(p) for p in strangers])[:count],
        np.stack([resize(p, 32) for p in strangers])[:count],
        list("ab")[:count],
        list("ab")[:count],
    )
    assert table.empty
    assert list(table.columns) == list(duplicates.COLUMNS)
    assert plain == 0


@pytest.mark.parametrize("turn", range(TURNS))
def test_registration_maps_the_turned_first_image_onto_the_second(turn, strangers):
    second = grey_of(strangers[7])
    inverse = next(t for t in range(TURNS) if (turn_image(turn_image(second, t), turn) == second).all())
    first = turn_image(second, inverse)
    levels = registration.prepare(np.stack([first, second]), np.arange(2))
    matrix = registration.compare_coarsely(levels, 0, 1, turn, Crop())
    match = registration.compare_finely(first, second, turn, matrix)
    assert match.score > 0.99
    assert match.skew < 0.2
    np.testing.assert_allclose(match.matrix, [[1, 0, 0], [0, 1, 0]], atol=0.05)


def test_the_frame_is_what_is_dark_at_the_rim():
    picture = np.full((64, 64), 150, np.uint8)
    picture[20:40, 20:40] = 5  # a black lesion
    assert registration.find_field(picture).all()
    picture[:, :6] = 3
    field = registration.find_field(picture)
    assert not field[:, :5].any()
    assert field[:, 8:].all()


def test_candidates_hold_each_pair_once_and_never_an_image_with_itself(strangers):
    near = find_candidates(np.stack([resize(picture, 32) for picture in strangers]))
    pairs = {(min(a, b), max(a, b)) for a, b in zip(near.first, near.second, strict=True)}
    assert len(pairs) == len(near)
    assert (near.first != near.second).all()


def test_given_pairs_are_aligned_from_both_sides(strangers):
    cut = resize(strangers[4][:, 24:168], 32)
    colour = np.stack([cut, resize(strangers[4], 32), resize(strangers[9], 32)])
    near = align(colour, np.array([[0, 1], [0, 2]]))
    assert (near.first[0], near.second[0], near.turn[0]) == (0, 1, 0)
    assert near.likeness[0] > 0.97 > near.likeness[1]
    assert len(align(colour, np.empty((0, 2), np.int64))) == 0
