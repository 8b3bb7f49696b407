import re

import pytest
from PIL import Image

from melanoma.data import manifest, splits


def split_counts(path):
    return splits.read_table(path)["split"].value_counts().to_dict()


@pytest.fixture
def sources(tmp_path, draw_image):
    """Two sources of class folders, 24 images each; the second holds two images of the first."""
    for number, name in enumerate(("first", "second")):
        for label in ("benign", "malignant"):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for image in range(12):
                seed = image if number and image == 0 else image + 100 * number
                drawn = draw_image(seed, 32, 32, melanoma=label == "malignant")
                Image.fromarray(drawn).save(folder / f"{image:02}.png")
    return tmp_path / "first", tmp_path / "second"


def test_splits_are_written_and_counted(run_melanoma, sources, tmp_path):
    output = tmp_path / "out" / "s.csv"
    code, out, err = run_melanoma("split", *sources, "-o", output, "--test", "0.25")
    assert code == 0
    assert split_counts(output) == {"train": 28, "val": 4, "calibration": 4, "test": 12}
    assert out.startswith("train: ")
    assert re.search(rf"^splits: {output}, digest [0-9a-f]{{64}}$", out, re.MULTILINE)
    assert "first: 24 images" in err


def test_leave_source_out_writes_one_csv_a_source(run_melanoma, sources, tmp_path):
    groups = tmp_path / "groups.csv"
    groups.write_text("source,path,group_id\nfirst,benign/05.png,g\nsecond site,benign/07.png,g\n")
    data = [str(sources[0]), f"second site={sources[1]}"]
    arguments = ["split", *data, "--groups", groups, "--leave-source-out", "-o", tmp_path / "out" / "s.csv"]
    code, out, _ = run_melanoma(*arguments)
    assert code == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["s-first.csv", "s-second_site.csv"]
    images = manifest.load(data)
    for file, line, held in zip(files, out.splitlines(), ("first", "second site"), strict=True):
        loaded = splits.load(file, images)
        test = loaded.table["split"] == "test"
        assert (loaded.table["source"][test] == held).all()
        assert (test.sum(), (loaded.table["split"] == "excluded").sum()) == (21, 3)
        assert line.startswith(f"{held} held out: train ")
        assert line.endswith(
            f"3 shared images (1 melanoma) left the held-out side; {file}, digest {loaded.digest}"
        )
    before = [file.read_bytes() for file in files]
    assert run_melanoma(*arguments)[:2] == (code, out)
    assert [file.read_bytes() for file in files] == before


def test_without_groups_it_says_what_is_not_known(run_melanoma, sources, tmp_path):
    code, out, err = run_melanoma("split", *sources, "--leave-source-out", "-o", tmp_path / "s.csv")
    assert code == 0
    assert out.count("2 shared images (1 melanoma)") == 2
    assert "no --groups: " in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{first}", "--leave-source-out"], "needs at least two"),
        (["{first}", "copy={first}", "--leave-source-out"], "'first' and 'copy' are the same data"),
        (["{first}", "{first}", "--leave-source-out"], "two sources are called 'first'"),
        (["{first}", "-o", "{first}"], "first is one of the inputs"),
        (["~nobody-of-that-name/images"], "no such folder or file: ~nobody-of-that-name/images"),
        (["{first}", "--groups", "{groups}", "-o", "{groups}"], "groups.csv is one of the inputs"),
        (["{table}", "-o", "{table}"], "table.csv is one of the inputs"),
        (["{first}", "-o", "{first}/benign/00.png"], "00.png is one of the inputs"),
        (["{first}", "-o", "{notes}"], "notes.csv is there already and holds no splits"),
        (["{first}", "-o", "{empty}"], "empty is a folder; give --output the name of a CSV"),
        (
            ["{first}", "{second}", "--groups", "{groups}", "-o", "{stem}.csv", "--leave-source-out"],
            "groups-first.csv is one of the inputs",
        ),
    ],
)  # fmt: skip
def test_one_line_and_nothing_written(run_melanoma, sources, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    stem = tmp_path / "groups"
    names = {
        "first": sources[0],
        "second": sources[1],
        "table": tmp_path / "table.csv",
        "empty": tmp_path / "empty",
    }
    names |= {
        "groups": tmp_path / ("groups-first.csv" if "--leave-source-out" in arguments else "groups.csv")
    }
    names["empty"].mkdir()
    names["notes"] = tmp_path / "notes.csv"
    names["notes"].write_text("mine\n")
    names["groups"].write_text("source,path,group_id\nfirst,benign/05.png,g\n")
    rows = [
        f"first/{label}/{number:02}.png,{label}\n"
        for label in ("benign", "malignant")
        for number in range(12)
    ]
    names["table"].write_text("path,label\n" + "".join(rows))
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    code, out, err = run_melanoma("split", *[text.format(**names, stem=stem) for text in arguments])
    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_older_splits_in_an_input_folder_may_be_replaced(run_melanoma, sources):
    output = sources[0] / "splits.csv"
    assert run_melanoma("split", *sources, "-o", output)[0] == 0
    assert run_melanoma("split", *sources, "-o", output, "--seed", 2)[0] == 0


def test_train_on_one_source_and_test_on_the_others(run_melanoma, sources, tmp_path):
    output = tmp_path / "s.csv"
    code, _, err = run_melanoma("split", *sources, "--train-on", "first", "-o", output)
    assert code == 0
    table = splits.read_table(output)
    assert set(table.loc[table["source"] == "second", "split"]) == {"test", "excluded"}
    assert (table["split"] == "excluded").sum() == 2  # the equal files
    assert {"train", "val", "calibration"} <= set(table.loc[table["source"] == "first", "split"])
    assert "no --groups: " in err
    both = ["split", *sources, "--train-on", "first", "--leave-source-out", "-o", tmp_path / "t.csv"]
    code, _, err = run_melanoma(*both)
    assert (code, "give --leave-source-out or --train-on" in err) == (2, True)
