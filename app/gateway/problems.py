"""Every error as `application/problem+json`, with a sentence for people and nothing internal."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from app.adapters.http.websocket import ForeignOrigin
from app.domain.errors import Conflict, NotFound, PolicyDenied, Rejected, Retryable
from app.domain.rate_limit import OverLimit, Verdict

_RETRY_AFTER_SECONDS = 2.0
_log = logging.getLogger(__name__)

_SENTENCES = {
    400: "The request could not be understood.",
    404: "There is nothing here. GET /docs lists what there is.",
    405: "This address does not know that method. GET /docs lists what it knows.",
    413: "The request is larger than this server takes.",
}


class BadRequest(Rejected):
    """The request is wrong in form; `status` says how, `errors` where."""

    def __init__(self, status: int, detail: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = errors


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, errors: Sequence[Mapping[str, Any]] = ()
) -> Response:
    """The answer for one error (RFC 9457)."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": g.get("request_id", ""),
    }
    if errors:
        body["errors"] = list(errors)
    return Response(json.dumps(body), status, dict(headers or {}), mimetype="application/problem+json")


def handle_errors(app: Flask) -> None:
    """Translate the families of errors into answers; a 500 is a defect and is logged with its trace."""
    app.register_error_handler(BadRequest, _bad_request)
    app.register_error_handler(ForeignOrigin, lambda error: problem(403, str(error)))
    app.register_error_handler(NotFound, lambda error: problem(404, sentence(error)))
    app.register_error_handler(Conflict, lambda error: problem(409, sentence(error)))
    app.register_error_handler(PolicyDenied, lambda error: problem(403, sentence(error)))
    app.register_error_handler(Rejected, lambda error: problem(422, sentence(error)))
    app.register_error_handler(OverLimit, _over_limit)
    app.register_error_handler(Retryable, _retryable)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _defect)


def sentence(error: Exception) -> str:
    """What the error says, as a sentence for people, and another one that says when to try again."""
    text = str(error)
    said = f"{text[:1].upper()}{text[1:]}." if text and text[-1] not in ".!?" else text
    return f"{said} Try again in {_wait_seconds(error)} s." if isinstance(error, Retryable) else said


def _wait_seconds(error: Retryable) -> int:
    return ceil(error.retry_after or _RETRY_AFTER_SECONDS)


def _bad_request(error: BadRequest) -> Response:
    return problem(error.status, sentence(error), errors=error.errors)


def _retryable(error: Retryable) -> Response:
    _log.warning("503: %s", error)
    return problem(503, sentence(error), {"Retry-After": str(_wait_seconds(error))})


def _over_limit(error: OverLimit) -> Response:
    headers = {"Retry-After": str(_wait_seconds(error))} | (rate_headers(error.verdict) if error.verdict else {})
    return problem(429, sentence(error), headers)


def rate_headers(verdict: Verdict) -> dict[str, str]:
    """What a caller may still do, and after how many seconds everything again."""
    return {
        "RateLimit-Limit": str(verdict.rate.tokens),
        "RateLimit-Remaining": str(verdict.remaining),
        "RateLimit-Reset": str(ceil(verdict.owed)),
    }


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    headers = {"Allow": ", ".join(error.valid_methods or ())} if isinstance(error, MethodNotAllowed) else {}
    if isinstance(error, RequestEntityTooLarge):
        headers["Connection"] = "close"
    return problem(status, _SENTENCES.get(status, HTTPStatus(status).description or "The request failed."), headers)


def _defect(error: Exception) -> Response:
    _log.error("a defect: %s", error, exc_info=error)
    return problem(500, "Something is wrong in this server; the request id helps to find it in the log.")
