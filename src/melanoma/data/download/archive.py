"""The ISIC Archive's public API, version 2: what a collection or a search holds. https://api.isic-archive.com/api/docs"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from melanoma.data.download.folder import tidy
from melanoma.data.download.http import Http, NotFoundError
from melanoma.errors import DownloadError
from melanoma.inference.images import SUFFIXES

API = "https://api.isic-archive.com/api/v2"
PAGE = 100  # the most that the Archive gives at once
SIZES = {"full": "full", "thumbnail": "thumbnail_256"}
_REPEATS = 3  # pages in a row with nothing new before a listing counts as going round in circles
_SUFFIX = re.compile(r"\.[A-Za-z]+(?=[?#]|$)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection's `name` and `doi`, '' when it has none."""

    name: str
    doi: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a listing: `size` in bytes, None when not stated; `row` its metadata, flat.

    `wrong` says why it cannot be fetched, '' when it can.
    """

    isic_id: str
    url: str
    size: int | None
    row: dict[str, str]
    wrong: str = ""

    @property
    def file_name(self) -> str:
        """Name of the image file: never more than a name, whatever the server says."""
        found = _SUFFIX.search(self.url)
        suffix = found[0].lower() if found else ""
        return f"{self.isic_id}{suffix if suffix in SUFFIXES else '.jpg'}"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing; `total` is how many images the whole of it has, None when not stated."""

    entries: list[Entry]
    total: int | None


def find_collection(http: Http, api: str, number: int) -> Collection:
    """What the Archive says of a collection. Raises DownloadError when it shows none with that number."""
    try:
        answer = http.fetch_json(f"{api}/collections/{number}/")
    except NotFoundError as error:
        raise DownloadError(f"the Archive has no public collection {number} ({error})") from error
    if not isinstance(answer, dict):
        raise _unexpected(api)
    return Collection(tidy(answer.get("name")), tidy(answer.get("doi_url") or answer.get("doi")))


def list_pages(
    http: Http, api: str, *, collection: int | None, search: str | None, size: str, limit: int | None
) -> Iterator[Page]:
    """The images of a collection, of a search, or of both, each once, at most `limit`.

    Raises DownloadError, also for a listing that goes round in circles.
    """
    query: dict[str, str | int] = {"limit": min(limit or PAGE, PAGE)}
    query |= {"query": search} if search else {}
    query |= {"collections": collection} if collection is not None else {}
    params: dict[str, str | int] | None = query
    url, seen, total, idle = f"{api}/images/search/", set[str](), None, 0
    while url:
        answer = _check_page(http.fetch_json(url, params), api)
        count = answer.get("count")
        total = count if total is None and isinstance(count, int) else total
        entries = [_read_entry(record, number, size) for number, record in enumerate(answer["results"], 1)]
        fresh = {entry.isic_id: entry for entry in entries if entry.isic_id not in seen}
        kept = list(fresh.values())[: None if limit is None else limit - len(seen)]
        seen.update(fresh)
        yield Page(kept, total if limit is None or total is None else min(total, limit))
        idle = 0 if fresh else idle + 1
        if answer["next"] is None or (limit is not None and len(seen) >= limit):
            return
        if idle == _REPEATS:
            raise DownloadError(f"the Archive's listing goes round in circles after {len(seen):,} images")
        url, params = _join(url, answer["next"]), None  # httpx: {} would take the cursor away


def _join(url: str, following: str) -> str:
    try:
        return urljoin(url, following)
    except ValueError as error:
        raise DownloadError(
            f"the Archive's listing goes on at {tidy(following)[:80]!r}, no address"
        ) from error


def _check_page(answer: Any, api: str) -> dict[str, Any]:
    """The answer, if it is a page of a listing. Raises DownloadError."""
    if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
        raise _unexpected(api)
    following = answer.setdefault("next", None)
    if following is not None and not isinstance(following, str):
        raise _unexpected(api)
    return answer


def _unexpected(api: str) -> DownloadError:
    return DownloadError(f"{api} does not answer as the ISIC Archive's API version 2 does")


def _read_entry(record: Any, number: int, size: str) -> Entry:
    """One record of a page; what it lacks is said in `wrong`."""
    record = record if isinstance(record, dict) else {}
    isic_id = record.get("isic_id")
    if not isinstance(isic_id, str) or not _NAME.fullmatch(isic_id):
        shown = tidy(isic_id)[:80] or f"number {number} of a page"
        return Entry(shown, "", None, {}, "its isic_id is missing or could not be a file's name")
    row = _flatten(record)
    files = record.get("files")
    file = files.get(SIZES[size]) if isinstance(files, dict) else None
    url = file.get("url") if isinstance(file, dict) else None
    if not isinstance(file, dict) or not isinstance(url, str) or not url:
        return Entry(isic_id, "", None, row, f"the Archive names no {size} file")
    stated = file.get("size")
    return Entry(isic_id, url, stated if isinstance(stated, int) and stated > 0 else None, row)


def _flatten(record: Mapping[str, Any]) -> dict[str, str]:
    """Metadata in the columns of the Archive's own CSV, which has no groups such as `clinical`."""
    row = {name: tidy(record.get(name)) for name in ("isic_id", "attribution", "copyright_license")}
    metadata = record.get("metadata")
    groups = metadata.values() if isinstance(metadata, dict) else []
    for group in groups:
        for name, value in group.items() if isinstance(group, dict) else ():
            row.setdefault(tidy(name).lower(), tidy(value))
    return row
