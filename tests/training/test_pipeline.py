import threading
import time

import numpy as np
import pytest

from conftest import require_extra

require_extra("cv2", "train")

from melanoma.ahead import prefetch
from melanoma.config import parse_recipe
from melanoma.inference.preprocessing import Preprocessing, scale
from melanoma.training.pipeline import ImageSet, plain_batches, training_batches

RECIPE = parse_recipe({"name": "test", "training": {"batch_size": 3}}, "test")


class Images:
    """Row r holds the value r everywhere."""

    def read(self, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(rows[:, None, None, None], (len(rows), 8, 8, 3)).astype(np.uint8)


@pytest.fixture
def images() -> ImageSet:
    rows = np.array([3, 1, 9, 4, 7, 20, 11])
    return ImageSet(Images(), rows, (rows % 2).astype(np.float32), Preprocessing(8), 0 * rows, 0 * rows)


def epoch(images: ImageSet, seed: int = 0, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    batches = list(training_batches(images, RECIPE, seed=seed, epoch=number))
    assert [len(y_true) for _, y_true, _ in batches] == [3, 3, 1]
    return tuple(np.concatenate(column) for column in zip(*batches, strict=True))


def test_an_epoch_holds_every_image_once_with_its_label(images):
    pixels, y_true, _ = epoch(images)
    rows = np.rint(pixels[:, 0, 0, 0] * 255).astype(int)
    assert sorted(rows) == sorted(images.rows)
    np.testing.assert_array_equal(y_true[:, 0], rows % 2)


def test_order_depends_on_seed_and_epoch_alone(images):
    first, again = epoch(images, 1, 2), epoch(images, 1, 2)
    np.testing.assert_array_equal(first[0], again[0])
    assert any((first[0] != epoch(images, *other)[0]).any() for other in ((1, 3), (2, 2)))


def test_plain_batches_keep_the_order_and_the_pixels(images):
    batches = list(plain_batches(images, 4))
    pixels = np.concatenate([batch for batch, _ in batches])
    np.testing.assert_array_equal(pixels, scale(images.cache.read(images.rows), images.spec))


def test_prefetch_gives_the_same_items_in_order():
    with prefetch(iter(range(100))) as items:
        assert list(items) == list(range(100))


def test_prefetch_works_ahead_and_not_far():
    made = []

    def make():
        for number in range(100):
            made.append(number)
            yield number

    with prefetch(make(), depth=3) as items:
        next(items)
        deadline = time.monotonic() + 5
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(made) == 5  # one taken, three waiting, one in hand


def test_an_error_in_the_thread_is_raised_in_the_caller():
    def make():
        yield 1
        raise ValueError("bad batch")

    with prefetch(make()) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="bad batch"):
            next(items)


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    with prefetch(iter(int, 1)) as items:
        next(items)
    assert threading.active_count() == before
