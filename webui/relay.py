"""A session's stream on its way from the gateway to one browser, over a websocket or as server-sent events.

Both ways carry the same items. The relay adds one thing, `metadata.html` for final answers, and keeps no state: when
either side breaks off, the browser comes again with its cursor.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from app.adapters.http.open_streams import STOPPING
from app.adapters.http.websocket import SafeSocket
from webui.gateway import Answer
from webui.local import Upstream
from webui.markdown import render
from webui.sse import ServerEvent, write

_LOOK_SECONDS = 0.25
_CLOSE_CODES = {401: 4401, 403: 4403, 404: 4404, 400: 1008, 422: 1008}
_RESTART = 1012
_LONGEST_HTML_BYTES = 131_072
"""With the text itself, which is at most half of that, it stays well below what our websockets send."""


class Watch:
    """Ends the reading of the gateway's stream as soon as its browser has left or this process stops.

    Otherwise a thread would wait for the gateway's next word, up to its heartbeat, for nobody.
    """

    def __init__(self) -> None:
        self._open: dict[Upstream, Callable[[], bool]] = {}
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, upstream: Upstream, left: Callable[[], bool]) -> Iterator[None]:
        """Watch while the block runs, then close; `left` tells whether the browser has gone."""
        with self._lock:
            self._open[upstream] = left
            self._some.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stream-watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._open[upstream]
                if not self._open:
                    self._some.clear()
            upstream.close()

    def _run(self) -> None:
        while self._some.wait():
            with self._lock:
                for upstream, left in self._open.items():
                    if STOPPING.is_set() or left():
                        upstream.hang_up()
            STOPPING.wait(_LOOK_SECONDS)


def with_html(event: ServerEvent) -> dict[str, Any]:
    """The item of one event as the page gets it: with its cursor, and final answers that came whole with their HTML."""
    item: dict[str, Any] = json.loads(event.data or "{}")
    if event.id:
        item["cursor"] = event.id
    metadata = item.get("metadata") or {}
    if item.get("type") == "assistant.final" and "truncated" not in metadata:
        html = render(str(item.get("message", "")))
        if len(html.encode()) <= _LONGEST_HTML_BYTES:
            item["metadata"] = {**metadata, "html": html}
    return item


def to_websocket(upstream: Upstream, ws: SafeSocket, watch: Watch) -> None:
    """Send every item as one frame; the gateway's heartbeat becomes a ping. Says why when it ends."""
    if upstream.status != 200:
        upstream.close()
        ws.close(_CLOSE_CODES.get(upstream.status, _RESTART), "the gateway refused this stream")
        return
    with watch.over(upstream, lambda: not ws.open):
        for event in upstream.events():
            ws.send_json({"type": "ping"} if event.data is None else with_html(event))
    ws.close(_RESTART, "the stream broke off; come again with your cursor")


def pass_on(upstream: Answer, left: Callable[[], bool], watch: Watch) -> Iterator[bytes]:
    """A stream that goes through as it is."""
    with watch.over(upstream, left):
        yield from upstream.pieces()


def to_sse(upstream: Upstream, left: Callable[[], bool], watch: Watch) -> Iterator[str]:
    """The stream as text for an event source, until one of the two sides has gone."""
    with watch.over(upstream, left):
        yield "retry: 1000\n\n"
        for event in upstream.events():
            if event.data is None:
                yield write(event)
                continue
            item = with_html(event)
            yield write(ServerEvent(event.id, json.dumps(item, ensure_ascii=False, separators=(",", ":"))))
