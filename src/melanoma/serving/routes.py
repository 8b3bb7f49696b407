"""What can be asked."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, TypeVar
from zlib import Z_HUFFMAN_ONLY

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image

from melanoma.errors import ImageError, RefusalError
from melanoma.inference import results
from melanoma.inference.bundle import CLASSES
from melanoma.inference.explain import STRENGTH
from melanoma.inference.predictor import Predictor
from melanoma.serving import problems
from melanoma.serving.limits import Limits
from melanoma.serving.live import LiveModel
from melanoma.serving.metrics import MEDIA_TYPE, Metrics
from melanoma.serving.pool import Job, Pool
from melanoma.serving.schemas import Health, Model, Row
from melanoma.serving.uploads import FIELD, IMAGE_TYPES, Uploads
from melanoma.version import __version__

Result = TypeVar("Result")


@dataclass(frozen=True)
class Service:
    """What the routes work with."""

    model: LiveModel
    pool: Pool
    uploads: Uploads
    limits: Limits
    metrics: Metrics

    async def run(self, request: Request, jobs: Sequence[Job[Any, Result]]) -> list[Result]:
        """The results of jobs for one request; see `Pool.run`."""
        gone = request.state.intake.wait_until_gone()
        return await self.pool.run(jobs, self.limits.answer_seconds, gone)


def _get_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(_get_service)]
Strength = Annotated[float, Query(ge=0, le=1, description="Opacity of the heat; 0: the image alone.")]
LongestSide = Annotated[
    int | None,
    Query(ge=16, le=10_000, description="The picture is made smaller where a side is longer, pixels."),
]


def _take_only(*names: str) -> Any:
    """Refuse a request with other query parameters: whoever adds `prevalence` must not believe that it was heeded."""

    def check(request: Request) -> None:
        if unknown := sorted(set(request.query_params) - set(names)):
            known = f"known: {', '.join(names)}" if names else "this address takes none"
            raise RefusalError(f"there is no query parameter {unknown[0]!r}; {known}", 422)

    return Depends(check)


BINARY = {"type": "string", "format": "binary"}


def _describe_body(images: dict[str, Any], note: str) -> dict[str, Any]:
    """The request body for OpenAPI, which cannot be told from a handler that reads the body itself."""
    form = {
        "type": "object",
        "required": [FIELD],
        "properties": {FIELD: images},
        "additionalProperties": False,
    }
    raw = {kind: {"schema": BINARY} for kind in (*IMAGE_TYPES, "application/octet-stream")}
    content = {"multipart/form-data": {"schema": form}, **raw}
    return {"requestBody": {"required": True, "description": note, "content": content}}


def _describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": WORDS[status], "content": content} for status in statuses}


WORDS = {
    400: "The request is no HTTP that can be read.",
    401: "A key is needed.",
    408: "The body took too long to come.",
    413: "Too many bytes or images.",
    415: "No content type that is taken.",
    422: "No image that could be read.",
    429: "Too many requests of this client at once.",
    503: "Busy; Retry-After says when to try again.",
    504: "It took too long.",
}
REFUSALS = _describe_problems(400, 401, 408, 413, 415, 422, 429, 503, 504)
router = APIRouter()


@router.post(
    "/v1/predictions",
    response_model=list[Row],
    responses=REFUSALS,
    dependencies=[_take_only()],
    openapi_extra=_describe_body({"type": "array", "minItems": 1, "items": BINARY}, "One image or several."),
)
async def predict(request: Request, service: Serving) -> Response:
    """Judge images: probability of melanoma, and whether to refer. Research software, not a medical device.

    One row an image, in their order. An image that cannot be read has `error` set; when that is so for all, the answer
    is 422 and the rows stand in its `predictions`.
    """
    predictor = service.model.predictor
    async with service.uploads.reading(request) as uploads:
        jobs = [Job(predictor.predict_files, (one.file, one.content)) for one in uploads]
        rows = await service.run(request, jobs)
    for row in rows:
        service.metrics.images.labels("error" if row.error else str(row.decision)).inc()
    answers = [row.to_dict() for row in rows]
    if all(row.error for row in rows):
        detail = rows[0].error if len(rows) == 1 else f"{len(rows)} of {len(rows)} images could not be read"
        return problems.answer(422, detail, request.state.request_id, predictions=answers)
    return JSONResponse(answers, headers={"X-Prevalence": repr(predictor.prevalence)})


@router.post(
    "/v1/explanations",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": BINARY}}, "description": "The overlay."},
        **REFUSALS,
    },
    dependencies=[_take_only("strength", "longest_side")],
    openapi_extra=_describe_body(
        {"type": "array", "minItems": 1, "maxItems": 1, "items": BINARY}, "One image."
    ),
)
async def explain(
    request: Request, service: Serving, strength: Strength = STRENGTH, longest_side: LongestSide = None
) -> Response:
    """Where the network saw melanoma, laid over one image, as PNG."""
    predictor = service.model.predictor
    async with service.uploads.reading(request, single=True) as uploads:
        draw = partial(_draw, predictor, strength, longest_side)
        (picture,) = await service.run(request, [Job(draw, uploads[0].content)])
    return Response(picture, media_type="image/png", headers={"X-Bundle-Digest": predictor.digest})


@router.get("/v1/model", response_model=Model, responses=_describe_problems(401, 429, 503))
async def describe(service: Serving) -> dict[str, Any]:
    """The bundle that judges at this moment: operating point, versions, hashes, its facts, how often it was right."""
    predictor, limits = service.model.predictor, asdict(service.limits)
    bundle = predictor.bundle
    return {
        "name": bundle.name,
        "bundle_digest": bundle.digest,
        "format_version": bundle.format_version,
        "melanoma_version": __version__,
        "classes": list(CLASSES),
        "operating_point": bundle.operating_point.to_dict(),
        "calibration": bundle.calibration.to_dict(),
        "prevalence": predictor.prevalence,
        "preprocessing": bundle.preprocessing.to_dict(),
        "domain_check": predictor.checks_domain,
        "files": dict(bundle.files),
        "facts": _hide_paths(bundle.facts),
        "results": results.read(bundle),
        "limits": limits,
    }


@router.get("/healthz", response_model=Health)
async def check_health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Health, responses=_describe_problems(503))
async def check_readiness(service: Serving) -> dict[str, str]:
    """The next image would be taken."""
    service.pool.check()
    return {"status": "ready"}


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **_describe_problems(401, 429, 503),
    },
)
async def show_metrics(service: Serving) -> Response:
    """Counters for Prometheus."""
    return Response(service.metrics.render(), media_type=MEDIA_TYPE)


def _draw(
    predictor: Predictor, strength: float, longest_side: int | None, contents: Sequence[bytes]
) -> list[bytes]:
    return [_draw_one(predictor, content, strength, longest_side) for content in contents]


def _draw_one(predictor: Predictor, content: bytes, strength: float, longest_side: int | None) -> bytes:
    try:
        picture = predictor.explain(content, strength=strength, longest_side=longest_side)
    except ImageError as error:
        raise RefusalError(str(error), 422) from error
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", compress_level=1, compress_type=Z_HUFFMAN_ONLY)
    return file.getvalue()


def _hide_paths(value: Any) -> Any:
    """The same with every absolute path cut to its last part: a bundle may say where its trainer's weights lay."""
    if isinstance(value, dict):
        return {key: _hide_paths(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_hide_paths(one) for one in value]
    if isinstance(value, str):
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute():
                return kind(value).name
    return value
