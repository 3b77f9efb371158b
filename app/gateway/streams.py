"""A session's stream as server-sent events and as a websocket; both carry the same items and cursors."""

import socket
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from typing import Annotated, Any

from flask import Flask, Response, g, request
from flask_sock import Sock
from pydantic import Field

from app.adapters.http.open_streams import STOPPING, bound_sending, client_left, client_socket
from app.adapters.http.websocket import SOCK_SERVER_OPTIONS, SafeSocket, check_upgrade, is_upgrade
from app.domain.audience import crowds_of
from app.domain.errors import NotFound, Retryable, SlowReader
from app.domain.long_items import as_line
from app.gateway.api import Area, Query
from app.gateway.conversation import known_session
from app.gateway.room import room
from app.services.follow_session import follow_session
from app.telemetry.metrics import STREAMS_OPEN

streams = Area("streams")
_PING = ": ping\n\n"
_CLOSE_GONE, _CLOSE_SLOW, _CLOSE_RESTART = 4404, 4408, 1012


class StreamQuery(Query):
    """Where to begin."""

    after: Annotated[str, Field(max_length=64)] = ""


@streams.route(
    "GET",
    "/v1/session/<session_id>/events",
    "The session's stream as server-sent events; resumes from Last-Event-ID or ?after=",
    query=StreamQuery,
    answer="text/event-stream",
    errors=(404, 422, 429, 503),
    headers={"Last-Event-ID": "The cursor to resume from"},
)
def follow_as_sse(session_id: str, query: StreamQuery) -> Response:
    """Open the stream; it ends only when the reader leaves or this process restarts."""
    if room().serving.settings.gateway_disable_sse:
        raise NotFound("server-sent events are switched off here; use the websocket")
    after = request.headers.get("Last-Event-ID") or query.after
    sock = client_socket(request.environ)
    if sock is not None:
        bound_sending(sock)
    place = _take_place(session_id)
    items = follow_session(session_id, after, room().serving.stream_room, lambda: _is_over(sock))
    response = Response(_as_sse(items), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
    response.call_on_close(place.close)
    return response


def _take_place(session_id: str) -> ExitStack:
    """A place among the streams of this process, of the session and of its tenant; closing it gives it back."""
    tenant, settings = known_session(session_id), room().serving.settings
    limits = settings.gateway_max_session_streams, settings.gateway_max_tenant_streams
    with ExitStack() as place:
        place.callback(room().slots.take().release)
        place.callback(room().serving.audience.enter(crowds_of(session_id, tenant, *limits)))
        return place.pop_all()


def _is_over(sock: socket.socket | None) -> bool:
    return STOPPING.is_set() or (sock is not None and client_left(sock))


def _as_sse(items: Iterator[dict[str, Any]]) -> Iterator[str]:
    with STREAMS_OPEN.labels("sse").track_inprogress():
        yield "retry: 1000\n\n"
        try:
            for item in items:
                yield _PING if item["type"] == "ping" else _event(item)
        except (Retryable, NotFound):
            # The reader comes back by itself: it resumes from its last id, or is told 404.
            return


def _event(item: dict[str, Any]) -> str:
    cursor = f"id: {item['cursor']}\n" if "cursor" in item else ""
    return f"{cursor}data: {as_line(item)}\n\n"


def serve_websockets(app: Flask, allowed_origins: Collection[str]) -> None:
    """Mount `WS /v1/session/<id>/stream`; whatever can be refused is refused before the upgrade."""
    app.config["SOCK_SERVER_OPTIONS"] = SOCK_SERVER_OPTIONS
    sock = Sock(app)

    @app.before_request
    def guard_upgrade() -> None:
        if not is_upgrade(request.environ) or request.endpoint is None:
            return
        check_upgrade(request.environ, allowed_origins)
        g.place = _take_place((request.view_args or {}).get("session_id", ""))

    @app.teardown_request
    def give_place_back(_error: BaseException | None) -> None:
        place: ExitStack | None = g.pop("place", None)
        if place is not None:
            place.close()

    @sock.route("/v1/session/<session_id>/stream")  # type: ignore[untyped-decorator]
    def follow_as_websocket(raw: Any, session_id: str) -> None:
        after = request.args.get("after", "")[:64]
        with SafeSocket(raw) as ws, STREAMS_OPEN.labels("websocket").track_inprogress():
            _speak(ws, session_id, after)


def _speak(ws: SafeSocket, session_id: str, after: str) -> None:
    with closing(follow_session(session_id, after, room().serving.stream_room, lambda: not ws.open)) as items:
        try:
            for item in items:
                if not ws.open:
                    return
                ws.send_text(as_line(item))
        except NotFound as error:
            ws.close(_CLOSE_GONE, str(error))
        except SlowReader as error:
            ws.close(_CLOSE_SLOW, str(error))
        except Retryable:
            ws.close(_CLOSE_RESTART, "try again from your cursor")
