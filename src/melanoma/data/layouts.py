"""The layouts in which labelled images come; every reader ends in one `Listing`."""

import filecmp
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from melanoma.data.labels import normalise
from melanoma.data.metadata import (
    METADATA,
    OWN_CSV,
    SPLIT_NAMES,
    Format,
    complain,
    find_format,
    join_metadata,
    read_labels,
)
from melanoma.errors import ManifestError, UnlabelledError
from melanoma.inference.images import SUFFIXES, may_block

COLUMNS = ("image_id", "path", "label", "where", "given_split", *METADATA)


@dataclass(frozen=True, slots=True)
class Listing:
    """What one source holds: `table` has COLUMNS, all text; `skipped` pairs of path and reason.

    `ignored` counts files that are no image, or images that no label table names. `free_text`: see
    `Format`.
    """

    layout: str
    table: pd.DataFrame
    skipped: list[tuple[str, str]]
    ignored: int
    free_text: bool = False


def list_source(path: Path, known: Mapping[str, int]) -> Listing:
    """Recognise the layout of a folder or label table and list its images.

    `known` are normalised labels, by which class folders are told from others. Raises ManifestError.
    """
    if not is_text(path):
        raise ManifestError(f"the name of {os.fsencode(path)!r} is not UTF-8; rename it")
    if path.is_dir():
        files, odd = _part_names(list_files(path))
        listing = _list_folder(path, files, known)
        return replace(listing, skipped=[*listing.skipped, *odd])
    if path.suffix.lower() not in (".csv", ".txt") and path.name != "HAM10000_metadata":
        raise ManifestError(f"{path} is neither a folder nor a CSV; give the folder that holds the images")
    form = find_format(path)
    if form is None:
        raise complain(path)
    files = [] if form is OWN_CSV else list(filter(is_text, list_files(path.parent)))
    return _list_labelled(path.parent, form, [path], files)


def list_unlabelled(folder: Path, reason: str) -> Listing:
    """Every image below a folder, `label` '', because of `reason`. Raises ManifestError."""
    files, odd = _part_names(list_files(folder))
    images = _images(files)
    table = pd.DataFrame({"image_id": _relative_ids(folder, images), "path": [str(path) for path in images]})
    table = table.assign(where="folder").reindex(columns=COLUMNS, fill_value="")
    return Listing(f"read without labels: {reason}", table, odd, len(files) - len(images))


def list_files(folder: Path) -> list[Path]:
    """Every file below a folder, hidden ones and pipes left out, each real folder once however links go round.

    Raises ManifestError for a folder that may not be read.
    """
    files: list[Path] = []
    visited: set[str] = set()
    pending = [str(folder)]
    while pending:  # links to folders wait until the real ones are listed, so a link never hides one
        top = pending.pop(0)
        if os.path.realpath(top) in visited:
            continue
        for parent, names, leaves in os.walk(top, onerror=_refuse):
            visited.add(os.path.realpath(parent))
            names[:] = sorted(name for name in names if not _hidden(name))
            pending.extend(str(Path(parent, name)) for name in names if Path(parent, name).is_symlink())
            names[:] = [name for name in names if os.path.realpath(Path(parent, name)) not in visited]
            files.extend(Path(parent, leaf) for leaf in leaves if not _hidden(leaf))
    return sorted((file for file in files if not may_block(file)), key=lambda file: file.parts)


def _refuse(problem: OSError) -> None:
    raise ManifestError(f"cannot read folder {problem.filename}: {problem.strerror}") from problem


def _hidden(name: str) -> bool:
    """Dot files, macOS' `._x.jpg` among them, and the folder that macOS adds to archives."""
    return name.startswith(".") or name == "__MACOSX"


