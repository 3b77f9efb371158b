"""A scripted model behind the OpenAI-compatible protocol whose words are the moments at which they were sent."""

import json
import time
from typing import Any

from drills.http_peer import HttpPeer, QuietHandler

MODEL = "stamps"


class StampingModel(HttpPeer):
    """While it runs, every answer is `words` stamps of the monotonic clock in nanoseconds, so many in a second.

    `url` is what belongs into `LLM_BASE_URL`.
    """

    def __init__(self, words: int, per_second: float) -> None:
        super().__init__("stamping-model", _Handler)
        self.url = f"{self.address}/v1"
        self.words = words
        self.per_second = per_second


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def get(self) -> None:
        self.send_error(404)

    def post(self, body: bytes) -> None:
        if not json.loads(body).get("stream"):
            self.send_error(400)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        peer, began = self.server.peer, time.monotonic()
        for number in range(peer.words):
            time.sleep(max(0.0, began + number / peer.per_second - time.monotonic()))
            self._say({"content": f"{time.monotonic_ns()} "}, None)
        self._say({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, delta: dict[str, Any], reason: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {"id": "bench", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice]}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
