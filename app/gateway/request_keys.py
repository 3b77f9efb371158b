"""The `Idempotency-Key` of a request that creates something."""

from collections.abc import Mapping

from flask import Response, jsonify, request
from pydantic import BaseModel

from app.domain.conversation import RequestKey
from app.gateway.problems import BadRequest
from app.services.message_form import MAX_KEY_LENGTH, request_key

REPEATABLE = {"Idempotency-Key": "Send the same key again to get the first answer again (24 h)"}
"""What the documentation of such a route says of the header."""


def key_of(body: BaseModel, tenant: str) -> RequestKey | None:
    """The key that came with this request, in the scope of its route and tenant; None where there is none."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise BadRequest(422, f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable characters")
    return request_key(key, f"{request.method} {request.path}", body, tenant)


def repeatable(body: Mapping[str, object], replayed: bool, status: int = 200) -> Response:
    """The answer to such a request, marked where it is the first one's again."""
    answer = jsonify(body)
    answer.status_code = status
    return marked(answer, replayed)


def marked(answer: Response, replayed: bool) -> Response:
    """The same for an answer that stands already."""
    if replayed:
        answer.headers["Idempotent-Replayed"] = "true"
    return answer
