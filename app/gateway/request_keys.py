"""The `Idempotency-Key` of a request that creates something."""

from flask import request

from app.domain.conversation import RequestKey
from app.gateway.problems import BadRequest
from app.services.message_form import MAX_KEY_LENGTH, Keyed, request_key


def key_of(form: Keyed, default_tenant: str) -> RequestKey | None:
    """The key that came with this request, in the scope of its route; None where there is none."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise BadRequest(422, f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable characters")
    return request_key(key, f"{request.method} {request.path}", form, default_tenant)
