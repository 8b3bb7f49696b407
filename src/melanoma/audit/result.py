"""What an audit found, as plain tables and records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from melanoma.audit.confounding import ConfoundingReport

IMAGE_COLUMNS = (
    "source",
    "path",
    "image_id",
    "label",
    "y_true",
    "given_split",
    "patient_id",
    "lesion_id",
    "width",
    "height",
    "group_id",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one file or one row of metadata; `check` is its kind, `detail` one line."""

    check: str
    source: str
    path: str
    detail: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two sources (or one with itself) share.

    `copies` and `views`: listed pairs of each kind, equal files among the copies. `first_images`,
    `second_images`: how many images of each are in a group that both sources share, `first_melanoma`,
    `second_melanoma`: how many of these are melanoma.
    """

    first: str
    second: str
    copies: int
    views: int
    first_images: int
    second_images: int
    first_melanoma: int
    second_melanoma: int


@dataclass(frozen=True, slots=True)
class Leak:
    """Groups of images that cross a line which they should not.

    `across`: "splits", "sources" or "labels"; `first` and `second` are the two sides. `by`: what ties them:
    "photograph", "lesion", "patient". `groups`: how many cross, `images`: how many images these hold,
    `examples`: row numbers of one image on each side, for some groups.
    """

    across: str
    by: str
    first: str
    second: str
    groups: int
    images: int
    examples: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """All that an audit found.

    `images` has IMAGE_COLUMNS and one row an image that could be read: `path` absolute, `y_true` Int64 with NA
    where unlabelled, `group_id` '' never. `pairs` has `first, second` (row numbers of `images`, first < second),
    `kind` (see `duplicates`), `score`, `change`. `roots`: the folder of each source, which paths in what is
    saved are relative to. `plain`: images too plain to be recognised. `confounding` is None, and
    `no_confounding` says why, when nothing could be measured. `seconds`: time of each stage.
    """

    images: pd.DataFrame
    pairs: pd.DataFrame
    problems: tuple[Problem, ...]
    overlaps: tuple[Overlap, ...]
    leaks: tuple[Leak, ...]
    confounding: ConfoundingReport | None
    no_confounding: str
    plain: int
    notes: tuple[str, ...]
    roots: Mapping[str, str]
    digest: str
    seconds: Mapping[str, float]


def to_plain(record: Problem | Overlap | Leak) -> dict[str, Any]:
    """A record as JSON types."""
    return asdict(record)