def _part_names(files: Sequence[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Files whose names can stand in a table, and the others with the reason."""
    odd = [os.fsencode(file).decode(errors="backslashreplace") for file in files if not is_text(file)]
    return [file for file in files if is_text(file)], [(name, "file name is not UTF-8") for name in odd]


def is_text(path: Path | str) -> bool:
    """Whether a path can stand in a table: Linux allows any bytes in a name."""
    return str(path).isprintable() or not any("\ud800" <= letter <= "\udfff" for letter in str(path))


def _list_folder(folder: Path, files: Sequence[Path], known: Mapping[str, int]) -> Listing:
    tables = _find_tables(files)
    published = {form.name: form for form in tables.values() if form is not OWN_CSV}
    if len(published) > 1:
        names = ", ".join(
            f"{path.name} ({form.name})" for path, form in tables.items() if form.name in published
        )
        raise ManifestError(f"{folder} holds several label tables: {names}; give one of these files instead")
    if published:
        form = next(iter(published.values()))
        return _list_labelled(folder, form, [path for path, found in tables.items() if found is form], files)
    listing = _list_class_folders(folder, files, known)
    own = [path for path in tables if path.parent == folder]
    if listing is None and own:
        return _list_labelled(folder, OWN_CSV, own, files)
    if listing is None:
        raise _explain(folder, files)
    return listing


def _find_tables(files: Sequence[Path]) -> dict[Path, Format]:
    """The label tables among the files, with their formats."""
    named = [path for path in files if path.suffix.lower() == ".csv"]
    named += [path for path in files if path.name in ("HAM10000_metadata", "PH2_dataset.txt")]
    found = {path: find_format(path) for path in sorted(named)}
    return {path: form for path, form in found.items() if form is not None}


def _explain(folder: Path, files: Sequence[Path]) -> ManifestError:
    """Why a folder without a known layout was refused."""
    images = _images(files)
    if not images:
        return ManifestError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    tables = [path for path in files if path.suffix.lower() == ".csv" or path.name == "HAM10000_metadata"]
    if tables:
        return UnlabelledError(str(complain(min(tables, key=lambda path: (len(path.parts), path)))))
    folders = sorted({part for path in images for part in path.relative_to(folder).parts[:-1]})
    unknown = [name for name in folders if normalise(name) not in SPLIT_NAMES]
    if unknown:
        return UnlabelledError(
            f"{folder} has no folder named after a known label; found {', '.join(map(repr, unknown[:5]))};"
            f" map them with --label NAME=0|1 (1 is melanoma)"
        )
    return UnlabelledError(
        f"{folder} holds images without labels; sort them into benign/ and malignant/, or list them in a CSV"
    )


def _images(files: Sequence[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() in SUFFIXES]


def _list_class_folders(folder: Path, files: Sequence[Path], known: Mapping[str, int]) -> Listing | None:
    """`train/ test/` x `benign/ malignant/` in either order; None when no folder is named after a label."""
    images = _images(files)
    folders = {parent: parent.relative_to(folder).parts for parent in {path.parent for path in images}}
    level = _class_level(list(folders.values()), known)
    if level is None:
        return None
    inside = [path for path in images if len(folders[path.parent]) > level]
    outside = [
        (str(path), "lies outside the class folders") for path in images if len(folders[path.parent]) <= level
    ]
    told = {  # label, place and split, once a folder
        parent: (parts[level], f"folder {'/'.join(parts[: level + 1])!r}", _folder_split(parts, level))
        for parent, parts in folders.items()
        if len(parts) > level
    }
    table = pd.DataFrame(
        {"image_id": _relative_ids(folder, inside), "path": [str(path) for path in inside]}, dtype=str
    )
    rows = [told[path.parent] for path in inside]
    for number, name in enumerate(("label", "where", "given_split")):
        table[name] = [row[number] for row in rows]
    table = table.reindex(columns=COLUMNS, fill_value="")
    return Listing("class folders", table, outside, len(files) - len(images))


def _class_level(folders: Sequence[tuple[str, ...]], known: Mapping[str, int]) -> int | None:
    """The depth whose folder names are labels: the first with both classes, else the first with any."""
    partly = None
    for level in range(max(map(len, folders), default=0)):
        classes = {known.get(normalise(parts[level])) for parts in folders if len(parts) > level}
        if classes >= {0, 1}:
            return level
        if partly is None and classes & {0, 1}:
            partly = level
    return partly


def _folder_split(parts: tuple[str, ...], class_level: int) -> str:
    words = [normalise(part) for level, part in enumerate(parts) if level != class_level]
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "")


def _relative_ids(root: Path, paths: Sequence[Path]) -> list[str]:
    """Paths below the root without suffix; where two files would share one, both keep theirs."""
    folders = {parent: parent.relative_to(root).as_posix() for parent in {path.parent for path in paths}}
    before = {parent: "" if name == "." else f"{name}/" for parent, name in folders.items()}
    bare = [before[path.parent] + path.stem for path in paths]
    times = Counter(bare)
    return [
        before[path.parent] + path.name if times[short] > 1 else short
        for path, short in zip(paths, bare, strict=True)
    ]


def _list_labelled(root: Path, form: Format, tables: Sequence[Path], files: Sequence[Path]) -> Listing:
    """The images that label tables of one format name, and the rows that could not be used."""
    labels = pd.concat([_with_file_split(read_labels(path, form), path, tables) for path in tables])
    named = ", ".join(path.name for path in tables)
    if labels.empty:
        raise ManifestError(f"{root}: {named} lists no images")
    if form is not OWN_CSV:
        others = [path for path in files if path.suffix.lower() == ".csv" and find_format(path) is None]
        labels = join_metadata(labels, others)
        labels["path"] = _match(labels["image_id"], files)
    found = labels["path"].map(_locate(labels["path"], root)) if form is OWN_CSV else labels["path"]
    absent, unlabelled = found == "", labels["label"] == ""
    if absent.all():
        raise ManifestError(f"none of the {len(labels)} images that {named} lists was found below {root}")
    skipped = [(f"{named}: {name}", "no such image file") for name in _names(labels[absent])]
    skipped += [(path, "no label") for path in found[~absent & unlabelled]]
    kept = labels.assign(path=found)[~absent & ~unlabelled].reset_index(drop=True)
    kept["image_id"] = kept["image_id"].where(kept["image_id"] != "", pd.Series(_own_ids(kept["path"], root)))
    ignored = max(len(files) - found[~absent].nunique(), 0)
    return Listing(form.name, kept[list(COLUMNS)], skipped, ignored, form.free_text)


def _names(rows: pd.DataFrame) -> list[str]:
    """What a label table calls its images."""
    return rows["path"].where(rows["path"] != "", rows["image_id"]).tolist()


def _with_file_split(labels: pd.DataFrame, path: Path, tables: Sequence[Path]) -> pd.DataFrame:
    """With several label tables, a file's name says which part it is, where its rows do not."""
    words = normalise(path.stem)
    part = (
        next((split for split in ("train", "val", "test") if split in words), "") if len(tables) > 1 else ""
    )
    labels["given_split"] = labels["given_split"].where(labels["given_split"] != "", part)
    return labels


def _match(image_ids: "pd.Series[str]", files: Sequence[Path]) -> list[str]:
    """The image of every id by its name without suffix, '' where there is none."""
    found: dict[str, Path] = {}
    wanted = set(image_ids)
    for path in _images(files):
        if path.stem not in wanted:
            continue
        first = found.setdefault(path.stem, path)
        if first is not path and not filecmp.cmp(first, path, shallow=False):
            raise ManifestError(f"image {path.stem!r} has two different files: {first} and {path}; keep one")
    return [str(found.get(name, "")) for name in image_ids]


def _locate(cells: "pd.Series[str]", root: Path) -> dict[str, str]:
    """Every cell's file: a path relative to `root` or absolute, or an image's bare name anywhere below it."""
    paths = {cell: _existing(cell, root) for cell in set(cells)}
    bare = [cell for cell, path in paths.items() if not path and cell.strip() and not Path(cell).suffix]
    if bare:
        paths.update(zip(bare, _match(pd.Series(bare), list(filter(is_text, list_files(root)))), strict=True))
    return paths


def _existing(cell: str, root: Path) -> str:
    """The file that a cell names as it stands, or without blanks around it, '' when there is none."""
    for text in (cell, cell.strip()):
        path = os.path.normpath(root / text)
        if text and Path(path).is_file():
            return path
    return ""


def _own_ids(paths: "pd.Series[str]", root: Path) -> list[str]:
    """Ids relative to the CSV's folder, or to the deepest folder of all when some lie elsewhere."""
    files = [Path(path) for path in paths]
    if not all(path.is_relative_to(root) for path in files):
        root = Path(os.path.commonpath([path.parent for path in files]))
    return _relative_ids(root, files)
