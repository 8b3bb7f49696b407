import os
import sys
from pathlib import Path

import pytest

from melanoma.errors import ImageError
from melanoma.inference.sources import ImageFile, find_images


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_a_folder_gives_its_images_in_order(tmp_path):
    folder = tmp_path / "clinic"
    names = ["b.JPG", "a/2.png", "a/1.tiff", "c.webp", "z.gif", "y.bmp", "x.jpeg", "w.tif"]
    touch(*(folder / name for name in names), folder / "notes.txt", folder / "no suffix")
    found = list(find_images([str(folder)]))
    assert [file.image_id for file in found] == ["b", "c", "w", "x", "y", "z", "a/1", "a/2"]
    assert {file.source for file in found} == {"clinic"}
    assert found[-1] == ImageFile("clinic", str(folder / "a" / "2.png"), "a/2")


def test_hidden_files_and_folders_are_left_out(tmp_path):
    touch(tmp_path / "a.png", tmp_path / "._a.png", tmp_path / ".thumbnails" / "a.png")
    assert [file.image_id for file in find_images([str(tmp_path)])] == ["a"]


def test_a_file_named_outright_is_always_taken(tmp_path):
    touch(tmp_path / "clinic" / "lesion.dat")
    path = tmp_path / "clinic" / "lesion.dat"
    assert list(find_images([str(path)])) == [ImageFile("clinic", str(path), "lesion")]


def test_several_sources_keep_their_order(tmp_path):
    touch(tmp_path / "b" / "1.png", tmp_path / "a" / "1.png", tmp_path / "single.png")
    sources = [str(tmp_path / name) for name in ("b", "single.png", "a")]
    assert [file.path for file in find_images(sources)] == [
        str(tmp_path / name) for name in (Path("b/1.png"), "single.png", Path("a/1.png"))
    ]


def test_a_folder_named_like_an_image_is_a_folder(tmp_path):
    touch(tmp_path / "lesion.jpg" / "a.png")
    assert [file.image_id for file in find_images([str(tmp_path / "lesion.jpg")])] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not allow")
@pytest.mark.parametrize("name", ["two\nlines", "皮膚", "quote'\"", "-dash", "undecodable\udcff", "a.b.c"])
def test_any_name_will_do(tmp_path, name):
    touch(tmp_path / name / f"{name}.png")
    (found,) = find_images([str(tmp_path / name)])
    assert found == ImageFile(name, str(tmp_path / name / f"{name}.png"), name)
    assert Path(found.path).exists()


def test_what_cannot_be_found_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"nowhere' does not exist; give image files or folders"):
        list(find_images([str(tmp_path / "nowhere")]))
    with pytest.raises(ImageError, match=r"no image in .*; known are \.bmp, \.gif"):
        list(find_images([str(tmp_path)]))
    with pytest.raises(ImageError, match="File name too long"):
        list(find_images(["x" * 5000]))
    with pytest.raises(ImageError, match="does not exist"):
        list(find_images([""]))


def test_what_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13), str(tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(ImageError, match=r"cannot read the folder .*: Permission denied"):
            list(find_images([str(tmp_path)]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        with pytest.raises(ImageError, match=r"cannot read .*: Permission denied"):
            list(find_images([str(tmp_path)]))


def test_a_broken_link_is_an_image_that_cannot_be_read(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path)
    assert [file.image_id for file in find_images([str(tmp_path)])] == ["gone"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_is_passed_over_and_not_waited_on(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").touch()
    assert [file.image_id for file in find_images([str(tmp_path)])] == ["b"]
