"""The audit of the real collections, with copies made of known images among them.

`pytest -s tests/e2e/test_audit.py -m data --long` prints the figures that docs/results.md quotes.
"""

import io
import time

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from conftest import require_extra

require_extra("faiss", "bench")

from melanoma.audit import audit
from melanoma.audit.duplicates import VIEW

COPIES = 60  # of each kind


def crop(picture, width, height, x=0.0, y=0.0):
    """The part of a picture, its centre moved by shares of its sides."""
    left = (1 - width) / 2 + x
    upper = (1 - height) / 2 + y
    box = np.array([left, upper, left + width, upper + height]) * np.array(2 * picture.size)
    return picture.crop(tuple(np.round(box).astype(int)))


def recolour(picture, rng):
    picture = ImageEnhance.Color(picture).enhance(rng.uniform(0.7, 1.3))
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.8, 1.2))
    gains = rng.uniform(0.9, 1.1, 3)
    return Image.fromarray((np.asarray(picture) * gains).clip(0, 255).astype(np.uint8))


def encode(picture, quality):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


KINDS = {
    "resized to 160": lambda p, rng: p.resize((160, 160)),
    "enlarged to 450": lambda p, rng: p.resize((450, 450)),
    "JPEG quality 30": lambda p, rng: p,
    "turned or mirrored": lambda p, rng: p.transpose(Image.Transpose(int(rng.integers(7)))),
    "4:3 centre crop": lambda p, rng: crop(p, 3 / 4, 1).resize((224, 224)),
    "3:2 centre crop": lambda p, rng: crop(p, 2 / 3, 1).resize((224, 224)),
    "4:3 crop, turned": lambda p, rng: (
        crop(p, 3 / 4, 1).resize((224, 224)).transpose(Image.Transpose(int(rng.integers(7))))
    ),
    "mild crop (90 to 95 %)": lambda p, rng: crop(
        p, *[rng.uniform(0.9, 0.95)] * 2, *rng.uniform(-0.025, 0.025, 2)
    ),
    "recoloured": recolour,
    "4:3 crop, recoloured": lambda p, rng: recolour(crop(p, 3 / 4, 1).resize((224, 224)), rng),
}


def make_copies(images, folder, rng):
    """Copies of some of the images, and which image each was made of."""
    folder.mkdir()
    made = {}
    for kind, change in KINDS.items():
        for path in rng.choice(images, COPIES, replace=False):
            name = f"{len(made):04}.jpg"
            with Image.open(path) as picture:
                copy = change(picture.convert("RGB"), rng)
            (folder / name).write_bytes(encode(copy, 30 if "quality 30" in kind else 90))
            made[name] = (kind, path)
    return made


def link_some(collection, folder):
    """A folder of links to some of a collection's images."""
    folder.mkdir()
    for path in sorted(collection.rglob("*.jpg"))[:700]:
        (folder / path.name).symlink_to(path)
    return folder


ALL = ("melanoma10k", "ham10000", "isic2017")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "names", [("isic2017",), pytest.param(ALL, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_real_collections(data_root, tmp_path, names):
    rng = np.random.default_rng(0)
    collections = [data_root / name for name in names]
    if names != ALL:
        collections = [link_some(collections[0], tmp_path / "some")]
    images = sorted(str(path) for folder in collections for path in folder.rglob("*.jpg"))
    made = make_copies(images, tmp_path / "made", rng)
    began = time.monotonic()
    found = audit.run([*map(str, collections), str(tmp_path / "made")], tmp_path / "audit")
    print(f"\n{len(found.images):,} images in {time.monotonic() - began:.0f} s: {dict(found.seconds)}")

    assert len(found.images) == len(images) + len(made)
    rows = {path: row for row, path in enumerate(found.images["path"])}
    pairs = {
        tuple(pair): kind for *pair, kind in found.pairs[["first", "second", "kind"]].to_numpy().tolist()
    }
    check_made(made, rows, pairs, tmp_path / "made", found.images)
    if names == ALL:
        assert len(images) == 16_314
        check_collections(found)


def check_made(made, rows, pairs, folder, images):
    """Copies are found, and what is tied to a copy is tied to its original as well."""
    hits = {kind: [] for kind in KINDS}
    right = wrong = 0
    group = images["group_id"].to_numpy()
    for name, (kind, path) in made.items():
        copy, original = rows[str(folder / name)], rows[path]
        hits[kind].append(pairs.get((min(copy, original), max(copy, original)), VIEW) != VIEW)
        for pair in pairs:
            if copy in pair:
                other = pair[0] if pair[1] == copy else pair[1]
                true = other == original or group[other] == group[original]
                right, wrong = right + true, wrong + (not true)
    for kind, found in hits.items():
        print(f"{kind}: {np.mean(found):.3f} of {len(found)}")
    recall = np.mean([hit for found in hits.values() for hit in found])
    print(f"recall {recall:.3f}, {right} pairs of copies right, {wrong} wrong")
    assert recall >= 0.95
    assert min(np.mean(found) for found in hits.values()) >= 0.85
    assert wrong <= 0.02 * right


def check_collections(found):
    """Thresholds on what is known of the collections."""
    images, pairs = found.images, found.pairs
    source, y_true = images["source"].to_numpy(), images["y_true"].to_numpy(dtype=float)
    tied = {name: set() for name in ("ham10000", "isic2017")}
    for first, second in pairs[["first", "second"]].to_numpy():
        for one, other in ((first, second), (second, first)):
            if source[one] in tied and source[other] == "melanoma10k":
                tied[source[one]].add(one)
    for name, rows in tied.items():
        melanoma = np.flatnonzero((source == name) & (y_true == 1))
        share = np.mean([row in rows for row in melanoma])
        print(f"melanomas of {name} that melanoma10k has too: {share:.3f} of {len(melanoma)}")
        assert share >= 0.95
    sizes = images["group_id"].value_counts()
    print(f"largest groups: {sizes.head(5).tolist()}; pairs: {pairs['kind'].value_counts().to_dict()}")
    assert sizes.iloc[0] <= 30
    border = {
        f.scope: f.estimate.value
        for f in found.confounding.findings
        if (f.target, f.cue) == ("melanoma", "border")
    }
    print("border alone:", border)
    assert border["melanoma10k"] > 0.9 > border["isic2017"]
    labels = [leak for leak in found.leaks if leak.across == "labels" and leak.by == "photograph"]
    print("labels that disagree on one photograph:", [leak.groups for leak in labels])
