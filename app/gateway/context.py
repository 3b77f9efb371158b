"""What every request carries in and every answer carries out: ids, trace, headers that keep browsers safe."""

import re
import secrets
import time
import uuid
from collections.abc import Collection

from flask import Flask, Response, g, request

from app.settings import Settings
from app.telemetry.logs import log_context
from app.telemetry.metrics import GATEWAY_LATENCY, GATEWAY_REQUESTS

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STRICT_CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def carry_context(app: Flask, settings: Settings) -> None:
    """Install what runs before and after every request."""
    allowed = settings.allowed_origins

    @app.before_request
    def begin() -> Response | None:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        trace = request.headers.get("traceparent", "")
        g.traceparent = trace if _TRACEPARENT.fullmatch(trace) else _new_trace()
        g.began = time.monotonic()
        g.log = log_context(request_id=g.request_id, traceparent=g.traceparent)
        g.log.__enter__()
        return _preflight(allowed)

    @app.after_request
    def finish(response: Response) -> Response:
        _safe_headers(response, settings.gateway_hsts)
        _allow_origin(response, allowed)
        _count(response)
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        context = g.pop("log", None)
        if context is not None:
            context.__exit__(None, None, None)


def _new_trace() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def _preflight(allowed: Collection[str]) -> Response | None:
    if request.method != "OPTIONS" or request.headers.get("Origin") not in allowed:
        return None
    headers = {
        "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
        "Access-Control-Allow-Headers": "Content-Type, Idempotency-Key, Last-Event-ID, X-Request-ID, Authorization,"
        " X-Agent-Profile, X-Universe-Id, X-Persona-Id, X-CSRF-Token, traceparent, MCP-Protocol-Version, Mcp-Method,"
        " Mcp-Name",
        "Access-Control-Max-Age": "600",
    }
    return Response(status=204, headers=headers)


def _allow_origin(response: Response, allowed: Collection[str]) -> None:
    if allowed:
        response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin in allowed:
        response.headers["Access-Control-Allow-Origin"] = str(origin)
        response.headers["Access-Control-Allow-Credentials"] = "true"


def _safe_headers(response: Response, hsts: bool) -> None:
    headers = response.headers
    headers["X-Request-ID"] = g.get("request_id", "")
    headers["X-API-Version"] = "v1"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["X-Frame-Options"] = "DENY"
    headers.setdefault("Content-Security-Policy", _STRICT_CSP)
    headers.setdefault("Cache-Control", "no-store")
    if hsts:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"


def _count(response: Response) -> None:
    method = request.method if request.method in _METHODS else "OTHER"
    route = request.url_rule.rule if request.url_rule else "unmatched"
    GATEWAY_REQUESTS.labels(method, route, str(response.status_code)).inc()
    GATEWAY_LATENCY.labels(method, route).observe(time.monotonic() - g.began)
