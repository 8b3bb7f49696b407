import numpy as np
import pytest

from conftest import require_extra

require_extra("cv2", "bench")

from melanoma.data.segmentation import Segmentation, segment
from melanoma.data.synthetic import render
from melanoma.evaluation import occlusion
from melanoma.evaluation.occlusion import NO_LESION, NO_ROOM, NO_SKIN, fill, occlude


@pytest.fixture(scope="module")
def drawn():
    return render(1, np.random.default_rng(1), size=160, artefacts=(), skin_tone=1)


@pytest.fixture(scope="module")
def made(drawn):
    return occlude(drawn.image, np.random.default_rng(0))


def paint(height=120, width=150, radius=20, lesion=(90, 60, 50)):
    """Even skin that grows lighter to the right, with a dark disc in the middle, and where the disc is."""
    y, x = np.mgrid[0:height, 0:width]
    light = 0.8 + 0.2 * x / width
    image = np.array((215, 170, 150)) * light[..., None] + np.random.default_rng(0).normal(
        0, 2, (height, width, 1)
    )
    disc = np.hypot(y - height / 2, x - width / 2) < radius
    image[disc] = lesion
    return np.clip(image, 0, 255).astype(np.uint8), disc


def test_no_dark_blob_stays(drawn, made):
    skin = np.median(drawn.image[segment(drawn.image).skin], axis=0)
    assert np.abs(drawn.image[drawn.mask].mean(axis=0) - skin).max() > 60
    assert np.abs(made.hidden[drawn.mask].mean(axis=0) - skin).max() < 15
    assert not (segment(made.hidden).lesion & drawn.mask).any()


def test_the_rest_of_the_image_stays(drawn, made):
    untouched = np.all(made.hidden == drawn.image, axis=2)
    assert untouched.mean() == pytest.approx(1 - made.share, abs=0.02)
    assert not untouched[drawn.mask].all()


def test_as_much_skin_is_hidden_elsewhere(drawn, made):
    changed = np.any(made.elsewhere != drawn.image, axis=2)
    assert not changed[drawn.mask].any()
    assert 0.5 * made.share < changed.mean() <= made.share


def test_lesion_alone_lies_on_grey(drawn, made):
    grey = np.all(made.alone == 128, axis=2)
    assert np.array_equal(made.alone[~grey], drawn.image[~grey])
    assert grey[drawn.mask].mean() < 0.05
    assert 0.3 < grey.mean() < 1 - drawn.mask.mean()


def test_the_same_generator_hides_in_the_same_way(drawn, made):
    again = occlude(drawn.image, np.random.default_rng(0))
    assert np.array_equal(again.hidden, made.hidden)
    assert np.array_equal(again.elsewhere, made.elsewhere)


def test_uneven_light_goes_on_through_what_is_filled():
    image, disc = paint()
    whole, _ = paint(radius=0)
    _, hole = paint(radius=26)
    filled = fill(image, hole, ~hole, np.random.default_rng(0))
    assert np.abs(filled[disc].astype(int) - whole[disc]).mean() < 5
    assert filled[disc].std() > 1


def test_hair_and_ruler_marks_are_not_copied_into_the_hole():
    image, disc = paint()
    image[::12] = (30, 25, 20)
    image[disc] = (90, 60, 50)
    filled = fill(image, disc, ~disc, np.random.default_rng(0))
    assert filled[disc].min() > 60


def test_plain_skin_has_no_lesion_to_hide():
    image, _ = paint(radius=0)
    found = occlude(image, np.random.default_rng(0))
    assert (found.reason, found.hidden, found.alone) == (NO_LESION, None, None)


@pytest.mark.parametrize(("radius", "reason", "hidden"), [(70, NO_SKIN, False), (42, NO_ROOM, True)])
def test_what_has_no_room_says_so(monkeypatch, radius, reason, hidden):
    image, disc = paint(120, 120, radius)
    field = np.ones_like(disc)
    first = Segmentation(disc, field, ~disc)
    nothing = Segmentation(~field, field, field)
    answers = iter([first, nothing])
    monkeypatch.setattr(occlusion, "segment", lambda _: next(answers))
    made = occlude(image, np.random.default_rng(0))
    assert (made.reason, made.hidden is not None, made.elsewhere) == (reason, hidden, None)
    assert made.alone is not None


def test_what_is_found_again_is_hidden_too(monkeypatch):
    image, disc = paint()
    field = np.ones_like(disc)
    left = disc & (np.indices(disc.shape)[1] < disc.shape[1] // 2)
    rest = Segmentation(disc, field, field)
    answers = iter([Segmentation(left, field, ~left), rest, Segmentation(~field, field, field)])
    monkeypatch.setattr(occlusion, "segment", lambda _: next(answers))
    made = occlude(image, np.random.default_rng(0))
    assert made.hidden[disc].min() > 100
