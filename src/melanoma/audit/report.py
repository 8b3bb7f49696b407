"""Audits as files: JSON, the pairs, the groups, and one self-contained HTML page."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from melanoma.audit.duplicates import COLUMNS, VIEW
from melanoma.audit.page import render
from melanoma.audit.result import Audit, to_plain
from melanoma.audit.summary import count_groups, count_pairs, list_largest, summarise_sources
from melanoma.data.tables import write_table
from melanoma.files import write_text
from melanoma.version import __version__

FORMAT_VERSION = 1
NAMES = ("groups.csv", "pairs.csv", "views.csv", "audit.json", "report.html")
GROUP_COLUMNS = ("source", "path", "group_id")
PAIR_COLUMNS = ("source_1", "path_1", "source_2", "path_2", "kind", "score", "change")


def save(audit: Audit, folder: Path) -> None:
    """Write `groups.csv`, `pairs.csv`, `views.csv`, `audit.json` and `report.html` into a folder.

    `groups.csv` has every image and is what `melanoma.data.splits.load_groups` reads. `pairs.csv` holds pairs
    of the same photograph, `views.csv` pairs of the same lesion photographed again. Paths are relative to
    their source's folder when they lie below it. The folder is made if need be; each file is replaced as a
    whole. Raises OutputError when one cannot be written.
    """
    page = render(audit)
    paths = relative_paths(audit)
    is_view = audit.pairs["kind"] == VIEW
    write_table(_tabulate_groups(audit, paths), folder / "groups.csv")
    write_table(_tabulate_pairs(audit, audit.pairs[~is_view], paths), folder / "pairs.csv")
    write_table(_tabulate_pairs(audit, audit.pairs[is_view], paths), folder / "views.csv")
    document = json.dumps(describe(audit, paths), indent=1, allow_nan=False)
    write_text(folder / "audit.json", document + "\n")
    write_text(folder / "report.html", page)


def describe(audit: Audit, paths: Sequence[str]) -> dict[str, Any]:
    """Everything but the pairs as plain JSON types; `paths` as `relative_paths` gives them."""
    source = audit.images["source"].tolist()
    largest = [
        {
            "group_id": group,
            "images": len(rows),
            "members": [{"source": source[row], "path": paths[row]} for row in rows],
        }
        for group, rows in list_largest(audit).items()
    ]
    return {
        "format_version": FORMAT_VERSION,
        "melanoma_version": __version__,
        "digest": audit.digest,
        "images": len(audit.images),
        "sources": [asdict(summary) for summary in summarise_sources(audit)],
        "problems": [to_plain(problem) for problem in audit.problems],
        "pairs": count_pairs(audit),
        "groups": count_groups(audit),
        "largest_groups": largest,
        "overlaps": [to_plain(overlap) for overlap in audit.overlaps],
        "leaks": [_describe_leak(leak, source, paths) for leak in map(to_plain, audit.leaks)],
        "confounding": audit.confounding.to_dict() if audit.confounding else None,
        "no_confounding": audit.no_confounding,
        "plain": audit.plain,
        "notes": list(audit.notes),
        "seconds": dict(audit.seconds),
    }


def relative_paths(audit: Audit) -> list[str]:
    """The path of each image, relative to its source's folder when it lies below it."""
    prefix = {name: root.rstrip(os.sep) + os.sep for name, root in audit.roots.items()}
    pairs = zip(audit.images["path"], audit.images["source"], strict=True)
    return [path.removeprefix(prefix.get(source, "")) for path, source in pairs]


def _describe_leak(leak: dict[str, Any], source: Sequence[str], paths: Sequence[str]) -> dict[str, Any]:
    """Row numbers mean nothing outside the audit, so the examples get names."""
    examples = [
        [{"source": source[row], "path": paths[row]} for row in example] for example in leak["examples"]
    ]
    return leak | {"examples": examples}


def _tabulate_groups(audit: Audit, paths: Sequence[str]) -> pd.DataFrame:
    rows = zip(audit.images["source"], paths, audit.images["group_id"], strict=True)
    return pd.DataFrame(rows, columns=list(GROUP_COLUMNS))


def _tabulate_pairs(audit: Audit, pairs: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    source = audit.images["source"].tolist()
    rows = [
        (source[first], paths[first], source[second], paths[second], *rest)
        for first, second, *rest in pairs[list(COLUMNS)].to_numpy(dtype=object)
    ]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
