"""A small server that speaks the ISIC Archive's API version 2 and misbehaves when told to."""

import io
import json
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

Fault = Callable[["Handler", bytes], None]


def jpeg(seed: int, side: int = 48) -> bytes:
    """A JPEG of a few thousand bytes, different for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with another status."""
    return lambda handler, _: handler.answer(
        code, body, **{key.replace("_", "-"): text for key, text in headers.items()}
    )


def drop(handler: "Handler", body: bytes) -> None:
    """Promise the whole body and hang up in the middle of it."""
    handler.answer(200, body[: len(body) // 2], Content_Length=str(len(body)))


def truncate(handler: "Handler", body: bytes) -> None:
    """Half of the body, as if it were the whole of it."""
    handler.answer(200, body[: len(body) // 2])


def understate(handler: "Handler", body: bytes) -> None:
    """The whole body under a Content-Length that is too small."""
    handler.answer(200, body, Content_Length=str(len(body) // 2))


def stall(handler: "Handler", body: bytes) -> None:
    """Send a little, then nothing."""
    handler.answer(200, body[:10], Content_Length=str(len(body)))
    handler.archive.released.wait(20)


def html(handler: "Handler", _: bytes) -> None:
    """An error page that claims to be fine."""
    handler.answer(200, b"<html>come back later</html>")


def hang_up(handler: "Handler", _: bytes) -> None:
    """Close without a word."""


class Archive:
    """What the server holds: `records` and `files`; `faults` by path, each used once, and what was asked."""

    def __init__(self, count: int = 5) -> None:
        self.page_size = 2
        self.released = threading.Event()
        self.files: dict[str, bytes] = {}
        self.records: list[dict] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.change_page: Callable[[dict, int], object] = lambda page, start: None
        self.address = ""
        for number in range(count):
            self.add(number)

    def add(self, number: int) -> dict:
        isic_id, body = f"ISIC_{number:07d}", jpeg(number)
        self.files[f"/files/{isic_id}.jpg"] = body
        self.files[f"/thumbnails/{isic_id}.jpg"] = thumbnail = jpeg(number, 32)
        self.records.append(
            {
                "isic_id": isic_id,
                "copyright_license": "CC-BY-NC" if number else "CC-0",
                "attribution": "Hospital Clínic de Barcelona" if number % 2 else "MSK | anonymous",
                "public": True,
                "metadata": {
                    "acquisition": {"pixels_x": 48, "pixels_y": 48, "image_type": "dermoscopic"},
                    "clinical": {
                        "age_approx": 45,
                        "sex": "female",
                        "anatom_site_general": "lower extremity",
                        "lesion_id": f"IL_{number // 2}",
                        "patient_id": f"IP_{number // 3}",
                        "diagnosis_1": "Malignant" if number % 2 else "Benign",
                        "diagnosis_3": "Melanoma in situ" if number % 2 else "Nevus",
                        "melanocytic": True,
                    },
                },
                "files": {
                    "full": {"url": f"/files/{isic_id}.jpg", "size": len(body)},
                    "thumbnail_256": {"url": f"/thumbnails/{isic_id}.jpg", "size": len(thumbnail)},
                },
            }
        )
        return self.records[-1]

    def count_asked(self, part: str) -> int:
        return sum(part in path for path in self.asked)

    def respond(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        if path == "/api/v2/images/search/":
            return 200, json.dumps(self._page(query)).encode()
        if path == "/api/v2/collections/7/":
            return 200, json.dumps({"id": 7, "name": "Seven", "doi": "10.1/7", "doi_url": None}).encode()
        if path in self.files:
            return 200, self.files[path]
        return 404, b'{"detail": "Not Found"}'

    def _page(self, query: dict[str, str]) -> dict:
        start = int(query.get("cursor", 0))
        end = start + min(int(query.get("limit", self.page_size)), self.page_size)
        results = json.loads(json.dumps(self.records[start:end]))
        if query.get("query") == "nothing":
            results = []
        for record in results:
            for file in record.get("files", {}).values():
                if str(file["url"]).startswith("/"):
                    file["url"] = self.address + file["url"]
        more = end < len(self.records) and bool(results)
        following = f"{self.address}/api/v2/images/search/?cursor={end}" if more else None
        page = {
            "count": len(self.records) if start == 0 else None,
            "next": following,
            "previous": None,
            "results": results,
        }
        self.change_page(page, start)
        return page


class Handler(BaseHTTPRequestHandler):
    archive: Archive

    def do_GET(self) -> None:
        archive, path = self.archive, urlsplit(self.path).path
        with archive.lock:
            archive.asked.append(self.path)
            archive.agents.add(self.headers["User-Agent"])
            archive.at_once += 1
            archive.most_at_once = max(archive.most_at_once, archive.at_once)
            fault = archive.faults[path].pop(0) if archive.faults[path] else None
        query = {name: texts[0] for name, texts in parse_qs(urlsplit(self.path).query).items()}
        code, body = archive.respond(path, query)
        with suppress(ConnectionError):
            if fault:
                fault(self, body)
            else:
                self.answer(code, body)
        with archive.lock:
            archive.at_once -= 1

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, text in {
            "Content-Length": str(len(body)),
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@contextmanager
def serve(archive: Archive):
    """The address of the API while the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"archive": archive}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    archive.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield f"{archive.address}/api/v2"
    finally:
        archive.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
