"""A small server with the sockets of `app.adapters.http.websocket`, run under gunicorn by `test_websocket.py`.

`/ticks` speaks now and then, `/pour` as fast as it can, `/big` says one long thing, `/break` fails."""

import itertools
import threading
import time
from typing import Any

from flask import Flask, Response, g, request
from flask_sock import Sock

from app.adapters.http.open_streams import StreamSlots, announce_stop
from app.adapters.http.websocket import (
    SOCK_SERVER_OPTIONS,
    ForeignOrigin,
    SafeSocket,
    SocketGone,
    check_upgrade,
    is_upgrade,
)
from app.domain.errors import Rejected, TooManyStreams

post_worker_init = announce_stop
worker_class = "gthread"
threads = 24
graceful_timeout = 5

ENDED: dict[str, float] = {}


app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = SOCK_SERVER_OPTIONS
slots = StreamSlots(6)
sock = Sock(app)


@app.before_request
def guard() -> None:
    if is_upgrade(request.environ):
        g.slot = slots.take()
        check_upgrade(request.environ, {"https://allowed.example"})


@app.teardown_request
def give_back(_error: BaseException | None) -> None:
    if "slot" in g:
        g.slot.release()


app.register_error_handler(ForeignOrigin, lambda error: (str(error), 403))
app.register_error_handler(Rejected, lambda error: (str(error), 400))
app.register_error_handler(TooManyStreams, lambda error: (str(error), 503, {"Retry-After": "5"}))


@app.get("/plain")
def plain() -> dict[str, Any]:
    return {"threads": threading.active_count(), "ended": ENDED}


@app.get("/sse")
def sse() -> Response:
    return Response("data: 1\n\n", mimetype="text/event-stream")


@sock.route("/ticks")
def ticks(raw: Any) -> None:
    with SafeSocket(raw) as ws:
        for number in itertools.count():
            if not ws.open:
                break
            ws.send_json({"number": number})
            ws.wait(0.05)


@sock.route("/pour")
def pour(raw: Any) -> None:
    with SafeSocket(raw) as ws:
        began = time.monotonic()
        try:
            while ws.open:
                ws.send_json({"text": "x" * 200_000})
        except SocketGone:
            ENDED["pour"] = time.monotonic() - began
            raise


@sock.route("/big")
def big(raw: Any) -> None:
    with SafeSocket(raw) as ws:
        ws.send_json({"message": "é" * 200_000, "seq": 7})
        ws.close(4404, "no such thing")


@sock.route("/break")
def fail(raw: Any) -> None:
    with SafeSocket(raw):
        raise ZeroDivisionError
