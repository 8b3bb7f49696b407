"""The app: routes, limits and what stands around them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.routing import Route

from melanoma.errors import RefusalError
from melanoma.inference.predictor import Predictor
from melanoma.serving import documents, problems, web_page
from melanoma.serving.gate import Gate
from melanoma.serving.keys import Keys
from melanoma.serving.limits import Limits
from melanoma.serving.live import LiveModel, Load
from melanoma.serving.metrics import Metrics
from melanoma.serving.observer import Observer
from melanoma.serving.pool import Pool
from melanoma.serving.routes import Service, router
from melanoma.serving.uploads import Uploads
from melanoma.version import __version__

WORDS = {404: "nothing is here", 405: "not with this method"}


def create_app(
    predictor: Predictor,
    *,
    load: Load | None = None,
    workers: int = 1,
    micro_batch: int = 1,
    limits: Limits | None = None,
    keys: Keys | None = None,
    origins: Sequence[str] = (),
) -> FastAPI:
    """A server for one predictor, as an ASGI app.

    `load` gives the predictor that `app.state.service.model.reload()` puts in its place; `workers` images are judged
    at once; with `keys` every request must carry one; pages of `origins` may call it from a browser.
    """
    limits = limits or Limits()
    pool = Pool(workers, limits.max_waiting, micro_batch)
    metrics = Metrics(lambda: pool.waiting)
    service = Service(LiveModel(predictor, load), pool, Uploads(limits), limits, metrics)
    app = FastAPI(
        title="melanoma",
        version=__version__,
        description="Finds melanoma in dermoscopic images. Research software, not a medical device.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_finish,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    app.include_router(router)
    web_page.add(app)
    documents.add(app, asks_for_keys=keys is not None)
    _add_problems(app)
    _surround(app, service, keys, origins)
    return app


@asynccontextmanager
async def _finish(app: FastAPI) -> AsyncIterator[None]:
    """At the end no request is under way any more, and what they left begins no more."""
    yield
    app.state.service.pool.close()


def _surround(app: FastAPI, service: Service, keys: Keys | None, origins: Sequence[str]) -> None:
    """What stands around the routes, from the inside out."""
    limits = service.limits
    app.add_middleware(Gate, limits=limits, keys=keys, pool=service.pool)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "X-Bundle-Digest", "X-Prevalence", "Retry-After"],
        )
    routes = frozenset(route.path for route in (*router.routes, *app.routes) if isinstance(route, Route))
    app.add_middleware(Observer, routes=routes, metrics=service.metrics, max_body=limits.max_body)


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(RefusalError)
    async def refuse(request: Request, error: RefusalError) -> Response:
        return problems.answer_refusal(error, request.state.request_id)

    @app.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError) -> Response:
        wrong = error.errors()[0]
        detail = f"{wrong['loc'][-1]}: {wrong['msg']}; /docs says what can be asked"
        return problems.answer(422, detail, request.state.request_id)

    @app.exception_handler(HTTPException)
    async def say(request: Request, error: HTTPException) -> Response:
        words = WORDS.get(error.status_code, "the request cannot be read")
        headers = dict(error.headers or {})
        return problems.answer(
            error.status_code, f"{words}; /docs says what can be asked", request.state.request_id, headers
        )
