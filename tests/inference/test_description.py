import numpy as np
import pytest
from PIL import Image

from melanoma.inference.description import FEATURES, describe


def picture(height=150, width=150):
    """Skin with a lesion and a ruler, from plain arithmetic, so that it is the same for ever."""
    y, x = np.mgrid[0:height, 0:width] / 150
    skin = np.stack([220 - 20 * x, 170 - 30 * y, 150 + 10 * np.sin(40 * x)], axis=2)
    blob = np.exp(-((x - 0.5) ** 2 + (y - 0.45) ** 2) / 0.03)[..., None]
    image = skin * (1 - blob) + np.array((80, 50, 40)) * blob
    image[135:138, 20:60] = 30
    return image.astype(np.uint8)


def test_what_the_numbers_mean_never_changes():
    """A bundle's domain check was fitted on these: another value asks for another `domain.DESCRIPTION`."""
    found = dict(zip(FEATURES, describe(picture()).tolist(), strict=True))
    assert {name: found[name] for name in PINNED} == pytest.approx(PINNED, abs=0.01)


PINNED = {
    "dark": -2.953, "white": -3.912, "plain": -1.039, "red_green_low": 0.200, "red_green": 0.302,
    "red_green_high": 0.377, "red_green_spread": -2.395, "green_blue_low": -0.088, "green_blue": 0.041,
    "green_blue_high": 0.157, "green_blue_spread": -2.246, "light_below": 0.755, "light_above": 0.066,
    "light_spread": -0.934, "red_follows_green": 1.979, "green_follows_blue": 1.868,
    "blue_follows_light": -0.366, "red_green_std": -2.809, "green_blue_std": -2.595,
    "distinct_colours": 3.024, "edge_25": -5.036, "edge_50": -4.566, "edge_90": -3.053, "edge_98": -2.726,
    "straight_edges": 0.326, "octave_1": -0.145, "octave_2": -0.877, "octave_3": -1.214, "octave_4": 0.603,
    "coarse_light": -5.377, "fine_red_green": -10.037, "fine_green_blue": -9.117, "middle_light": -0.374,
    "middle_red_green": 0.036, "middle_green_blue": 0.038, "rim_light_std": -2.675, "rim_red_green": 0.285,
    "rim_green_blue": 0.031, "rim_red_green_std": -2.715, "rim_green_blue_std": -2.562,
}  # fmt: skip


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32, 3), np.uint8),
        np.full((40, 300, 3), 255, np.uint8),
        np.full((150, 150, 3), (200, 20, 20), np.uint8),
        np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8),
        np.pad(np.full((2, 2, 3), 255, np.uint8), ((70, 70), (70, 70), (0, 0))),
    ],
    ids=["black", "white", "plain", "noise", "a dot"],
)
def test_numbers_are_finite_for_any_image(image):
    assert np.isfinite(describe(image)).all()


def test_black_bars_and_size_change_little():
    plain = describe(picture())
    framed = describe(np.pad(picture(), ((40, 40), (90, 90), (0, 0))))
    larger = describe(np.asarray(Image.fromarray(picture()).resize((900, 900), Image.Resampling.BICUBIC)))
    other = describe(np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8))
    for same in (framed, larger):
        assert np.abs(same - plain).mean() < 0.15 * np.abs(other - plain).mean()
