"""A scripted model behind the OpenAI-compatible protocol: a real HTTP peer that answers at once and repeatably.

The built-in model speaks about 65 tokens a second in all, which would make the drill a test of the model. This one
streams a short answer that names the message it belongs to, so that the checker can tell which answer is whose.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from drills.http_peer import HttpPeer, QuietHandler

MODEL: Final = "drill-echo"
PAUSE_SECONDS: Final = 0.01


def answer_to(text: str) -> str:
    """What this model says to a message: always the same, and it repeats the message's mark."""
    return f"Noted {text.strip()} and kept."


def at_once(_text: str) -> float:
    """The pace of a model that is no hindrance."""
    return PAUSE_SECONDS


class ModelPeer(HttpPeer):
    """The endpoint while it runs; `url` is what belongs into `LLM_BASE_URL`.

    `pace` tells the seconds between two words of the answer to a message.
    """

    def __init__(self, pace: Callable[[str], float] = at_once) -> None:
        super().__init__("model-peer", ModelHandler)
        self.url = f"{self.address}/v1"
        self.pace = pace
        self.manner: Callable[[str], Manner | None] = well
        self.asked: Callable[[str, int], None] = _nobody

    @contextmanager
    def heard_by(self, asked: Callable[[str, int], None]) -> Iterator[None]:
        """While the block runs, this is called with every message and the port of the connection it came by, before
        its answer.
        """
        self.asked = asked
        try:
            yield
        finally:
            self.asked = _nobody

    @contextmanager
    def in_manner(self, choose: "Callable[[str], Manner | None]") -> Iterator[None]:
        """While the block runs, an answer to a message for which this chooses a manner is streamed in that manner."""
        usual, self.manner = self.manner, choose
        try:
            yield
        finally:
            self.manner = usual

    @contextmanager
    def at_pace(self, pace: Callable[[str], float]) -> Iterator[None]:
        """While the block runs, answers that begin have this pace."""
        usual, self.pace = self.pace, pace
        try:
            yield
        finally:
            self.pace = usual


def well(_text: str) -> None:
    """Every answer is as it should be."""


def _nobody(_text: str, _port: int) -> None:
    """Nobody listens."""


class ModelHandler(QuietHandler):
    """One connection to the model, and what a manner may say on it."""

    protocol_version = "HTTP/1.1"

    def get(self) -> None:
        if self.path == "/v1/models":
            self._json({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "drill"}]})
        else:
            self._json({"status": "ok"})

    def post(self, body: bytes) -> None:
        request = json.loads(body)
        text = _last_message(request)
        self.server.peer.asked(text, self.client_address[1])
        answer = answer_to(text)
        if not request.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
            self._json(_body("chat.completion", [choice]) | {"usage": _usage(answer)})
        elif manner := self.server.peer.manner(text):
            self.close_connection = True
            manner(self, answer)
        else:
            self._stream(request, answer, self.server.peer.pace(text))

    def _stream(self, request: Mapping[str, Any], answer: str, pause: float) -> None:
        self.begin()
        for chunk in _chunks(answer):
            self.event(chunk)
            time.sleep(pause)
        if (request.get("stream_options") or {}).get("include_usage"):
            self.event(_body("chat.completion.chunk", []) | {"usage": _usage(answer)})
        self.done()

    def begin(self, content_type: str = "text/event-stream", status: int = 200) -> None:
        """The head of an answer that ends with its connection."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def say(self, content: str) -> None:
        """Some words of the answer."""
        self.event(_piece({"content": content}, None))

    def ask(self, tool: str, arguments: str) -> None:
        """One call of a tool, and that it was all."""
        asked = {"index": 0, "id": "call_1", "type": "function", "function": {"name": tool, "arguments": arguments}}
        self.event(_piece({"tool_calls": [asked]}, "tool_calls"))

    def done(self) -> None:
        """That this was all."""
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, body: Mapping[str, Any]) -> None:
        """One piece of the stream, whatever it is."""
        self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")

    def _json(self, body: Mapping[str, Any]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


Manner = Callable[[ModelHandler, str], None]
"""A way to give an answer that is not the usual one; it says on the connection what it likes."""


def _last_message(request: Mapping[str, Any]) -> str:
    said = [item["content"] for item in request.get("messages", []) if item.get("role") == "user"]
    return said[-1] if said and isinstance(said[-1], str) else ""


def _chunks(answer: str) -> Iterator[dict[str, Any]]:
    yield _piece({"role": "assistant", "content": ""}, None)
    for word in answer.split(" "):
        yield _piece({"content": word if word == "Noted" else f" {word}"}, None)
    yield _piece({}, "stop")


def _piece(delta: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
    return _body("chat.completion.chunk", [{"index": 0, "delta": delta, "finish_reason": reason}])


def _body(kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "drill", "object": kind, "created": int(time.time()), "model": MODEL, "choices": choices}


def _usage(answer: str) -> dict[str, int]:
    words = len(answer.split())
    return {"prompt_tokens": words, "completion_tokens": words, "total_tokens": 2 * words}
