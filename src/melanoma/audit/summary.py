"""What an audit comes to in numbers: images, repeats and groups of each source and of all."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.audit.confounding import TOGETHER, Confounding, ConfoundingReport
from melanoma.audit.duplicates import COPY, SAME_BYTES, SAME_PIXELS, VIEW
from melanoma.audit.result import Audit, Leak

KINDS = (SAME_BYTES, SAME_PIXELS, COPY, VIEW)
CLASSES = ("melanoma", "other", "unlabelled")
LARGEST = 10  # groups


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """Numbers of images of one source.

    `classes`: of each of CLASSES; `given_splits`: of each split that the source brings; `sizes`: of each
    "width x height", the most frequent first; `copied`: those that show the same photograph as another image
    of the audit, whichever source that is in; `patients`, `lesions`: how many are told apart.
    """

    name: str
    root: str
    images: int
    classes: dict[str, int]
    given_splits: dict[str, int]
    sizes: dict[str, int]
    copied: int
    patients: int
    lesions: int


def summarise_sources(audit: Audit) -> list[SourceSummary]:
    """Every source in the order in which it was given, those without a readable image too."""
    copied = find_copied(audit)
    names = dict.fromkeys([*audit.roots, *audit.images["source"]])
    rows = {name: np.asarray(found) for name, found in audit.images.groupby("source").indices.items()}
    none = np.zeros(0, dtype=np.int64)
    return [_summarise(audit, name, rows.get(name, none), copied) for name in names]


def find_copied(audit: Audit) -> NDArray[np.bool_]:
    """Which images (n,) show the same photograph as another one."""
    same = audit.pairs[audit.pairs["kind"] != VIEW]
    copied = np.zeros(len(audit.images), dtype=np.bool_)
    copied[same[["first", "second"]].to_numpy(dtype=np.int64).ravel()] = True
    return copied


def count_pairs(audit: Audit) -> dict[str, int]:
    """Pairs of each kind."""
    counts = audit.pairs["kind"].value_counts()
    return {kind: int(counts.get(kind, 0)) for kind in KINDS}


def count_groups(audit: Audit) -> dict[str, int]:
    """How many groups have more than one image, and how many images these hold."""
    sizes = audit.images["group_id"].value_counts()
    return {"groups": int((sizes > 1).sum()), "images": int(sizes[sizes > 1].sum())}


def list_largest(audit: Audit) -> dict[str, list[int]]:
    """Row numbers of the images of the largest groups of more than one, by `group_id`, the largest first."""
    rows = audit.images.groupby("group_id").indices
    repeated = [(group, found) for group, found in rows.items() if len(found) > 1]
    ordered = sorted(repeated, key=lambda item: (-len(item[1]), str(item[0])))
    return {str(group): np.sort(found).tolist() for group, found in ordered[:LARGEST]}


def classify(images: pd.DataFrame) -> "pd.Series[str]":
    """One of CLASSES for each image."""
    return images["y_true"].map({1: "melanoma", 0: "other"}).astype(object).fillna("unlabelled")


def find_telling(report: ConfoundingReport) -> Confounding | None:
    """What stands for all findings: melanoma from the border, over all sources if there are several.

    Where the border could not be measured, another cue; None where none could.
    """
    measured = [f for f in report.findings if f.target == "melanoma" and f.estimate.value is not None]
    order = {"border": 0, TOGETHER: 1}
    return min(measured, key=lambda f: (f.scope is not None, order.get(f.cue, 2)), default=None)


def describe_leak(leak: Leak) -> str:
    """A leak in one sentence."""
    one = leak.groups == 1
    what = f"{leak.groups:,} {leak.by if one else leak.by + 's'}"
    verb = {
        "splits": "stands on both sides of" if one else "stand on both sides of",
        "sources": "is in both" if one else "are in both",
        "labels": "is called both" if one else "are called both",
    }[leak.across]
    return f"{what} {verb} {leak.first} and {leak.second}, with {leak.images:,} images."


def list_findings(audit: Audit) -> list[str]:
    """What one should know at once, as lines of text."""
    counts, groups = count_pairs(audit), count_groups(audit)
    checks = Counter(problem.check for problem in audit.problems)
    named = ", ".join(f"{check} {number:,}" for check, number in sorted(checks.items()))
    copies = sum(counts[kind] for kind in KINDS if kind != VIEW)
    lines = [
        f"{len(audit.images):,} images of {len(audit.roots)} sources; problems: {named or 'none'}",
        f"{copies:,} pairs of one photograph, {counts[VIEW]:,} of one lesion photographed again;"
        f" {groups['images']:,} images in {groups['groups']:,} groups",
    ]
    lines += [describe_leak(leak) for leak in audit.leaks]
    if audit.confounding is None:
        return [*lines, f"without the lesion nothing was measured: {audit.no_confounding}"]
    telling = find_telling(audit.confounding) or audit.confounding.findings[0]
    return [*lines, telling.sentence]


def _summarise(audit: Audit, name: str, rows: NDArray[np.int64], copied: NDArray[np.bool_]) -> SourceSummary:
    images = audit.images.iloc[rows]
    classes = classify(images).value_counts()
    sizes = (images["width"].astype(str) + " x " + images["height"].astype(str)).value_counts(sort=False)
    return SourceSummary(
        name=name,
        root=audit.roots.get(name, ""),
        images=len(rows),
        classes={label: int(classes.get(label, 0)) for label in CLASSES},
        given_splits=_count(images.loc[images["given_split"] != "", "given_split"].value_counts()),
        sizes=_count(sizes, by_number=True),
        copied=int(copied[rows].sum()),
        patients=images.loc[images["patient_id"] != "", "patient_id"].nunique(),
        lesions=images.loc[images["lesion_id"] != "", "lesion_id"].nunique(),
    )


def _count(counts: "pd.Series[int]", by_number: bool = False) -> dict[str, int]:
    """Numbers by name in alphabetical order, or the largest first."""
    named: Mapping[str, int] = {str(name): int(number) for name, number in counts.items()}
    return dict(sorted(named.items(), key=lambda item: (-item[1] if by_number else 0, item[0])))
