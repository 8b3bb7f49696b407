import json

import pandas as pd
import pytest

from conftest import require_extra, write_images

require_extra("sklearn", "bench")

from melanoma.data import manifest as manifests
from melanoma.data import splits as splitting
from melanoma.evaluation import baseline

FILES = ["baseline.json", "features.csv", "predictions.csv", "splits.csv"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(baseline, "MOST_TREES", 30)
    monkeypatch.setattr(baseline, "RESAMPLES", 100)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """48 training and 16 test images."""
    return write_images(tmp_path_factory.mktemp("drawn") / "images")


@pytest.fixture(scope="module")
def measured(drawn, tmp_path_factory):
    """The features of these images, so that they are measured once."""
    from melanoma.evaluation.abcd.table import measure

    folder = tmp_path_factory.mktemp("measured")
    measure(manifests.load([str(drawn)]), folder)
    return folder / "features.csv"


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_from_images_to_an_evaluation_of_the_test_images(run_melanoma, drawn, tmp_path):
    output = tmp_path / "out"
    code, out, err = run_melanoma("baseline", drawn, "-o", output)
    assert code == 0, err
    assert sorted(files_of(output)) == FILES
    assert "test: 8 melanoma, 8 other; without features 0, unreadable 0" in out
    assert "threshold 0." in out
    judge = out.splitlines()[-1].removeprefix("judge it with: melanoma ").split()
    code, out, err = run_melanoma(*judge, "--no-skin-tone", "--resamples", 100)
    assert code == 0, err
    (report,) = json.loads((output / "evaluation" / "evaluation.json").read_text())["evaluations"]
    point = json.loads((output / "baseline.json").read_text())["operating_point"]
    assert (report["name"], report["n"]) == ("test", 16)
    assert report["operating_point"]["threshold"] == point["threshold"]
    assert report["figures"]["auroc"]["value"] > 0.9  # these melanomas are larger
    assert "looks at test images so far: 1" in out


def test_again_writes_the_same_bytes(run_melanoma, drawn, measured, tmp_path):
    for name in ("one", "two"):
        assert run_melanoma("baseline", drawn, "--features", measured, "-o", tmp_path / name)[0] == 0
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert run_melanoma("baseline", drawn, "-o", tmp_path / "one")[0] == 0
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_splits_are_those_of_split_and_of_train(run_melanoma, drawn, measured, tmp_path):
    table = tmp_path / "s.csv"
    assert run_melanoma("split", drawn, "--seed", 3, "-o", table)[0] == 0
    options = ["--features", measured, "--seed", 3]
    assert run_melanoma("baseline", drawn, *options, "-o", tmp_path / "own")[0] == 0
    assert run_melanoma("baseline", drawn, *options, "--splits", table, "-o", tmp_path / "given")[0] == 0
    assert files_of(tmp_path / "own") == files_of(tmp_path / "given")
    made = splitting.load(tmp_path / "own" / "splits.csv", manifests.load([str(drawn)]))
    assert made.digest == json.loads((tmp_path / "own" / "baseline.json").read_text())["splits_digest"]
    require_extra("filelock", "train")
    from melanoma import run_images
    from melanoma.config import Recipe
    from melanoma.listener import Listener

    for splits in (None, str(tmp_path / "own" / "splits.csv")):
        request = run_images.Request(sources=[str(drawn)], seed=3, splits=splits)
        assert run_images.find(request, Recipe(name="any"), Listener()).splits.digest == made.digest


def test_groups_are_kept_together(run_melanoma, drawn, measured, tmp_path):
    groups = tmp_path / "groups.csv"
    groups.write_text(
        "source,path,group_id\n"
        "images,train/benign/image_0.png,g\nimages,test/benign/image_0.png,g\nimages,train/benign/image_1.png,g\n"
    )
    options = ["--features", measured, "--groups", groups, "-o", tmp_path / "out"]
    code, out, err = run_melanoma("baseline", drawn, *options)
    assert code == 0, err
    assert "excluded: 0 melanoma, 2 other" in out
    table = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("image_id")
    assert table.loc["train/benign/image_0", "split"] == "excluded"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--splits", "{csv}", "--groups", "{csv}"],
            "give --splits, which holds the groups already, or --groups",
        ),
        (["--splits", "gone.csv"], "cannot read gone.csv"),
        (["--features", "{csv}"], "is no features.csv of this version"),
        (["--splits", "{other}"], "does not fit the data"),
        (["--splits", "{lame}"], "the val split holds no image of class melanoma; give more images"),
    ],
)
def test_one_line_and_nothing_written(options, message, run_melanoma, drawn, tmp_path):
    images = manifests.load([str(drawn)])
    table = splitting.assign(images, seed=1).table
    names = {name: tmp_path / f"{name}.csv" for name in ("csv", "other", "lame")}
    names["csv"].write_text("a,b\n1,2\n")
    table.iloc[1:].to_csv(names["other"], index=False)
    lame = table.assign(
        split=table["split"].mask((table["split"] == "val") & (images.table["y_true"] == 1), "excluded")
    )
    lame.to_csv(names["lame"], index=False)
    code, out, err = run_melanoma(
        "baseline", drawn, *(o.format(**names) for o in options), "-o", tmp_path / "out"
    )
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_an_input_is_not_written_over(run_melanoma, drawn, tmp_path):
    rows = [f"{path},{path.parent.name}\n" for path in sorted((drawn / "train").rglob("*.png"))]
    table = tmp_path / "splits.csv"
    table.write_text("path,label\n" + "".join(rows))
    before = table.read_bytes()
    code, _, err = run_melanoma("baseline", table, "-o", tmp_path)
    assert code == 2
    assert "splits.csv is one of the inputs; give another --output" in err
    assert table.read_bytes() == before


def test_broken_and_lesionless_images_are_counted(run_melanoma, draw_image, tmp_path):
    folder = write_images(tmp_path / "images", train=16, test=3)
    (folder / "test" / "benign" / "image_0.png").write_bytes(b"broken")
    from PIL import Image

    bare = draw_image(7)
    bare[:] = bare[0, 0]
    Image.fromarray(bare).save(folder / "test" / "malignant" / "image_0.png")
    code, out, err = run_melanoma("baseline", folder, "-o", tmp_path / "out")
    assert code == 0, err
    assert "test: 3 melanoma, 3 other; without features 1, unreadable 1" in out
    judge = out.splitlines()[-1].removeprefix("judge it with: melanoma ").split()
    code, out, err = run_melanoma(*judge, "--no-skin-tone", "--resamples", 100)
    assert code == 0, err
    (report,) = json.loads((tmp_path / "out" / "evaluation" / "evaluation.json").read_text())["evaluations"]
    assert report["coverage"] == pytest.approx(5 / 6)
    assert report["operating_point"] is not None
