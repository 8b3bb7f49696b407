"""Images of the ISIC Archive, with metadata, attribution and licences beside them."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from melanoma.data.download import folder as folders
from melanoma.data.download import papers
from melanoma.data.download.archive import API, Entry, Page, find_collection, list_pages
from melanoma.data.download.folder import Result
from melanoma.data.download.http import CONNECTIONS, Http, UnavailableError, UnsoundBodyError
from melanoma.data.download.threads import in_parallel
from melanoma.errors import ConfigError, DownloadError, ImageError
from melanoma.inference import images

_GIVE_UP = 10  # images in a row that the server did not bring

Outcome = bool | DownloadError  # True: fetched, False: there already, else why it is not


def download(
    output: Path,
    *,
    collection: int | None = None,
    search: str | None = None,
    limit: int | None = None,
    size: str = "full",
    api: str = API,
    progress: Callable[[int, int], object] | None = None,
    http: Http | None = None,
) -> Result:
    """Fetch a collection, a search or both into `output`; what is there already is not fetched again.

    `search` in the Archive's query language, `size` "full" or "thumbnail" (256 pixels). Leaves `images/`,
    `metadata.csv`, `attribution.csv`, `LICENCES.md` and `download.json`. An image that cannot be fetched is in
    the result's `failed`. Raises ConfigError, OutputError, and DownloadError when nothing can be fetched or the
    server gives up on the way.
    """
    if collection is None and not search and limit is None:
        raise ConfigError("that would be the whole ISIC Archive; name a collection, a search or a limit")
    request = {"source": "isic", "collection": collection, "search": search or None, "size": size}
    folders.check(output, request)
    api = api.rstrip("/")
    with http or Http() as client:
        title = _name(client, api, collection, search)
        filling = _Filling(output, client, progress)
        pages = list_pages(client, api, collection=collection, search=search, size=size, limit=limit)
        try:
            for page in pages:
                filling.begin(page, request)
                filling.add(page)
        except DownloadError as error:
            raise type(error)(f"{error}{filling.describe()}") from error
        finally:
            licences = papers.write(output, title, filling.rows)
    if not filling.rows:
        raise DownloadError(f"not one image could be fetched: {filling.failed[0][1]}")
    present = len(filling.rows) - filling.fetched
    return Result(output, title, filling.fetched, present, filling.failed, licences)


@dataclass(slots=True)
class _Filling:
    """A folder being filled: metadata of the images that are there, by isic_id, and what failed."""

    folder: Path
    http: Http
    progress: Callable[[int, int], object] | None
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    fetched: int = 0
    unavailable: int = 0  # in a row
    begun: bool = False

    def begin(self, page: Page, request: Mapping[str, object]) -> None:
        """Take the folder when the first page has come. Raises DownloadError when there is nothing to fetch."""
        if self.begun:
            return
        if not page.entries:
            raise DownloadError("the ISIC Archive has no public image that fits")
        folders.claim(self.folder, request)
        self.begun = True

    def add(self, page: Page) -> None:
        """Fetch the images of a page. Raises UnavailableError when the server brings nothing any more."""
        work = in_parallel(self._obtain, page.entries, self.http.stop, threads=CONNECTIONS)
        with closing(work):
            for entry, outcome in work:
                self._note(entry, outcome)
                done = len(self.rows) + len(self.failed)
                if self.progress:
                    self.progress(done, max(done, page.total or 0))

    def describe(self) -> str:
        """What is there when the download breaks off."""
        count = len(self.rows)
        return f"; {count:,} images are there, the same command goes on" if count else ""

    def _note(self, entry: Entry, outcome: Outcome) -> None:
        self.unavailable = self.unavailable + 1 if isinstance(outcome, UnavailableError) else 0
        if self.unavailable == _GIVE_UP:
            raise UnavailableError(str(outcome))
        if isinstance(outcome, DownloadError):
            self.failed.append((entry.isic_id, str(outcome)))
        else:
            self.fetched += outcome
            self.rows[entry.isic_id] = entry.row

    def _obtain(self, entry: Entry) -> Outcome:
        if entry.wrong:
            return DownloadError(entry.wrong)
        path = self.folder / "images" / entry.file_name
        if _is_whole(path, entry.size):
            return False
        folders.discard(path)
        try:
            folders.save(path, self.http.fetch(entry.url, lambda body: _check_image(body, entry.size)))
        except DownloadError as error:
            return error
        return True


def _name(http: Http, api: str, collection: int | None, search: str | None) -> str:
    """What is fetched, in words. Raises DownloadError when the collection does not exist."""
    parts = []
    if collection is not None:
        known = find_collection(http, api, collection)
        said = ", ".join(text for text in (known.name, known.doi) if text)
        parts.append(f"collection {collection}{f' ({said})' if said else ''}")
    if search:
        parts.append(f"search {folders.tidy(search)!r}")
    return f"ISIC Archive, {' and '.join(parts) or 'all images'}"


def _is_whole(path: Path, size: int | None) -> bool:
    """Whether an earlier call left the image: of the stated size, and one that can be decoded."""
    try:
        if size is not None and path.stat().st_size != size:
            return False
        images.load(path)
    except (OSError, ImageError):
        return False
    return True


def _check_image(body: bytes, size: int | None) -> bytes:
    """The body, if it is a whole image of so many bytes. Raises UnsoundBodyError."""
    if size is not None and len(body) != size:
        raise UnsoundBodyError(f"{len(body):,} bytes came in place of {size:,}")
    try:
        images.decode(body)
    except ImageError as error:
        raise UnsoundBodyError(str(error)) from error
    return body
