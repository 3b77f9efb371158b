"""The gateway's own routes as the page sees them: under our origin, with the caller's cookies."""

from flask import Blueprint, Response, current_app, request

from app.adapters.http.open_streams import Slot
from webui.conversation import browser_left
from webui.gateway import Answer
from webui.parts import Parts
from webui.passing import answer_as_ours, call_for
from webui.relay import pass_on

through = Blueprint("through", __name__)
_IMPORT = "sessions/import"


@through.route("/v1/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def api(rest: str) -> Response:
    """Any call of the gateway's API."""
    if {".", ".."} & set(rest.split("/")):
        return Response(status=404)
    if rest == _IMPORT:
        request.max_content_length = current_app.config["SESSION_IMPORT_MAX_BYTES"]
    return _pass(f"/v1/{rest}")


@through.get("/ui/config.json")
def configuration() -> Response:
    """The values in force."""
    return _pass("/ui/config.json")


def _pass(path: str) -> Response:
    parts: Parts = current_app.extensions["webui"]
    upstream = parts.gateway.send(call_for(request, path))
    left = browser_left()
    if not upstream.content_type.startswith("text/event-stream"):
        return answer_as_ours(upstream, upstream.pieces())
    slot = _slot_or_close(parts, upstream)
    answer = answer_as_ours(upstream, pass_on(upstream, left, parts.watch))
    answer.call_on_close(slot.release)
    return answer


def _slot_or_close(parts: Parts, upstream: Answer) -> Slot:
    try:
        return parts.slots.take()
    except BaseException:
        upstream.close()
        raise
