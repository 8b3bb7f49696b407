import numpy as np
import pytest
from PIL import Image

from conftest import draw, require_extra

require_extra("skimage", "bench")

from melanoma.data import counterexamples, domain_fitting
from melanoma.errors import BundleError, CalibrationError
from melanoma.inference import domain as domain_module
from melanoma.inference.description import FEATURES, describe
from melanoma.inference.domain import HIGHEST_LIMIT, MIN_IMAGES, VIEW, Domain, fit_domain
from melanoma.inference.preprocessing import prepare


@pytest.fixture(scope="module", autouse=True)
def few_counterexamples():
    """A part of them and of the landmarks will do, and takes less time."""
    some = counterexamples.load()[::10]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counterexamples, "load", lambda: some)
        patch.setattr(domain_module, "MAX_LANDMARKS", 400)
        yield


@pytest.fixture(scope="module")
def domain():
    return domain_fitting.fit(draw(seed, melanoma=seed % 2 == 1) for seed in range(120))


def test_images_like_the_fitted_ones_are_taken_and_others_refused(domain):
    assert domain.n == 120
    assert domain.limit <= HIGHEST_LIMIT
    taken = [domain.refuse(draw(1000 + seed, melanoma=seed % 2 == 1)) == "" for seed in range(40)]
    refused = [domain.refuse(counterexamples.draw(np.random.default_rng([77, n]))) != "" for n in range(40)]
    assert np.mean(taken) >= 0.96
    assert np.mean(refused) >= 0.96


def test_what_is_like_nothing_that_was_seen_is_refused(domain):
    far = np.random.default_rng(0).choice((-1e6, 1e6), (20, len(FEATURES))).astype(np.float32)
    assert domain.score(far) == pytest.approx(np.zeros(20), abs=0.05)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((64, 64, 3), (40, 220, 60), np.uint8), "colours unlike skin"),
        (np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), ""),
        (np.zeros((64, 64, 3), np.uint8), ""),
    ],
    ids=["green", "noise", "black"],
)
def test_the_reason_is_in_plain_words(domain, image, reason):
    found = domain.refuse(image)
    assert found.startswith("this does not look like a dermoscopic image: ")
    assert reason in found
    assert not any(name in found for name in FEATURES if "_" in name)


def test_the_same_images_give_the_same_check():
    features = np.stack([describe(draw(seed)) for seed in range(MIN_IMAGES)])
    first, again = (fit_domain(features, features, counterexamples.load(), seed=3).to_arrays() for _ in "12")
    for name, values in first.items():
        assert (values == again[name]).all(), name


def test_files_are_read_and_broken_ones_left_out(tmp_path, monkeypatch):
    paths = [tmp_path / f"{seed}.png" for seed in range(6)]
    for seed, path in enumerate(paths):
        Image.fromarray(draw(seed)).save(path)
    paths[2].write_bytes(b"no image")
    monkeypatch.setattr(domain_fitting, "fit", lambda pictures, seed: list(pictures))
    seen = []
    found = domain_fitting.fit_files([*map(str, paths)], progress=lambda *done: seen.append(done))
    assert all((one == draw(seed)).all() for one, seed in zip(found, (0, 1, 3, 4, 5), strict=True))
    assert seen == [(number + 1, 6) for number in range(6)]
    monkeypatch.setattr(domain_fitting, "MAX_IMAGES", 3)
    assert len(domain_fitting.fit_files([str(paths[0])] * 5)) == 3


def test_arrays_hold_all_of_it(domain):
    features = np.stack([describe(draw(seed)) for seed in range(5)])
    read = Domain.from_arrays(domain.to_arrays())
    assert (read.score(features) == domain.score(features)).all()
    assert (read.limit, read.n) == (domain.limit, domain.n)


def test_a_check_on_other_numbers_is_refused(domain):
    arrays = domain.to_arrays()
    with pytest.raises(BundleError, match="for another version of melanoma; calibrate again"):
        Domain.from_arrays({**arrays, "numbers": arrays["numbers"] + (1, 0, 0)})
    with pytest.raises(BundleError, match="another version"):
        Domain.from_arrays({**arrays, "landmarks": arrays["landmarks"][:, :-1]})


def test_too_few_images_make_no_check():
    few = np.zeros((MIN_IMAGES - 1, len(FEATURES)), np.float32)
    with pytest.raises(CalibrationError, match="at least 100 images, got 99; give more"):
        fit_domain(few, few, few)
    assert domain_fitting.fit([draw()] * 3) is None


def test_images_that_are_all_the_same_do_no_harm():
    same = np.repeat(describe(prepare(draw(), VIEW))[None], MIN_IMAGES, axis=0)
    found = fit_domain(same, same, counterexamples.load())
    assert found.refuse(draw()) == ""
    assert found.refuse(np.full((64, 64, 3), 255, np.uint8))
