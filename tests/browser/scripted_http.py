"""The scripted gateway's HTTP side: the contract's routes, and the places where a test lets them break."""

import json
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import parse_qs, urlsplit

from app.domain.stream import Cursor, parse_cursor
from tests.browser import scripted_control
from tests.browser.scripted_gateway import ScriptedGateway, Session


def scripted_gateway(port: int) -> ScriptedGateway:
    """A running gateway on this port."""
    return ScriptedGateway(port, Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    gateway: ScriptedGateway
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.gateway.connections.add(self.connection)

    def finish(self) -> None:
        self.gateway.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _note(self) -> str:
        self.gateway.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        return urlsplit(self.path).path

    def do_GET(self) -> None:
        path = self._note()
        parts = path.strip("/").split("/")
        if path == "/ui/config.json":
            self.reply(200, self.gateway.script.config)
        elif parts[:2] == ["v1", "session"] and parts[-1] == "events":
            self.stream(parts[2])
        elif self.gateway.script.refusal and path == "/v1/sessions/search":
            self.reply(*self.gateway.script.refusal)
        else:
            query = parse_qs(urlsplit(self.path).query).get("q", [""])[0]
            self.reply(*scripted_control.read(self.gateway, parts, query))

    def do_POST(self) -> None:
        path = self._note()
        raw = self.rfile.read(int(self.headers["Content-Length"])) or b"{}"
        try:
            body = json.loads(raw)
        except ValueError:
            self.reply(400, {"status": 400, "detail": "the body is no JSON"})
            return
        if self.gateway.script.refusal:
            status, problem = self.gateway.script.refusal
            self.reply(status, problem, {"Retry-After": "1"} if status == 503 else {})
        else:
            self._take(path, body, self.headers.get("Idempotency-Key"))

    def _take(self, path: str, body: Any, key: str | None) -> None:
        script = self.gateway.script
        if reply := scripted_control.change(self.gateway, self.command, path.strip("/").split("/"), body, key):
            self.reply(*reply)
        elif path != "/v1/session/message":
            self.reply(200, {"echo": body, "cookie": self.headers.get("Cookie")}, {"Set-Cookie": "b=2"})
        else:
            receipt = self.gateway.accept(body, key)
            if script.unanswered:
                script.unanswered -= 1
                self.connection.shutdown(SHUT_RDWR)
                return
            self.reply(200, receipt)

    def do_PATCH(self) -> None:
        self.do_POST()

    def do_DELETE(self) -> None:
        self.do_POST()

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        kind = "application/json" if status < 400 else "application/problem+json"
        fields = {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def stream(self, session_id: str) -> None:
        query = parse_qs(urlsplit(self.path).query)
        after = self.headers.get("Last-Event-ID") or query.get("after", [""])[0]
        self.gateway.streams_opened[session_id].append(after)
        known = session_id in self.gateway.sessions and self.gateway.script.stream_status
        if known != 200:
            self.reply(known or 404, {"title": "x", "status": known or 404, "detail": "there is no such session"})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError):
            self._pour(self.gateway.session(session_id), parse_cursor(after))

    def _pour(self, session: Session, cursor: Cursor) -> None:
        self.chunk("retry: 1000\n\n")
        for count, item in enumerate(self.gateway.follow(session, cursor), 1):
            if item is None:
                self.chunk(": still here\n\n")
            else:
                self.chunk(f"id: {item.get('cursor', cursor)}\ndata: {json.dumps(item)}\n\n")
            if self.gateway.script.items_per_stream and count >= self.gateway.script.items_per_stream:
                self.connection.shutdown(SHUT_RDWR)

    def chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()
