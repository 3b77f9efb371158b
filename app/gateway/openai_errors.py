"""Errors of the OpenAI interface in its own shape, whoever found them: its clients read no other."""

import re
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, jsonify, request

from app.services.openai_refusal import Refused

_PATHS = re.compile(r"/v1/(chat/completions|responses|models)(/.*)?")
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_BAD_FORM = 422


def is_openai(path: str) -> bool:
    """Whether this path belongs to the OpenAI interface."""
    return _PATHS.fullmatch(path) is not None


def speak_openai(app: Flask) -> None:
    """Translate every problem that a route of this interface answers with."""
    app.register_error_handler(Refused, _refused)

    @app.after_request
    def translate(response: Response) -> Response:
        if response.mimetype == "application/problem+json" and is_openai(request.path):
            _translate(response)
        return response


def error_of(error: Refused) -> dict[str, Any]:
    """What a stream, too, says of an error."""
    return _error(error.status, str(error), error.param, error.code)


def _refused(error: Refused) -> Response:
    response = jsonify(error_of(error))
    response.status_code = error.status
    # What was refused would be refused again; and where the message had been kept, it would be kept twice.
    response.headers["X-Should-Retry"] = "false"
    return response


def _translate(response: Response) -> None:
    problem = response.get_json()
    status = 400 if response.status_code == _BAD_FORM else response.status_code
    translated = jsonify(_error(status, problem["detail"], _param(problem), None))
    response.status_code = status
    response.mimetype = "application/json"
    response.set_data(translated.get_data())


def _param(problem: Mapping[str, Any]) -> str | None:
    places = [error["loc"] for error in problem.get("errors", ())]
    return ".".join(places[0][1:]) if places else None


def _error(status: int, message: str, param: str | None, code: str | None) -> dict[str, Any]:
    kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
