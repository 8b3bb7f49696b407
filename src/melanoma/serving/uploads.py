"""The images in the body of a request."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from melanoma.errors import RefusalError
from melanoma.inference.sources import ImageFile
from melanoma.serving.gate import refuse_body
from melanoma.serving.limits import Limits

FIELD = "files"
IMAGE_TYPES = (
    "image/jpeg",
    "image/png",
    "image/bmp",
    "image/tiff",
    "image/webp",
    "image/gif",
    "application/dicom",
)
RAW_TYPES = frozenset({*IMAGE_TYPES, "image/jpg", "application/octet-stream"})


@dataclass(frozen=True, slots=True)
class Upload:
    """One image: what the client calls it, and its bytes."""

    file: ImageFile
    content: bytes = field(repr=False)


@dataclass(slots=True)
class _Share:
    """What one request holds of the memory for all, bytes."""

    bytes: int = 0


class Uploads:
    """Reads bodies, and knows how many bytes of them are held at this moment."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def reading(self, request: Request, *, single: bool = False) -> AsyncGenerator[list[Upload]]:
        """The images of a request, just one if `single`, whose bytes count as held while the context lasts.

        Raises RefusalError when the body is not one of images, too large, too many, or too slow.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data" and kind not in RAW_TYPES:
            raise RefusalError(
                f"send multipart/form-data with the field {FIELD}, or one image as image/jpeg or the like",
                415,
            )
        share = _Share()
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                body = self._receive(request, share)
                form = kind == "multipart/form-data"
                uploads = await (self._read_form(request, body, single) if form else _read_raw(body))
            if not uploads:
                raise RefusalError(f"no image; give at least one in the field {FIELD}", 422)
            request.state.images = len(uploads)
            yield uploads
        except TimeoutError as error:
            request.state.intake.late = True
            raise RefusalError(
                f"the body took more than {self._limits.read_seconds:g} seconds", 408
            ) from error
        except ClientDisconnect as error:  # nobody will read it; it is for the log
            raise RefusalError("the client has gone", 400) from error
        finally:
            self._held -= share.bytes

    async def _receive(self, request: Request, share: _Share) -> AsyncGenerator[bytes]:
        """The body's parts; what they take is added to `share`."""
        async for chunk in request.stream():
            if share.bytes + len(chunk) > self._limits.max_body:
                raise refuse_body(self._limits)
            if self._held + len(chunk) > self._limits.max_memory:
                raise RefusalError("too many images are coming in at once; try again later", 503, 1)
            self._held += len(chunk)
            share.bytes += len(chunk)
            yield chunk

    async def _read_form(self, request: Request, body: AsyncGenerator[bytes], single: bool) -> list[Upload]:
        most = 1 if single else self._limits.max_files
        parser = MultiPartParser(request.headers, body, max_files=most, max_fields=0)
        parser.spool_max_size = self._limits.max_body + 1  # images of patients never touch the disk
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise _explain(error, most) from error
        try:
            return [await _read_part(name, part) for name, part in form.multi_items()]
        finally:
            await form.close()


def _explain(error: MultiPartException, most: int) -> RefusalError:
    if error.message.startswith("Too many files"):
        if most == 1:
            return RefusalError("give one image, not several", 422)
        return RefusalError(f"more than {most} images; send fewer at once", 413)
    if error.message.startswith("Too many fields"):
        return _refuse_field()
    return RefusalError("the body is no whole multipart/form-data; send it again", 422)


async def _read_part(name: str, part: UploadFile | str) -> Upload:
    if name != FIELD or isinstance(part, str):
        raise _refuse_field()
    called = PurePosixPath(PureWindowsPath(part.filename or "").name)
    return Upload(ImageFile("", str(called) if part.filename else "", called.stem), await part.read())


async def _read_raw(body: AsyncGenerator[bytes]) -> list[Upload]:
    return [Upload(ImageFile("", "", ""), b"".join([chunk async for chunk in body]))]


def _refuse_field() -> RefusalError:
    return RefusalError(f"a form must hold image files in the field {FIELD}, and nothing else", 422)
