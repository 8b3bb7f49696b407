import errno
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melanoma.data import manifest
from melanoma.data.tables import read_table
from melanoma.errors import ManifestError, OutputError


def put(path, content=None):
    """A file with its own bytes; nothing here decodes images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(path).encode(errors="surrogateescape") if content is None else content)
    return path


def write(path, *lines, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def truth(loaded):
    return dict(zip(loaded.table["image_id"], loaded.table["y_true"].tolist(), strict=True))


def column(loaded, name):
    return dict(zip(loaded.table["image_id"], loaded.table[name].tolist(), strict=True))


def refused(*sources, **options):
    """The one line that `load` refuses these sources with."""
    with pytest.raises(ManifestError) as caught:
        manifest.load([str(source) for source in sources], **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def folders(tmp_path):
    for split in ("train", "test"):
        for name in ("benign", "malignant"):
            put(tmp_path / "set" / split / name / "1.jpg")
    return tmp_path / "set"


def test_class_folders_keep_the_path_as_id_and_give_the_split(folders):
    loaded = manifest.load([str(folders)])
    assert truth(loaded) == {
        "test/benign/1": 0,
        "test/malignant/1": 1,
        "train/benign/1": 0,
        "train/malignant/1": 1,
    }
    assert set(column(loaded, "given_split").items()) == {
        (name, name.split("/")[0]) for name in loaded.table["image_id"]
    }
    assert loaded.label_map == {"benign": 0, "malignant": 1}
    assert tuple(loaded.table.columns) == manifest.COLUMNS
    assert loaded.table["y_true"].dtype == np.int64
    assert loaded.table["age_approx"].isna().all()
    assert all(Path(path).is_absolute() for path in loaded.table["path"])


@pytest.mark.parametrize(
    ("other", "melanoma"),
    [
        ("not_melanoma", "Melanoma"),
        ("NonMelanoma", "MEL"),
        ("nevus", "melanoma"),
        ("0", "1"),
        ("Non-Melanoma", "melanoma"),
    ],
)
def test_class_folders_go_by_many_names(tmp_path, other, melanoma):
    put(tmp_path / other / "deeper" / "x.JPEG")
    put(tmp_path / melanoma / "y.Png")
    assert truth(manifest.load([str(tmp_path)])) == {f"{other}/deeper/x": 0, f"{melanoma}/y": 1}


def test_split_folders_may_lie_inside_class_folders_or_a_wrapper(tmp_path):
    put(tmp_path / "melanoma" / "Validation" / "benign" / "a.jpg")
    put(tmp_path / "melanoma" / "train" / "malignant" / "b.jpg")
    loaded = manifest.load([str(tmp_path)])
    assert sorted(truth(loaded).values()) == [0, 1]
    assert sorted(loaded.table["given_split"]) == ["train", "val"]
    put(tmp_path / "other" / "benign" / "test" / "a.jpg")
    put(tmp_path / "other" / "malignant" / "train" / "b.jpg")
    assert sorted(manifest.load([str(tmp_path / "other")]).table["given_split"]) == ["test", "train"]


def test_same_stem_twice_in_a_folder_keeps_the_suffix(tmp_path):
    for name in ("benign/a.jpg", "benign/a.png", "malignant/a.jpg"):
        put(tmp_path / name)
    assert list(truth(manifest.load([str(tmp_path)]))) == ["benign/a.jpg", "benign/a.png", "malignant/a"]


def test_odd_names_survive_loading_and_saving(tmp_path):
    names = ["with space", "quote'\"", "line\nbreak", "return\r", "мел,黒", " edge "]
    for name in names:
        put(tmp_path / "benign" / f"{name}.jpg")
        put(tmp_path / "malignant" / f"{name}.jpg")
    loaded = manifest.load([str(tmp_path)])
    assert set(truth(loaded)) == {f"{folder}/{name}" for folder in ("benign", "malignant") for name in names}
    loaded.save(tmp_path / "saved" / "m.csv")
    read = pd.read_csv(tmp_path / "saved" / "m.csv", dtype=str, keep_default_na=False)
    assert read["path"].tolist() == loaded.table["path"].tolist()
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["m.csv"]


def test_a_name_that_is_no_text_is_skipped(folders):
    try:
        put(folders / "train" / "benign" / os.fsdecode(b"\xff.jpg"))
    except OSError:
        pytest.skip("this file system has text names only")
    loaded = manifest.load([str(folders)])
    assert len(loaded.table) == 4
    assert [reason for _, reason in loaded.skipped] == ["file name is not UTF-8"]


def test_hidden_files_links_and_other_files_are_left_aside(folders):
    put(folders / "train" / "benign" / "._1.jpg")
    put(folders / ".cache" / "malignant" / "z.jpg")
    put(folders / "__MACOSX" / "train" / "benign" / "1.jpg")
    put(folders / "readme.txt")
    put(folders / "stray.jpg")
    (folders / "train" / "loop").symlink_to(folders, target_is_directory=True)
    loaded = manifest.load([str(folders)])
    assert len(loaded.table) == 4
    assert loaded.sources[0].ignored == 1
    assert [(Path(path).name, reason) for path, reason in loaded.skipped] == [
        ("stray.jpg", "lies outside the class folders")
    ]


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path):
    put(tmp_path / "far" / "x.jpg")
    put(tmp_path / "set" / "benign" / "y.jpg")
    (tmp_path / "set" / "malignant").symlink_to(tmp_path / "far", target_is_directory=True)
    assert truth(manifest.load([str(tmp_path / "set")])) == {"benign/y": 0, "malignant/x": 1}


def test_broken_files_are_listed_and_the_rest_is_used(folders, monkeypatch):
    empty = put(folders / "train" / "benign" / "empty.jpg", b"")
    locked = put(folders / "train" / "benign" / "locked.jpg")
    gone = folders / "train" / "benign" / "gone.jpg"
    gone.symlink_to(folders / "nowhere.jpg")
    real_open = Path.open

    def guarded(self, *arguments, **options):
        if self == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real_open(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    loaded = manifest.load([str(folders)])
    assert len(loaded.table) == 4
    assert dict(loaded.skipped) == {
        str(empty): "zero bytes",
        str(locked): "cannot be read: Permission denied",
        str(gone): "cannot be read: No such file or directory",
    }
    assert "zero bytes" in manifest.describe(loaded)


HAM = "lesion_id,image_id,dx,dx_type,age,sex,localization"


def test_ham10000(tmp_path):
    rows = ["HAM_1,ISIC_1,mel,histo,80,male,scalp", "HAM_1,ISIC_2,nv,histo,,unknown,unknown"]
    write(tmp_path / "HAM10000_metadata.csv", HAM, *rows, "HAM_2,ISIC_3,bkl,histo,70,female,ear")
    put(tmp_path / "HAM10000_images_part_1" / "ISIC_1.jpg")
    put(tmp_path / "HAM10000_images_part_2" / "ISIC_2.jpg")
    put(tmp_path / "masks" / "ISIC_1_segmentation.png")
    loaded = manifest.load([f"ham={tmp_path}"])
    assert truth(loaded) == {"ISIC_1": 1, "ISIC_2": 0}
    first, second = loaded.table.to_dict("records")
    assert (first["lesion_id"], first["age_approx"], first["sex"]) == ("HAM_1", 80.0, "male")
    assert (first["anatom_site_general"], first["diagnosis"]) == ("scalp", "mel")
    assert np.isnan(second["age_approx"])
    assert (second["sex"], second["anatom_site_general"]) == ("", "")
    assert loaded.skipped == (("HAM10000_metadata.csv: ISIC_3", "no such image file"),)
    assert loaded.sources[0].layout == "HAM10000"


@pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.csv"])
def test_ham10000_by_its_table(tmp_path, name):
    table = write(tmp_path / name, HAM, "L1,a,mel,histo,80,male,scalp", "L2,b,bcc,histo,70,male,ear")
    for stem in "ab":
        put(tmp_path / "images" / f"{stem}.jpg")
    assert truth(manifest.load([str(table)])) == truth(manifest.load([str(tmp_path)])) == {"a": 1, "b": 0}


def test_the_same_image_in_two_places_is_one_unless_it_differs(tmp_path):
    write(tmp_path / "HAM10000_metadata.csv", HAM, "L1,a,mel,histo,80,male,scalp", "L2,b,nv,histo,,,")
    put(tmp_path / "b.jpg")
    for part in ("1", "2"):
        put(tmp_path / part / "a.jpg", b"same")
    assert len(manifest.load([str(tmp_path)]).table) == 2
    put(tmp_path / "2" / "a.jpg", b"else")
    assert "'a' has two different files" in refused(tmp_path)


def test_isic_2017(tmp_path):
    write(
        tmp_path / "ISIC-2017_GroundTruth.csv",
        "image_id,melanoma,seborrheic_keratosis",
        "a,1.0,0.0",
        "b,0,1",
        "c,0,",
        "d,0,0",
    )
    write(
        tmp_path / "ISIC-2017_Data_metadata.csv",
        "image_id,age_approximate,sex",
        "a,55,female",
        "b,unknown,male",
    )
    for name in "abcd":
        put(tmp_path / "images" / f"{name}.jpg")
    loaded = manifest.load([str(tmp_path)])
    assert truth(loaded) == {"a": 1, "b": 0, "c": 0, "d": 0}
    assert list(loaded.table["diagnosis"]) == ["melanoma", "seborrheic_keratosis", "not_melanoma", "nevus"]
    assert list(loaded.table["sex"]) == ["female", "male", "", ""]
    assert loaded.table["age_approx"].tolist()[0] == 55.0
    assert set(loaded.table["given_split"]) == {""}


def test_isic_2017_in_three_parts_gives_splits(tmp_path):
    for name, part in (("a", "Training"), ("b", "Validation"), ("c", "Test_v2")):
        header = "image_id,melanoma,seborrheic_keratosis"
        write(
            tmp_path / part / f"ISIC-2017_{part}_Part3_GroundTruth.csv",
            header,
            f"{name},{int(name == 'a')},0.0",
        )
        put(tmp_path / part / f"{name}.jpg")
    assert column(manifest.load([str(tmp_path)]), "given_split") == {"a": "train", "b": "val", "c": "test"}


def test_isic_2017_contradiction(tmp_path):
    write(tmp_path / "GroundTruth.csv", "image_id,melanoma,seborrheic_keratosis", "a,1,1")
    put(tmp_path / "a.jpg")
    assert "row 1: melanoma '1', seborrheic_keratosis '1'" in refused(tmp_path)


ONE_HOT = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"


def test_isic_2018(tmp_path):
    write(
        tmp_path / "truth" / "ISIC2018_Task3_Training_GroundTruth.csv",
        ONE_HOT,
        "a,1.0,0.0,0.0,0.0,0.0,0.0,0.0",
        "b,0.0,0.0,1.0,0.0,0.0,0.0,0.0",
    )
    write(
        tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv",
        "image,lesion_id,diagnosis_confirm_type",
        "a,L1,x",
    )
    for name in "ab":
        put(tmp_path / "input" / f"{name}.jpg")
    loaded = manifest.load([str(tmp_path)])
    assert truth(loaded) == {"a": 1, "b": 0}
    assert column(loaded, "label") == {"a": "MEL", "b": "BCC"}
    assert column(loaded, "lesion_id") == {"a": "L1", "b": ""}


def test_isic_2019_has_more_columns(tmp_path):
    header = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK,score_weight"
    write(
        tmp_path / "truth.csv",
        header,
        "a,1,0,0,0,0,0,0,0,0,0.5",
        "b,0,0,0,0,0,0,0,1,0,1",
        "c,0,0,0,0,0,0,0,0,1,0",
    )
    for name in "abc":
        put(tmp_path / f"{name}.jpg")
    assert truth(manifest.load([str(tmp_path)])) == {"a": 1, "b": 0, "c": 0}


@pytest.mark.parametrize(
    "cells", ["1.0,1.0,0,0,0,0,0", "0,0,0,0,0,0,0", "0.5,0.5,0,0,0,0,0", "x,1,0,0,0,0,0"]
)
def test_isic_2018_row_that_is_not_one_hot(tmp_path, cells):
    write(tmp_path / "GroundTruth.csv", ONE_HOT, "a,1,0,0,0,0,0,0", f"b,{cells}")
    put(tmp_path / "a.jpg")
    put(tmp_path / "b.jpg")
    assert "row 2 ('b') must hold one 1" in refused(tmp_path)


def test_isic_archive_with_levels(tmp_path):
    proliferation = "Malignant melanocytic proliferations (Melanoma)"
    rows = {
        "a": f"Malignant,{proliferation},Melanoma in situ,",
        "b": f"Malignant,{proliferation},,",
        "c": "Benign,Benign melanocytic proliferations,Nevus,",
        "d": "Benign,Flat melanotic pigmentations - not melanocytic nevus,Lentigo NOS,",
        "e": "Malignant,,,",
        "f": ",,,",
        "g": f"Malignant,{proliferation},Melanoma metastasis,",
        "h": "Malignant,Malignant adnexal epithelial proliferations - Follicular,Basal cell carcinoma,",
    }
    header = "isic_id,attribution,copyright_license,age_approx,patient_id,lesion_id,sex"
    header += ",diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4"
    write(
        tmp_path / "metadata.csv",
        header,
        *(f"{name},x,CC-0,60,IP_1,IL_{name},male,{row}" for name, row in rows.items()),
    )
    for name in rows:
        put(tmp_path / f"{name}.jpg")
    loaded = manifest.load([str(tmp_path)])
    assert truth(loaded) == {"a": 1, "b": 1, "c": 0, "d": 0, "g": 1, "h": 0}
    assert [reason for _, reason in loaded.skipped] == ["no label", "no label"]
    assert column(loaded, "patient_id")["a"] == "IP_1"
    assert column(loaded, "diagnosis")["c"] == "Benign > Benign melanocytic proliferations > Nevus"
    assert loaded.sources[0].layout == "ISIC Archive"
    assert truth(manifest.load([str(tmp_path)], labels={"basal cell carcinoma": 1}))["h"] == 1


def test_isic_archive_with_one_diagnosis(tmp_path):
    rows = [
        "a,melanoma,malignant",
        "b,unknown,benign",
        "c,,malignant",
        "d,melanoma metastasis,malignant",
        "e,nevus,",
    ]
    write(tmp_path / "metadata.csv", "isic_id,diagnosis,benign_malignant", *rows)
    for name in "abcde":
        put(tmp_path / f"{name}.jpg")
    assert truth(manifest.load([str(tmp_path)])) == {"a": 1, "b": 0, "d": 1, "e": 0}


PH2 = [
    "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry | Streaks ||           Colors ||",
    "|| IMD003 ||                        ||                  0 ||         0 |       A ||                4 ||",
    "|| IMD009 ||    Melanoma (in situ)  ||                  2 ||         2 |       P ||          3  4  5 ||",
    "|| IMD010 ||                        ||                  1 ||         0 |       A ||                4 ||",
    "",
    "Histological Diagnosis: ...",
    "Clinical Diagnosis: 0 - Common Nevus; 1 - Atypical Nevus; 2 - Melanoma.",
]


def test_ph2(tmp_path):
    write(tmp_path / "PH2_dataset.txt", *PH2)
    for name in ("IMD003", "IMD009", "IMD010"):
        put(tmp_path / "PH2 Dataset images" / name / f"{name}_Dermoscopic_Image" / f"{name}.bmp")
        put(tmp_path / "PH2 Dataset images" / name / f"{name}_lesion" / f"{name}_lesion.bmp")
    for source in (tmp_path, tmp_path / "PH2_dataset.txt"):
        loaded = manifest.load([str(source)])
        assert truth(loaded) == {"IMD003": 0, "IMD009": 1, "IMD010": 0}
        assert not any("lesion" in path for path in loaded.table["path"])
    assert column(loaded, "label")["IMD010"] == "atypical nevus"
    assert column(loaded, "diagnosis")["IMD009"] == "Melanoma (in situ)"


def test_ph2_with_flat_images_and_wrong_tables(tmp_path):
    table = write(tmp_path / "PH2_dataset.txt", *PH2)
    for name in ("IMD003", "IMD009", "IMD010"):
        put(tmp_path / "trainx" / f"{name}.bmp")
    assert len(manifest.load([str(tmp_path)]).table) == 3
    write(table, PH2[0], PH2[1].replace("  0 ||  ", "  7 ||  "))
    assert "'7'" in refused(tmp_path)
    write(table, "nothing")
    assert "lacks columns: Name and Clinical Diagnosis" in refused(tmp_path)


def test_own_csv_with_everything(tmp_path):
    outside = put(tmp_path / "elsewhere" / "c.png")
    put(tmp_path / "set" / "in" / 'ä "b".jpg')
    put(tmp_path / "set" / "a.jpg")
    table = write(
        tmp_path / "set" / "own.csv",
        "Path,Label,image_id,patient_id,lesion_id,age_approx,sex,anatom_site_general,diagnosis,split",
        "a.jpg,1,x,P1,L1,40,Male,torso,melanoma,validation",
        '"in/ä ""b"".jpg",0,y,P2,,,,,nevus,',
        f"{outside},benign,z,,,,,,,test",
        "missing.jpg,0,w,,,,,,,",
        encoding="utf-8-sig",
    )
    for source in (table, table.parent):
        loaded = manifest.load([str(source)])
        assert truth(loaded) == {"x": 1, "y": 0, "z": 0}
        assert column(loaded, "given_split") == {"x": "val", "y": "", "z": "test"}
    row = loaded.table.iloc[0]
    assert (row["patient_id"], row["lesion_id"], row["age_approx"], row["sex"]) == ("P1", "L1", 40.0, "male")
    assert loaded.skipped == (("own.csv: missing.jpg", "no such image file"),)


@pytest.mark.parametrize("header", ["image,diagnosis", "file,target", "filename,y_true", "path,label"])
def test_own_csv_names_its_columns_freely(tmp_path, header):
    put(tmp_path / "sub" / "a.jpg")
    put(tmp_path / "b.jpg")
    table = write(tmp_path / "my.csv", header, "sub/a.jpg,melanoma", "b.jpg,nevus")
    assert truth(manifest.load([str(table)])) == {"sub/a": 1, "b": 0}


def test_own_csv_may_name_images_by_id(tmp_path):
    for name in "ab":
        put(tmp_path / "jpeg" / f"{name}.jpg")
    table = write(
        tmp_path / "train.csv", "image_name,patient_id,diagnosis,target", "a,P1,unknown,0", "b,P1,melanoma,1"
    )
    loaded = manifest.load([str(table)])
    assert sorted(truth(loaded).values()) == [0, 1]
    assert set(loaded.table["patient_id"]) == {"P1"}


def test_own_csv_rows_without_label_are_skipped(tmp_path):
    for name in "abc":
        put(tmp_path / f"{name}.jpg")
    table = write(tmp_path / "my.csv", "path,label", "a.jpg,1", "b.jpg,0", "c.jpg,")
    assert manifest.load([str(table)]).skipped == ((str(tmp_path / "c.jpg"), "no label"),)


def test_own_csv_with_an_unknown_split(tmp_path):
    put(tmp_path / "a.jpg")
    assert "row 1 has the split 'holdout'" in refused(
        write(tmp_path / "my.csv", "path,label,split", "a.jpg,1,holdout")
    )


def test_several_sources_make_one_table(folders, tmp_path):
    put(tmp_path / "b" / "nevus" / "1.png")
    loaded = manifest.load([str(folders), f"clinic={tmp_path / 'b'}"])
    assert loaded.table.groupby("source").size().to_dict() == {"clinic": 1, "set": 4}
    assert loaded.label_map == {"benign": 0, "malignant": 1, "nevus": 0}
    text = manifest.describe(loaded)
    assert "clinic: 1 images (class folders), 0 melanoma, 1 other" in text
    assert "counted as melanoma: malignant" in text


def test_source_names(folders, tmp_path):
    odd = tmp_path / "a=b"
    folders.rename(odd)
    assert manifest.load([str(odd)]).sources[0].name == "a=b"
    assert manifest.load([f"x={odd}"]).sources[0].name == "x"
    assert "two sources are called 'a=b'" in refused(odd, odd)
    assert "no name before the =" in refused(f"={odd}")
    assert "no such folder" in refused(f"x={tmp_path / 'nowhere'}")
    assert "no data given" in refused()


def test_labels_can_be_overridden(tmp_path):
    for name in ("My Class", "bcc", "melanoma"):
        put(tmp_path / name / "1.jpg")
    message = refused(tmp_path)
    assert "unknown label 'My Class'" in message
    assert "--label 'My Class=0'" in message
    loaded = manifest.load([str(tmp_path)], labels={"my_class": 0, "BCC": 1})
    assert loaded.label_map == {"My Class": 0, "bcc": 1, "melanoma": 1}
    assert "matches no label in the data" in refused(tmp_path, labels={"myclass": 0, "bbc": 1})
    assert "use 1 for melanoma" in refused(tmp_path, labels={"bcc": 2})


def test_digest_follows_content_and_not_place_or_order(folders, tmp_path):
    first = manifest.load([str(folders)])
    moved = tmp_path / "moved" / "set"
    moved.parent.mkdir()
    folders.rename(moved)
    assert manifest.load([str(moved)]).digest == first.digest
    everything = first.subset(np.array([3, 1, 0, 2]))
    assert everything.digest == first.digest
    assert everything.table.equals(first.table)
    put(moved / "train" / "benign" / "1.jpg", b"changed")
    assert manifest.load([str(moved)]).digest != first.digest


def test_digest_follows_patients(tmp_path):
    digests = set()
    for patient in ("P1", "P2"):
        put(tmp_path / "a.jpg")
        put(tmp_path / "b.jpg")
        table = write(tmp_path / "my.csv", "path,label,patient_id", f"a.jpg,1,{patient}", "b.jpg,0,P1")
        digests.add(manifest.load([str(table)]).digest)
    assert len(digests) == 2


def test_subset_by_mask_and_by_nothing(folders):
    loaded = manifest.load([str(folders)])
    part = loaded.subset((loaded.table["given_split"] == "test").to_numpy())
    assert list(part.table["image_id"]) == ["test/benign/1", "test/malignant/1"]
    assert list(part.table.index) == [0, 1]
    assert part.digest != loaded.digest
    assert len(loaded.subset([]).table) == 0


def test_progress_counts_every_file(folders):
    calls = []
    manifest.load([str(folders)], progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 4)]  # small files are hashed some at a time


def test_repeated_rows(tmp_path):
    for name in "abc":
        put(tmp_path / f"{name}.jpg")
    table = tmp_path / "my.csv"
    header = "path,label,image_id,split"
    write(table, header, "a.jpg,1,x,", "a.jpg,1,x,", "b.jpg,0,y,")
    assert truth(manifest.load([str(table)])) == {"x": 1, "y": 0}
    write(table, header, "a.jpg,1,x,", "a.jpg,0,x,")
    assert "image 'x' has two labels: '1' and '0'" in refused(table)
    write(table, header, "a.jpg,1,x,", "b.jpg,1,x,", "c.jpg,0,y,")
    assert "image 'x' has two files" in refused(table)
    write(table, header, "a.jpg,1,x,train", "a.jpg,1,x,test", "c.jpg,0,y,")
    assert "image 'x' has two splits: 'train' and 'test'" in refused(table)


def test_missing_empty_and_foreign_sources(tmp_path):
    assert "no such folder or file" in refused(tmp_path / "nowhere")
    for absent in ("", "a=", "~nobody-of-that-name/images", "a=~nobody-of-that-name/images"):
        assert refused(absent).startswith("no such folder or file")
    (tmp_path / "void" / "benign").mkdir(parents=True)
    assert "holds no images" in refused(tmp_path / "void")
    assert "neither a folder nor a CSV" in refused(put(tmp_path / "a.jpg"))
    put(tmp_path / "plain" / "a.jpg")
    assert "images without labels" in refused(tmp_path / "plain")
    put(tmp_path / "odd" / "train" / "foo" / "a.jpg")
    assert "found 'foo'" in refused(tmp_path / "odd")


def test_nothing_usable(tmp_path):
    put(tmp_path / "benign" / "a.jpg", b"")
    put(tmp_path / "malignant" / "a.jpg", b"")
    assert "zero bytes" in refused(tmp_path)


def test_one_class_only(tmp_path):
    put(tmp_path / "melanoma" / "a.jpg")
    assert "all 1 images are melanoma" in refused(tmp_path)
    assert truth(manifest.load([str(tmp_path)], require_both=False)) == {"melanoma/a": 1}


@pytest.mark.parametrize(
    ("name", "header", "lacks"),
    [
        ("HAM10000_metadata.csv", "image_id,diag", "image_id and dx; found: image_id, diag"),
        (
            "ISIC-2017_GroundTruth.csv",
            "image_id,melanoma",
            "image_id, melanoma and seborrheic_keratosis; found: image_id",
        ),
        ("ISIC2018_Task3_GroundTruth.csv", "image,NV", "image, MEL, NV"),
        ("mine.csv", "path,colour", "and label (or diagnosis, target, y_true); found: path, colour"),
    ],
)
def test_csv_without_its_columns(tmp_path, name, header, lacks):
    write(tmp_path / name, header, "a,b")
    put(tmp_path / "a.jpg")
    assert lacks in refused(tmp_path)
    assert lacks in refused(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"path,label\n\xff\xfe,1\n", "is not UTF-8"),
        (b"", "my.csv is empty"),
        (b"path,label\n", "lists no images"),
        (b"path,label\na.jpg,1\nb.jpg,0,x,y\n", "cannot be read as CSV"),
        (b"path,label\na.jpg,1,x\nb.jpg,0,x\n", "more cells"),
        (b"path;label\na.jpg;1\n", "is separated by semicolons; save it with commas"),
        (b"path;label\na.jpg;0,5\n", "with commas, and numbers with a decimal point"),
        (b"path,label,Path\na.jpg,1,a.jpg\n", "two columns called 'path'"),
        (b"path,label\nnot_here.jpg,1\n", "none of the 1 images"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path, content, says):
    assert says in refused(put(tmp_path / "my.csv", content))


def test_two_published_tables_in_one_folder(tmp_path):
    write(tmp_path / "HAM10000_metadata.csv", HAM, "L,a,mel,histo,1,male,scalp")
    write(tmp_path / "GroundTruth.csv", ONE_HOT, "a,1,0,0,0,0,0,0")
    put(tmp_path / "a.jpg")
    assert "several label tables" in refused(tmp_path)


def test_folder_without_read_permission(folders, monkeypatch):
    real = os.scandir

    def guarded(path="."):
        if Path(path).name == "malignant":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert re.search("cannot read folder .*malignant: Permission denied", refused(folders))


def test_a_full_disk_leaves_the_old_file(folders, tmp_path, monkeypatch):
    loaded = manifest.load([str(folders)])
    target = write(tmp_path / "m.csv", "old")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OutputError, match="No space left"):
        loaded.save(target)
    assert target.read_text() == "old\n"


def test_a_saved_manifest_can_be_loaded(folders, tmp_path):
    loaded = manifest.load([str(folders)])
    loaded.save(tmp_path / "saved.csv")
    again = manifest.load([f"set={tmp_path / 'saved.csv'}"])
    assert again.digest == loaded.digest
    assert read_table(tmp_path / "saved.csv")["image_id"].tolist() == list(truth(loaded))


@pytest.mark.data
def test_the_real_collections(data_root):
    loaded = manifest.load([str(data_root / name) for name in ("melanoma10k", "ham10000", "isic2017")])
    table = loaded.table
    counts = table.groupby(["source", "given_split", "y_true"]).size().to_dict()
    assert counts == {
        ("ham10000", "", 0): 3470,
        ("ham10000", "", 1): 490,
        ("isic2017", "", 0): 2228,
        ("isic2017", "", 1): 521,
        ("melanoma10k", "test", 0): 500,
        ("melanoma10k", "test", 1): 500,
        ("melanoma10k", "train", 0): 4500,
        ("melanoma10k", "train", 1): 4105,
    }
    assert loaded.skipped == ()
    assert (table["label"] == "not_melanoma").sum() > 0
    assert (table.loc[table["source"] == "ham10000", "lesion_id"] != "").all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(20)
def test_a_pipe_among_the_images_is_passed_over_and_not_waited_on(tmp_path):
    from conftest import write_images

    write_images(tmp_path / "images", train=2, test=1)
    os.mkfifo(tmp_path / "images" / "train" / "benign" / "pipe.jpg")
    assert len(manifest.load([str(tmp_path / "images")]).table) == 6
