"""The published label tables (HAM10000, ISIC, PH2) and one's own CSV, all brought to the same columns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melanoma.data.labels import names_melanoma, normalise
from melanoma.data.tables import read_table
from melanoma.errors import ManifestError

METADATA = ("diagnosis", "patient_id", "lesion_id", "age_approx", "sex", "anatom_site_general")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
PATH_COLUMNS = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "image_path",
    "image",
    "image_name",
    "image_id",
)
LABEL_COLUMNS = ("label", "target", "y_true", "diagnosis")
_ALIASES = {
    "image_id": ("image", "isic_id", "image_name"),
    "age_approx": ("age", "age_approximate"),
    "anatom_site_general": ("localization", "anatom_site_general_challenge"),
    "given_split": ("split",),
}
_CODES = ("mel", "nv", "bcc", "akiec", "ak", "bkl", "df", "vasc", "scc", "unk")
_LEVELS = ("diagnosis", *(f"diagnosis_{level}" for level in range(1, 6)))


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of label table: `wants` says in words which columns it needs, `label` adds the label column.

    `free_text`: the label may be any diagnosis, and counts as melanoma when it names one.
    """

    name: str
    wants: str
    fits: Callable[[set[str]], bool]
    label: Callable[[pd.DataFrame, Path], pd.DataFrame]
    free_text: bool = False


def find_format(path: Path) -> Format | None:
    """The format of a CSV or of PH2's text table by its columns, None when it is no label table."""
    if path.name.lower() == "ph2_dataset.txt":
        return PH2
    columns = set(read_table(path, rows=0).columns)
    return next((known for known in FORMATS if known.fits(columns)), None)


def read_labels(path: Path, form: Format) -> pd.DataFrame:
    """One row an image: `image_id, label, where, given_split` and METADATA, all text, '' when not stated.

    `label` is '' when the table says nothing usable. Raises ManifestError on a contradictory row.
    """
    table = _read_ph2(path) if form is PH2 else read_table(path)
    table = form.label(_rename(table), path)
    table["where"] = [f"{path.name} row {number}" for number in range(1, len(table) + 1)]
    table["given_split"] = _given_split(table, path)
    return table.reindex(
        columns=["image_id", "path", "label", "where", "given_split", *METADATA], fill_value=""
    )


def join_metadata(labels: pd.DataFrame, paths: list[Path]) -> pd.DataFrame:
    """Fill what `labels` leaves empty of METADATA from other CSVs that have an image id column."""
    for path in paths:
        table = _rename(read_table(path))
        columns = [name for name in METADATA if name in table]
        if "image_id" not in table or not columns:
            continue
        stated = table.drop_duplicates("image_id").set_index("image_id").reindex(labels["image_id"])
        for name in columns:
            found = stated[name].fillna("").to_numpy()
            labels[name] = labels[name].where(labels[name] != "", found)
    return labels


def complain(path: Path) -> ManifestError:
    """What a CSV that should hold labels lacks, and what it has."""
    found = list(read_table(path, rows=0).columns)
    form = _expected(path.name.lower())
    return ManifestError(f"{path} lacks columns: {form.wants}; found: {', '.join(found) or 'none'}")


def _expected(name: str) -> Format:
    """The format that a file's name promises."""
    if name.startswith("ham10000"):
        return HAM10000
    if "groundtruth" in name:
        return ISIC_2017 if "2017" in name else ISIC_2018
    return OWN_CSV


def _rename(table: pd.DataFrame) -> pd.DataFrame:
    """The field's own names for columns; a column that has its name already stays."""
    for name, aliases in _ALIASES.items():
        present = next((alias for alias in aliases if alias in table), None)
        if present is not None and name not in table:
            table = table.assign(**{name: table[present]})
    verbatim = PATH_COLUMNS[:6]  # a file's name may begin or end with a space
    return pd.DataFrame(
        {name: table[name] if name in verbatim else table[name].str.strip() for name in table}
    )


def _given_split(table: pd.DataFrame, path: Path) -> list[str]:
    """Train, val, test or '' a row, from its own column. Raises ManifestError on another word."""
    if "given_split" not in table:
        return [""] * len(table)
    splits = []
    for where, word in zip(table["where"], table["given_split"], strict=True):
        if word and normalise(word) not in SPLIT_NAMES:
            raise ManifestError(f"{path}: {where} has the split {word!r}; use train, val, test or nothing")
        splits.append(SPLIT_NAMES.get(normalise(word), ""))
    return splits


def _label_ham10000(table: pd.DataFrame, _: Path) -> pd.DataFrame:
    return table.assign(label=table["dx"], diagnosis=table["dx"])


