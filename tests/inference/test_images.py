import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from melanoma.errors import ImageError
from melanoma.inference import images


def save(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(pixels: np.ndarray, colour: int, depth: int, *chunks: bytes, size: int = 0) -> bytes:
    """A PNG of unsigned pixels (h, w) or (h, w, c), byte by byte; `size` claims another size than they have."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2" if depth == 16 else "u1").reshape(height, -1)
    header = struct.pack(">IIBBBBB", size or width, size or height, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(pixels: np.ndarray, sample_format: int = 1, photometric: int = 1) -> bytes:
    """A little-endian TIFF of pixels (h, w) or (h, w, 3) in one strip."""
    height, width = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else 3
    bits = 8 * pixels.dtype.itemsize
    tags = [
        (256, width), (257, height), (259, 1), (262, photometric), (273, 8), (277, samples), (278, height),
        (279, pixels.nbytes),
    ]  # fmt: skip
    start = 8 + pixels.nbytes
    extra = start + 2 + 12 * (len(tags) + 2) + 4
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    for tag, value in ((258, bits), (339, sample_format)):
        place = extra + (6 if tag == 339 else 0)
        inside = struct.pack("<HH", value, 0) if samples == 1 else struct.pack("<I", place)
        entries.append(struct.pack("<HHI", tag, 3, samples) + inside)
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    tail = struct.pack("<HHH", *[bits] * 3) + struct.pack("<HHH", *[sample_format] * 3)
    table = struct.pack("<H", len(entries)) + b"".join(entries) + b"\0" * 4
    return (
        b"II*\0"
        + struct.pack("<I", start)
        + pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
        + table
        + tail
    )


def corner(value: int | tuple[int, ...], rest: int | tuple[int, ...], dtype: str = "u2") -> np.ndarray:
    """40 x 40 pixels of `rest`, but `value` in the first."""
    pixels = np.empty((40, 40, *np.shape(rest)), dtype)
    pixels[:] = rest
    pixels[0, 0] = value
    return pixels


def test_rgb_comes_back_as_it_was(draw_image):
    image = draw_image(3, 50, 70)
    for form in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(images.decode(save(Image.fromarray(image), form)), image)
    decoded = images.decode(save(Image.fromarray(image), "PNG"))
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable


@pytest.mark.parametrize(
    "data",
    [
        png(corner(65535, 257 * 100), 0, 16),
        png(corner((65535,) * 3, (257 * 100,) * 3), 2, 16),
        png(corner((65535, 65535), (257 * 100, 65535)), 4, 16),
        tiff(corner(65535, 257 * 100)),
        tiff(corner((65535,) * 3, (257 * 100,) * 3), photometric=2),
    ],
    ids=["grey PNG", "RGB PNG", "grey and alpha PNG", "grey TIFF", "RGB TIFF"],
)
def test_sixteen_bit_is_divided_by_257(data):
    image = images.decode(data)
    assert image.shape == (40, 40, 3)
    assert image[0, 0].tolist() == [255] * 3
    assert image[20, 20].tolist() == [100] * 3


@pytest.mark.parametrize("depth", [8, 16])
def test_scaling_never_depends_on_the_pixels(depth):
    top = 1 if depth == 8 else 257
    dark, bright = (images.decode(png(corner(value * top, 3 * top), 0, depth)) for value in (3, 255))
    assert dark[20, 20].tolist() == bright[20, 20].tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("data", "sample_format"),
    [(corner(1, 0, "f4"), 3), (corner(1000, 0, "u4"), 1), (corner(1000, 0, "i2"), 2)],
    ids=["32-bit float", "32-bit", "signed"],
)
def test_pixels_without_a_defined_range_are_refused(data, sample_format):
    with pytest.raises(ImageError, match="no defined range; save as 8-bit RGB"):
        images.decode(tiff(data, sample_format))


def test_cmyk_jpeg_is_inverted_as_adobe_does():
    red = Image.new("CMYK", (40, 40), (0, 255, 255, 0))
    data = save(red, "JPEG", quality=100)
    assert np.abs(images.decode(data)[5, 5].astype(int) - [255, 0, 0]).max() <= 2
    adobe = chunk_jpeg(data, 0xEE, b"Adobe\0\x64\0\0\0\0\0")
    assert np.abs(images.decode(adobe)[5, 5].astype(int) - [255, 0, 0]).max() <= 2


def chunk_jpeg(data: bytes, marker: int, content: bytes) -> bytes:
    """The JPEG with one more segment at its start."""
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + data[2:]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_black(mode):
    clear, half, solid = ((200, 0), (200, 128), (200, 255))
    picture = Image.new(mode, (40, 40), _in_mode(mode, solid))
    picture.putpixel((0, 0), _in_mode(mode, clear))
    picture.putpixel((1, 0), _in_mode(mode, half))
    image = images.decode(save(picture, "PNG"))
    assert image[0, 0].tolist() == [0] * 3
    assert image[0, 1].tolist() == [100] * 3
    assert image[5, 5].tolist() == [200] * 3


def _in_mode(mode: str, pixel: tuple[int, int]) -> tuple[int, ...]:
    value, alpha = pixel
    return (value, alpha) if mode == "LA" else (value, value, value, alpha)


def test_a_transparent_colour_lies_over_black():
    rgb = png(corner((255, 255, 255), (100, 110, 120), "u1"), 2, 8, chunk(b"tRNS", b"\0\xff" * 3))
    grey = png(corner(255, 100, "u1"), 0, 8, chunk(b"tRNS", b"\0\xff"))
    deep = png(corner(65535, 25700), 0, 16, chunk(b"tRNS", b"\xff\xff"))
    deep_rgb = png(corner((65535,) * 3, (25700,) * 3), 2, 16, chunk(b"tRNS", b"\xff\xff" * 3))
    for data in (rgb, grey, deep, deep_rgb):
        assert images.decode(data)[0, 0].tolist() == [0, 0, 0]
    assert images.decode(rgb)[9, 9].tolist() == [100, 110, 120]
    for data in (grey, deep, deep_rgb):
        assert images.decode(data)[9, 9].tolist() == [100] * 3


def test_palette_with_and_without_transparency():
    picture = Image.new("P", (40, 40), 1)
    picture.putpalette([10, 20, 30, 200, 150, 100])
    picture.putpixel((0, 0), 0)
    for form in ("PNG", "GIF", "BMP", "TIFF"):
        image = images.decode(save(picture, form))
        assert image[0, 0].tolist() == [10, 20, 30], form
        assert image[5, 5].tolist() == [200, 150, 100], form
    for form in ("PNG", "GIF"):
        image = images.decode(save(picture, form, transparency=1))
        assert image[0, 0].tolist() == [10, 20, 30], form
        assert image[5, 5].tolist() == [0, 0, 0], form


def test_one_bit_is_black_and_white():
    picture = Image.new("1", (40, 40), 1)
    picture.putpixel((0, 0), 0)
    for form in ("PNG", "TIFF", "BMP"):
        image = images.decode(save(picture, form))
        assert image[0, 0].tolist() == [0] * 3
        assert image[5, 5].tolist() == [255] * 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_every_orientation_comes_out_upright(draw_image, orientation, form):
    upright = draw_image(1, 40, 56)
    upright[:8, :8] = 255
    # What a camera held that way stores: the inverse of what the EXIF standard asks a viewer to do.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
    data = save(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif, **options)
    difference = np.abs(images.decode(data).astype(int) - upright)
    assert difference.mean() < (4 if form == "JPEG" else 0.1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 200])
def test_a_damaged_exif_block_counts_as_none(exif):
    picture = Image.new("RGB", (40, 40), (100, 100, 100))
    assert images.decode(save(picture, "JPEG", exif=exif))[5, 5].tolist() == [100] * 3
    data = png(corner((9, 9, 9), (9, 9, 9), "u1"), 2, 8, chunk(b"eXIf", exif[6:] * 10_000))
    assert images.decode(data)[5, 5].tolist() == [9] * 3


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(form):
    first, second = (Image.new("RGB", (40, 40), (value,) * 3) for value in (100, 0))
    options = {"lossless": True} if form == "WEBP" else {}
    data = save(first, form, save_all=True, append_images=[second], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert images.decode(data)[5, 5].tolist() == [100] * 3


def test_large_side_blocks_do_no_harm():
    picture = Image.new("RGB", (40, 40), (100, 100, 100))
    assert images.decode(save(picture, "JPEG", icc_profile=bytes(1_000_000)))[5, 5].tolist() == [100] * 3
    plain = png(corner((9, 9, 9), (9, 9, 9), "u1"), 2, 8, chunk(b"tEXt", b"a\0" + b"x" * 10_000_000))
    assert images.decode(plain)[5, 5].tolist() == [9] * 3


@pytest.mark.parametrize(
    ("name", "head"), [(b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0")]
)
def test_a_text_bomb_is_refused(name, head):
    bomb = chunk(name, head + zlib.compress(bytes(20_000_000), 1))
    with pytest.raises(ImageError, match="damaged image"):
        images.decode(png(corner((9, 9, 9), (9, 9, 9), "u1"), 2, 8, bomb))


@pytest.mark.parametrize("size", [9_460, 10_000, 14_000, 30_000, 2**31 - 1])
def test_a_bomb_is_refused_before_it_is_decoded(size):
    with pytest.raises(ImageError, match="89,478,485 pixels"):
        images.decode(png(np.zeros((1, 40, 3)), 2, 8, size=size))


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
def test_a_bomb_takes_little_memory(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(np.zeros((1, 40, 3)), 2, 8, size=30_000))
    code = (
        "import resource, sys; from melanoma.inference import images; from melanoma.errors import ImageError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: images.load(sys.argv[1])\n"
        "except ImageError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 20_000_000
    assert done.stderr == ""


def whole(form: str) -> bytes:
    return save(Image.effect_noise((64, 64), 90).convert("RGB"), form)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(form, share):
    data = whole(form)
    with pytest.raises(ImageError):
        images.decode(data[: int(len(data) * share)])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF"])
def test_a_damaged_file_gives_an_image_or_one_clear_error(form):
    data, rng = bytearray(whole(form)), np.random.default_rng(0)
    for place in rng.integers(0, len(data), 150):
        broken = data.copy()
        broken[place] ^= rng.integers(1, 256)
        try:
            assert images.decode(bytes(broken)).dtype == np.uint8
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most damaged images decode, a few do not


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"not an image at all\n" * 99, "no image in a known format"),
        (save(Image.new("RGB", (31, 400)), "PNG"), "31 x 400 pixels; each side must have at least 32"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "no image in a known format"),
    ],
    ids=["zero bytes", "text", "small", "postscript"],
)
def test_what_is_no_image_is_refused_with_a_reason(data, reason):
    with pytest.raises(ImageError, match=reason):
        images.decode(data)


def test_the_smallest_image_is_taken():
    assert images.decode(save(Image.new("RGB", (32, 32)), "PNG")).shape == (32, 32, 3)


NAMES = [
    "with space.png", "it's \"quoted\".png", "two\nlines.png", "皮膚-ÄÖ.png", "-leading.png", "a" * 240 + ".png",
    "undecodable\udcff.png",
]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not allow")
@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_will_do(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(save(Image.new("RGB", (40, 40), (1, 2, 3)), "PNG"))
    assert images.load(str(path))[0, 0].tolist() == [1, 2, 3]
    assert images.load(path)[0, 0].tolist() == [1, 2, 3]


def test_a_file_that_cannot_be_read_is_an_image_error(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match="No such file"):
        images.load(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="cannot read the file: Is a directory"):
        images.load(tmp_path)
    with pytest.raises(ImageError, match="not a file name"):
        images.load("nul\0byte.png")
    monkeypatch.setattr(Path, "open", _refuse)
    with pytest.raises(ImageError, match="cannot read the file: Permission denied"):
        images.load(tmp_path / "secret.png")


def _refuse(*_: object) -> None:
    raise PermissionError(13, os.strerror(13))


def test_an_endless_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    path = tmp_path / "film.jpg"
    path.write_bytes(bytes(1001))
    with pytest.raises(ImageError, match="more than 1,000 bytes"):
        images.load(path)
