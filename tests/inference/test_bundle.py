import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import draw
from melanoma.errors import BundleError, OutputError
from melanoma.inference import bundle as bundles
from melanoma.inference.calibration import Calibration
from melanoma.inference.decision import OperatingPoint
from melanoma.inference.description import FEATURES, describe
from melanoma.inference.domain import VIEW, Domain
from melanoma.inference.preprocessing import Preprocessing, prepare

PARTS = {
    "preprocessing": Preprocessing(32),
    "calibration": Calibration(1.5, -0.25, 0.3, 99),
    "operating_point": OperatingPoint(0.4, 0.95, 1.0, 0.5, 10, 10),
    "facts": {"licence": "none", "size": 1.25e-7, "名": ["ü"]},
}


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "exported.tflite"
    path.write_bytes(b"a network")
    return path


def save(folder: Path, network: Path, name: str = "first") -> bundles.Bundle:
    return bundles.save(folder, network, name=name, **PARTS)


def rewrite(folder: Path, change) -> None:
    """Change what bundle.json says and make its digest right again, as a hostile hand would."""
    path = folder / "bundle.json"
    values = json.loads(path.read_text())
    change(values)
    values["digest"] = bundles._digest(values)
    path.write_text(json.dumps(values))


def test_what_was_saved_is_loaded(tmp_path, network):
    saved = save(tmp_path / "new" / "bundle", network)
    loaded = bundles.load(tmp_path / "new" / "bundle")
    assert loaded == saved
    assert {name: getattr(loaded, name) for name in PARTS} == PARTS
    assert loaded.name == "first"
    assert loaded.network.read_bytes() == b"a network"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["bundle"]


def test_the_digest_names_content_and_not_layout(tmp_path, network):
    first, again = save(tmp_path / "a", network), save(tmp_path / "b", network)
    assert first.digest == again.digest
    assert first.digest != save(tmp_path / "c", network, name="other").digest
    path = first.folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True).replace("\n", "\r\n"))
    assert bundles.load(first.folder).digest == first.digest


def make_domain(limit: float = 0.5) -> Domain:
    rng = np.random.default_rng(0)
    d = len(FEATURES)
    parts = (rng.normal(0, 1, shape).astype(np.float32) for shape in ((d,), (d,), (7, d), (7,)))
    return Domain(*parts, limit, 321)


def test_the_domain_check_is_saved_and_named_by_the_digest(tmp_path, network):
    first, again = (
        bundles.save(tmp_path / n, network, name="x", domain=make_domain(), **PARTS) for n in "ab"
    )
    assert first.digest == again.digest
    assert first.format_version == 2
    assert first.digest != bundles.save(tmp_path / "c", network, name="x", **PARTS).digest
    assert (
        first.digest
        != bundles.save(tmp_path / "d", network, name="x", domain=make_domain(0.4), **PARTS).digest
    )
    for name, values in make_domain().to_arrays().items():
        assert (bundles.load(first.folder).domain.to_arrays()[name] == values).all()


def test_a_bundle_may_have_no_domain_check(tmp_path, network):
    assert save(tmp_path / "bundle", network).domain is None
    assert not (tmp_path / "bundle" / "domain.npz").exists()


