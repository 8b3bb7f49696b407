import numpy as np
import pytest

from conftest import require_extra

require_extra("cv2", "train")

from melanoma.config import AugmentationConfig
from melanoma.training.mixing import mix


@pytest.fixture
def batch():
    """Eight images, each of one value; the diagnosis of the last two is unknown."""
    values = np.arange(8, dtype=np.float32)
    pixels = np.broadcast_to(values[:, None, None, None], (8, 16, 16, 3)).copy()
    diagnosis = np.eye(8, 5, dtype=np.float32)
    diagnosis[5] = np.eye(5)[0]
    return pixels, (values[:, None] % 2).astype(np.float32), diagnosis


def test_nothing_is_mixed_unless_asked_for(batch):
    mixed = mix(*batch, AugmentationConfig(), np.random.default_rng(0))
    assert all(one is other for one, other in zip(mixed, batch, strict=True))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_labels_are_mixed_as_the_pixels_are(batch, kind):
    found = set()
    for seed in range(20):
        pixels, y_true, diagnosis = mix(
            *batch, AugmentationConfig(**{kind: 1.0}), np.random.default_rng(seed)
        )
        share = np.random.default_rng(seed)
        others = (share.random(), share.permutation(8))[1]
        mean = pixels.mean(axis=(1, 2, 3))
        moved = mean != np.arange(8)
        assert moved.any()
        weight = (mean - others)[moved] / (np.arange(8) - others)[moved]
        assert weight == pytest.approx(weight[0], abs=1e-4)
        assert 0 <= weight[0] <= 1
        expected = weight[0] * batch[1] + (1 - weight[0]) * batch[1][others]
        np.testing.assert_allclose(y_true, expected, atol=1e-4)
        unknown = (np.arange(8) > 5) | (others > 5)
        np.testing.assert_allclose(diagnosis.sum(axis=1), np.where(unknown, 0, 1), atol=1e-5)
        found.add(round(float(weight[0]), 3))
        if kind == "cutmix":
            assert set(np.unique(pixels)) <= set(range(8))
    assert len(found) > 10


def test_as_many_batches_as_asked_for(batch):
    config = AugmentationConfig(mixup=0.2, cutmix=0.3)
    mixed = [mix(*batch, config, np.random.default_rng(seed))[0] is not batch[0] for seed in range(1000)]
    assert 0.45 < np.mean(mixed) < 0.55
