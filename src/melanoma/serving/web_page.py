"""The page for people, at `/`: fixed files, no build step, nothing from elsewhere."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}  # and not what the machine's own table says
HEADERS = {"Cache-Control": "no-cache"}  # asked for again after an update of the server


def add(app: FastAPI) -> None:
    """Routes for the page and its parts."""
    parts = {path.name: path for path in PAGE.iterdir() if path.suffix in TYPES}

    index = parts.pop("index.html")

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def show_page() -> FileResponse:
        return _send(index)

    @app.api_route("/page/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def send_page_part(name: str) -> FileResponse:
        if name not in parts:
            raise HTTPException(404)
        return _send(parts[name])


def _send(path: Path) -> FileResponse:
    return FileResponse(path, media_type=TYPES[path.suffix], headers=HEADERS)