def test_a_damaged_domain_check_is_found(tmp_path, network):
    folder = bundles.save(tmp_path / "a", network, name="x", domain=make_domain(), **PARTS).folder
    path = folder / "domain.npz"
    whole = path.read_bytes()
    _flip(path, whole, len(whole) // 2, 1)
    with pytest.raises(BundleError, match="sha256 differs"):
        bundles.load(folder)
    path.unlink()
    with pytest.raises(BundleError, match=r"cannot read .*domain.npz"):
        bundles.load(folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", b"\x93NUMPY\x01\x00"])
def test_a_foreign_domain_check_is_refused(tmp_path, network, content):
    folder = bundles.save(tmp_path / "a", network, name="x", domain=make_domain(), **PARTS).folder
    (folder / "domain.npz").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    rewrite(folder, lambda values: values["files"].update({"domain.npz": digest}))
    with pytest.raises(BundleError, match=r"cannot read .*domain.npz.*fetch the bundle again"):
        bundles.load(folder)


def test_the_old_bundle_still_loads(tiny_bundle):
    loaded = bundles.load(str(tiny_bundle))
    assert loaded.digest == "fd822341ea40256980c9e33ffa70e049526502b02cfe2239e6300b732e2f9179"
    assert loaded.preprocessing == Preprocessing(32, "squash", "zero_one")
    assert loaded.operating_point.threshold == 0.3643194574052574
    assert (loaded.format_version, loaded.domain) == (1, None)


def test_a_bundle_of_format_2_still_loads_and_refuses_as_it_did(tiny_bundle):
    loaded = bundles.load(tiny_bundle.with_name("bundle-v2"))
    assert loaded.digest == "583da138f6d65c0be7ba5799ef31da1f3ae258b587b61bd3d989e9d77d953c6f"
    assert (loaded.format_version, loaded.domain.n, loaded.domain.limit) == (2, 150, 0.55)
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    scores = [loaded.domain.score(describe(prepare(image, VIEW))[None])[0] for image in (draw(500), noise)]
    assert scores == pytest.approx([1.036, -0.011], abs=0.03)
    assert loaded.domain.refuse(draw(500)) == ""
    assert loaded.domain.refuse(noise) == "this does not look like a dermoscopic image: colours unlike skin"


def test_every_flipped_byte_of_the_network_is_found(bundle_copy):
    path = bundle_copy / "network.tflite"
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for place in [0, len(content) - 1, *rng.integers(0, len(content), 30)]:
        _flip(path, content, place, rng.integers(1, 256))
        with pytest.raises(BundleError, match="sha256 differs"):
            bundles.load(bundle_copy)


def test_every_flipped_byte_of_the_description_is_found_or_harmless(bundle_copy):
    path, whole = bundle_copy / "bundle.json", bundles.load(bundle_copy)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    harmless = 0
    for place in range(0, len(content), 2):
        _flip(path, content, place, rng.integers(1, 256))
        try:
            assert bundles.load(bundle_copy) == whole  # one blank for another: it says the same
            harmless += 1
        except BundleError as error:
            assert "\n" not in str(error).strip()  # noqa: PT017
    assert harmless < 0.02 * len(content)


def _flip(path: Path, content: bytes, place: int, bits: int) -> None:
    broken = bytearray(content)
    broken[place] ^= int(bits)
    path.write_bytes(bytes(broken))


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
@pytest.mark.parametrize("name", ["bundle.json", "network.tflite"])
def test_a_half_written_file_is_found(bundle_copy, name, share):
    path = bundle_copy / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BundleError):
        bundles.load(bundle_copy)


def test_a_newer_format_asks_for_a_newer_version(bundle_copy):
    rewrite(bundle_copy, lambda values: values.update(format_version=3))
    with pytest.raises(BundleError, match="format 3, newer than this version of melanoma; update it"):
        bundles.load(bundle_copy)


@pytest.mark.parametrize("name", ["../bundle.json", "/etc/hostname", "sub/file", ".."])
def test_a_file_outside_the_bundle_is_refused(bundle_copy, name):
    rewrite(bundle_copy, lambda values: values["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError):
        bundles.load(bundle_copy)


def test_what_is_not_there_is_named(bundle_copy, tmp_path):
    with pytest.raises(BundleError, match=r"no bundle in .*nowhere: No such file"):
        bundles.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match=r"no bundle in .*file: Not a directory"):
        bundles.load(tmp_path / "file")
    (bundle_copy / "network.tflite").unlink()
    with pytest.raises(
        BundleError, match=r"cannot read .*network.tflite: No such file .* fetch the bundle again"
    ):
        bundles.load(bundle_copy)


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{}", "7", '{"format_version": "1"}', "[" * 100_000, "{" * 100_000, "\0"]
)
def test_foreign_content_is_refused(bundle_copy, content):
    (bundle_copy / "bundle.json").write_text(content)
    with pytest.raises(BundleError, match="is damaged"):
        bundles.load(bundle_copy)


def _lack_network(values):
    values["files"] = {}


def _lack_name(values):
    del values["name"]


def _foreign_key(values):
    values["calibration"]["temperature"] = 1


def _foreign_type(values):
    values["preprocessing"] = [32]


@pytest.mark.parametrize("change", [_lack_network, _lack_name, _foreign_key, _foreign_type])
def test_an_incomplete_description_is_refused(bundle_copy, change):
    rewrite(bundle_copy, change)
    with pytest.raises(BundleError, match="fetch the bundle again"):
        bundles.load(bundle_copy)


def test_a_new_bundle_takes_the_place_of_the_old(tmp_path, network):
    folder = tmp_path / "bundle"
    save(folder, network)
    network.write_bytes(b"a better network")
    assert save(folder, network, name="second").name == "second"
    assert bundles.load(folder).network.read_bytes() == b"a better network"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "exported.tflite"]


STEPS = [(shutil, "copyfile", 0), (Path, "write_text", 0), (Path, "replace", 0), (Path, "replace", 1)]


@pytest.mark.parametrize(("owner", "name", "call"), STEPS)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_old_bundle_survives_a_save_that_fails(tmp_path, network, monkeypatch, owner, name, call, error):
    folder = tmp_path / "bundle"
    save(folder, network)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, _fail_once(getattr(owner, name), call, error))
        expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected):
            save(folder, network, name="second")
    assert bundles.load(folder).name == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "exported.tflite"]
    assert save(folder, network, name="third").name == "third"


@pytest.mark.parametrize(("owner", "name", "call"), STEPS)
def test_a_killed_save_leaves_no_half_bundle_and_no_obstacle(
    tmp_path, network, monkeypatch, owner, name, call
):
    """A kill runs no clean-up, so here the clean-up is made to do nothing."""
    folder = tmp_path / "bundle"
    save(folder, network)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, _fail_from(getattr(owner, name), call))
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            save(folder, network, name="second")
    kept = folder if folder.exists() else tmp_path / ".bundle.old"
    assert bundles.load(kept).name == "first"
    assert save(folder, network, name="third").name == "third"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "exported.tflite"]


def _fail_once(original, call, error):
    calls = iter(range(100))

    def step(*arguments, **options):
        if next(calls) == call:
            raise error
        return original(*arguments, **options)

    return step


def _fail_from(original, call):
    calls = iter(range(100))

    def step(*arguments, **options):
        if next(calls) >= call:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    return step


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path, network):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write the bundle .*: Not a directory"):
        save(tmp_path / "file" / "bundle", network)
    with pytest.raises(OutputError, match="No such file"):
        save(tmp_path / "bundle", tmp_path / "no network")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exported.tflite", "file"]
