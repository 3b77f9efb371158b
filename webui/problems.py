"""Error answers of the page's server, in the gateway's form: `application/problem+json` with a sentence for people."""

import json
from http import HTTPStatus

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.adapters.http.websocket import ForeignOrigin
from app.domain.errors import Conflict, KeyReused, NotFound, Rejected, Retryable
from webui.local import BadMessage

_STATUS: dict[type[Rejected], int] = {ForeignOrigin: 403, NotFound: 404, Conflict: 409, KeyReused: 422, BadMessage: 422}


def problem(status: int, detail: str, retry_after: float | None = None) -> Response:
    """One problem answer; `retry_after` in seconds."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": g.get("request_id", ""),
    }
    answer = Response(json.dumps(body), status, content_type="application/problem+json")
    if retry_after is not None:
        answer.headers["Retry-After"] = str(max(1, round(retry_after)))
    return answer


def _retryable(error: Retryable) -> Response:
    return problem(503, str(error), error.retry_after or 2)


def _rejected(error: Rejected) -> Response:
    kinds = (status for kind, status in _STATUS.items() if isinstance(error, kind))
    return problem(next(kinds, 400), str(error))


def _too_large(_error: RequestEntityTooLarge) -> Response:
    return problem(413, "the request is larger than this server takes")


def _http(error: HTTPException) -> Response:
    return problem(error.code or 500, error.description or "the request could not be answered")


def speak_problems(app: Flask) -> None:
    """Every error of this app leaves as a problem."""
    app.register_error_handler(Retryable, _retryable)
    app.register_error_handler(Rejected, _rejected)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(HTTPException, _http)