def _label_isic_2017(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Two 0/1 columns; seborrheic keratosis may be empty, which says only that it is no melanoma."""
    names = {
        ("1", "0"): "melanoma",
        ("1", ""): "melanoma",
        ("0", "1"): "seborrheic_keratosis",
        ("0", "0"): "nevus",
    }
    names |= {("0", ""): "not_melanoma", ("", ""): ""}
    labels = []
    pairs = zip(table["melanoma"], table["seborrheic_keratosis"], strict=True)
    for number, (melanoma, keratosis) in enumerate(pairs, start=1):
        pair = (melanoma.removesuffix(".0"), keratosis.removesuffix(".0"))
        if pair not in names:
            raise ManifestError(
                f"{path} row {number}: melanoma {melanoma!r}, seborrheic_keratosis {keratosis!r}; use 0 and 1"
            )
        labels.append(names[pair])
    return table.assign(label=labels, diagnosis=labels)


def _label_one_hot(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    codes = [code for code in _CODES if code in table]
    values = table[codes].apply(pd.to_numeric, errors="coerce")
    wrong = ~(values.isin([0, 1]).all(axis=1) & (values.sum(axis=1) == 1))
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise ManifestError(
            f"{path} row {row + 1} ({table['image_id'].iloc[row]!r}) must hold one 1 and otherwise 0"
            f" in {', '.join(codes).upper()}"
        )
    labels = values.idxmax(axis=1).str.upper() if len(table) else ""
    return table.assign(label=labels, diagnosis=labels)


def _label_archive(table: pd.DataFrame, _: Path) -> pd.DataFrame:
    levels = [level for level in _LEVELS if level in table]
    rows = table[levels].itertuples(index=False)
    texts = [[text for text in row if text.lower() not in ("", "unknown")] for row in rows]
    benign = table["benign_malignant"].str.lower() if "benign_malignant" in table else [""] * len(table)
    labels = [_archive_label(row, coarse) for row, coarse in zip(texts, benign, strict=True)]
    return table.assign(label=labels, diagnosis=[" > ".join(row) for row in texts])


def _archive_label(levels: list[str], benign_malignant: str) -> str:
    """The deepest level that names a melanoma, else the deepest; "malignant" alone does not say of what."""
    melanoma = [level for level in levels if names_melanoma(level)]
    if melanoma:
        return melanoma[-1]
    if levels and levels[-1].lower() != "malignant":
        return levels[-1]
    return "benign" if benign_malignant == "benign" else ""


def _read_ph2(path: Path) -> pd.DataFrame:
    """PH2_dataset.txt: cells between "||", a header line, one line an image, then legends."""
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as problem:
        raise ManifestError(f"cannot read {path}: {problem.strerror}") from problem
    rows = [
        [cell.strip() for cell in line.split("||")[1:-1]] for line in lines if line.lstrip().startswith("||")
    ]
    header = [cell.lower() for cell in rows[0]] if rows else []
    if not {"name", "clinical diagnosis"} <= set(header):
        raise ManifestError(
            f"{path} lacks columns: Name and Clinical Diagnosis; found: {', '.join(header) or 'none'}"
        )
    images = [row for row in rows[1:] if row and row[0].upper().startswith("IMD") and len(row) == len(header)]
    return pd.DataFrame(images, columns=header, dtype=str)


def _label_ph2(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    names = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}
    wrong = table.loc[~table["clinical diagnosis"].isin(list(names))]
    if len(wrong):
        first = wrong.iloc[0]
        raise ManifestError(
            f"{path}: {first['name']} has clinical diagnosis {first['clinical diagnosis']!r}; use 0, 1, 2"
        )
    labels = table["clinical diagnosis"].map(names)
    histology = table.get("histological diagnosis", pd.Series("", index=table.index))
    return table.assign(
        image_id=table["name"], label=labels, diagnosis=histology.where(histology != "", labels)
    )


def _label_own(table: pd.DataFrame, _: Path) -> pd.DataFrame:
    path = next(name for name in PATH_COLUMNS if name in table)
    label = next(name for name in LABEL_COLUMNS if name in table)
    own_id = "image_id" in table and not table["image_id"].equals(table[path])
    return table.assign(path=table[path], label=table[label], image_id=table["image_id"] if own_id else "")


def _has_id(columns: set[str]) -> bool:
    return bool(columns & {"image_id", "image"})


HAM10000 = Format(
    "HAM10000", "image_id and dx", lambda found: _has_id(found) and "dx" in found, _label_ham10000
)
ISIC_2017 = Format(
    "ISIC-2017",
    "image_id, melanoma and seborrheic_keratosis",
    lambda found: _has_id(found) and {"melanoma", "seborrheic_keratosis"} <= found,
    _label_isic_2017,
)
ISIC_2018 = Format(
    "ISIC-2018",
    "image, MEL, NV and the other classes, one of them 1",
    lambda found: _has_id(found) and {"mel", "nv"} <= found,
    _label_one_hot,
)
ISIC_ARCHIVE = Format(
    "ISIC Archive",
    "isic_id and diagnosis or diagnosis_1",
    lambda found: "isic_id" in found and bool(found & {*_LEVELS, "benign_malignant"}),
    _label_archive,
    free_text=True,
)
OWN_CSV = Format(
    "CSV",
    "path (or image, file, filename, image_id) and label (or diagnosis, target, y_true)",
    lambda found: bool(found.intersection(PATH_COLUMNS)) and bool(found.intersection(LABEL_COLUMNS)),
    _label_own,
)
PH2 = Format("PH2", "Name and Clinical Diagnosis", lambda _: False, _label_ph2)
FORMATS = (HAM10000, ISIC_2017, ISIC_2018, ISIC_ARCHIVE, OWN_CSV)
