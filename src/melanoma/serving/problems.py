"""Errors as RFC 9457 has them, in the words of the command line."""

from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from melanoma.errors import RefusalError

MEDIA_TYPE = "application/problem+json"


def answer(
    status: int,
    detail: str,
    request_id: str,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    """A problem; `members` stand in it beside those of the standard."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id,
        **members,
    }
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def answer_refusal(refusal: RefusalError, request_id: str, **members: Any) -> JSONResponse:
    """The problem that a refusal is, with the headers that its status asks for."""
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return answer(refusal.status, str(refusal), request_id, headers, **members)
