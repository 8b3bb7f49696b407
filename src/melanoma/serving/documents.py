"""The API described: `/docs`, and what `/openapi.json` lacks without help."""

from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from melanoma.serving.schemas import Problem

PAGE = Path(__file__).parent / "docs"


def add(app: FastAPI, *, asks_for_keys: bool) -> None:
    """Swagger UI from files of this installation, begun by a script of its own, as the security policy wants."""
    swagger = Path(str(resources.files("fastapi_offline"))) / "static"
    parts = {
        "docs.js": PAGE / "docs.js",
        "swagger-ui-bundle.js": swagger / "swagger-ui-bundle.js",
        "swagger-ui.css": swagger / "swagger-ui.css",
    }

    @app.get("/docs", include_in_schema=False)
    async def show_documents() -> FileResponse:
        return FileResponse(PAGE / "docs.html", media_type="text/html")

    @app.get("/docs/{name}", include_in_schema=False)
    async def send_part(name: str) -> FileResponse:
        if name not in parts:
            raise HTTPException(404)
        return FileResponse(parts[name])

    _complete_schema(app, asks_for_keys)


def _complete_schema(app: FastAPI, asks_for_keys: bool) -> None:
    """Put into the schema how keys are given, and what a problem looks like: FastAPI takes models for JSON only."""
    describe = app.openapi

    def describe_all() -> dict[str, Any]:
        schema = describe()
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
        if asks_for_keys:
            schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"key": []}]
        return schema

    app.openapi = describe_all  # type: ignore[method-assign]
