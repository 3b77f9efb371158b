"""A scripted model behind the OpenAI-compatible protocol: a real HTTP peer that answers at once and repeatably.

The built-in model speaks about 65 tokens a second in all, which would make the drill a test of the model. This one
streams a short answer that names the message it belongs to, so that the checker can tell which answer is whose.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

MODEL: Final = "drill-echo"
PAUSE_SECONDS: Final = 0.01


def answer_to(text: str) -> str:
    """What this model says to a message: always the same, and it repeats the message's mark."""
    return f"Noted {text.strip()} and kept."


def at_once(_text: str) -> float:
    """The pace of a model that is no hindrance."""
    return PAUSE_SECONDS


class ModelPeer:
    """The endpoint while it runs; `url` is what belongs into `LLM_BASE_URL`.

    `pace` tells the seconds between two words of the answer to a message.
    """

    def __init__(self, pace: Callable[[str], float] = at_once) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.pace = pace
        self._thread = threading.Thread(target=self._server.serve_forever, name="model-peer", daemon=True)
        self.listen_to(lambda _text: None)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def listen_to(self, asked: Callable[[str], None]) -> None:
        """Have this called with every message, before its answer begins."""
        self._server.asked = asked

    @contextmanager
    def at_pace(self, pace: Callable[[str], float]) -> Iterator[None]:
        """While the block runs, answers that begin have this pace."""
        usual, self._server.pace = self._server.pace, pace
        try:
            yield
        finally:
            self._server.pace = usual

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    pace: Callable[[str], float]
    asked: Callable[[str], None]
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is everyday business for a drill."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._json({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "drill"}]})
        else:
            self._json({"status": "ok"})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        text = _last_message(request)
        self.server.asked(text)
        answer = answer_to(text)
        if request.get("stream"):
            self._stream(request, answer, self.server.pace(text))
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
            self._json(_body("chat.completion", [choice]) | {"usage": _usage(answer)})

    def _stream(self, request: Mapping[str, Any], answer: str, pause: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for chunk in _chunks(answer):
            self._event(chunk)
            time.sleep(pause)
        if (request.get("stream_options") or {}).get("include_usage"):
            self._event(_body("chat.completion.chunk", []) | {"usage": _usage(answer)})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, body: Mapping[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")

    def _json(self, body: Mapping[str, Any]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the drill prints its own timeline."""


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
