"""The browser's server: the page, its messages and its stream, everything from one origin.

`create_app` is the whole application; gunicorn calls it with the settings of the environment, tests with their own.
"""

import re
import uuid
from pathlib import Path

from flask import Flask, Response, g, request, send_from_directory

from app.adapters.http.websocket import (
    SOCK_SERVER_OPTIONS,
    ForeignOrigin,
    check_upgrade,
    is_upgrade,
    own_origin,
)
from app.settings import Settings, settings
from webui.conversation import give_slot_back, pages, sockets, take_stream_slot
from webui.parts import Parts, parts_for
from webui.passthrough import through
from webui.problems import speak_problems

_STATIC = Path(__file__).parent / "static"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-API-Version": "v1",
}


def create_app(chosen: Settings | None = None, parts: Parts | None = None) -> Flask:
    """The application for these settings; `parts` replaces what it would build itself."""
    configuration = chosen or settings()
    app = Flask(__name__, static_folder=str(_STATIC), static_url_path="/static")
    app.config["SOCK_SERVER_OPTIONS"] = SOCK_SERVER_OPTIONS
    app.config["MAX_CONTENT_LENGTH"] = configuration.gateway_max_body_bytes
    app.config["SESSION_IMPORT_MAX_BYTES"] = configuration.session_import_max_bytes
    app.extensions["webui"] = parts or parts_for(configuration)
    _guard(app, frozenset(configuration.gateway_cors_origins.replace(" ", "").split(",")) - {""})
    for blueprint in (pages, through):
        app.register_blueprint(blueprint)
    sockets.init_app(app)
    speak_problems(app)
    _serve_pages(app)
    return app


def _guard(app: Flask, allowed_origins: frozenset[str]) -> None:
    def before() -> None:
        asked = request.headers.get("X-Request-ID", "")
        g.request_id = asked if _REQUEST_ID.fullmatch(asked) else str(uuid.uuid4())
        if is_upgrade(request.environ):
            check_upgrade(request.environ, allowed_origins)
            take_stream_slot()
        elif request.method not in _SAFE_METHODS:
            _refuse_foreign_pages(allowed_origins)

    app.before_request(before)
    app.after_request(_with_security_headers)
    app.teardown_request(give_slot_back)


def _refuse_foreign_pages(allowed_origins: frozenset[str]) -> None:
    if not own_origin(request.headers.get("Origin"), request.host, allowed_origins):
        raise ForeignOrigin("a page of another origin may not write here")


def _with_security_headers(answer: Response) -> Response:
    for name, value in _SECURITY_HEADERS.items():
        answer.headers.setdefault(name, value)
    answer.headers.setdefault("X-Request-ID", g.get("request_id", ""))
    own_file = request.endpoint in ("static", "page", "model_page")
    answer.headers["Cache-Control"] = "no-cache" if own_file else "no-store"
    return answer


def _serve_pages(app: Flask) -> None:
    """Files of ours carry an ETag and are asked about again each time: there is no build that could name versions."""

    @app.get("/")
    def page() -> Response:
        return send_from_directory(_STATIC, "index.html")

    @app.get("/help/model")
    def model_page() -> Response:
        return send_from_directory(_STATIC, "model.html")

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}
