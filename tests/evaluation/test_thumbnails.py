import base64
import io

import numpy as np
from PIL import Image

from melanoma.evaluation.thumbnails import SIDE, shorten, shrink


def decode(uri):
    kind, _, content = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_thumbnails_keep_proportions_and_a_missing_file_leaves_a_grey_one(tmp_path, draw_image):
    wide, tiny, broken = (str(tmp_path / name) for name in ("wide.png", "tiny.png", "broken.jpg"))
    Image.fromarray(draw_image(0, 200, 400)).save(wide)
    Image.fromarray(draw_image(0, 40, 40)).save(tiny)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    found = shrink([wide, tiny, broken, wide, str(tmp_path / "gone\udce9.png")])
    assert len(found) == 4
    assert [thumbnail.readable for _, thumbnail in sorted(found.items())] == [False, False, True, True]
    assert decode(found[wide].uri).size == (SIDE, SIDE // 2)
    assert decode(found[tiny].uri).size == (SIDE, SIDE)
    assert np.abs(np.asarray(decode(found[broken].uri)).astype(int) - 128).max() <= 2


def test_thumbnail_shows_the_image(tmp_path, draw_image):
    image = draw_image(3, 300, 300, melanoma=True)
    Image.fromarray(image).save(tmp_path / "a.png")
    small = np.asarray(decode(shrink([str(tmp_path / "a.png")])[str(tmp_path / "a.png")].uri)).astype(int)
    assert np.abs(small - image.reshape(SIDE, 2, SIDE, 2, 3).mean(axis=(1, 3))).mean() < 3


def test_long_names_are_shortened_in_the_middle():
    assert shorten("ISIC_0024306") == "ISIC_0024306"
    assert shorten("a" * 26) == "a" * 26
    assert shorten("train/malignant/melanoma_7241.final", 17) == "train/ma…41.final"
    assert len(shorten("x" * 500, 18)) == 18
    assert shorten("a\x00\ud800\n") == "a???"
