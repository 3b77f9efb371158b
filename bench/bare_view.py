"""What `POST /v1/session/message` is held against, under the gateway's gunicorn: a Flask view that commits one row, and
one that does the least which keeping a message takes.

The second keeps the very rows that a message makes in one stored function, and rings one worker. It checks nothing,
numbers no header, shows nothing to readers and counts nothing, so no gateway that keeps its word can be quicker.
"""

from uuid import uuid4

from celery import Celery
from flask import Flask, Response, jsonify, request
from sqlalchemy import text

from app.adapters.celery_doorbell import CeleryDoorbell
from app.adapters.sql.engine import create_engine
from app.routing import TaskName
from app.settings import settings

SCHEMA = """
    CREATE TABLE bench_message (id bigserial PRIMARY KEY, body jsonb NOT NULL);
    CREATE FUNCTION bench_keep(session text, event text, said text, OUT number bigint) LANGUAGE plpgsql AS $$
    DECLARE
        now_is timestamptz := clock_timestamp();
        told jsonb;
    BEGIN
        INSERT INTO sessions AS s (session_id, tenant, subject, next_seq) VALUES (session, 'bench', 'anonymous', 2)
        ON CONFLICT (session_id) DO UPDATE SET next_seq = s.next_seq + 2, updated_at = now()
        RETURNING next_seq - 1 INTO number;
        told := jsonb_build_object('event_id', event, 'session_id', session, 'role', 'user', 'message', said,
                                   'type', 'user', 'seq', number, 'cursor', number::text, 'created_at', now_is);
        INSERT INTO session_events (session_id, seq, event_id, tenant, type, role, turn_seq, payload, created_at)
        VALUES (session, number, event, 'bench', 'user', 'user', number, told, now_is),
               (session, number + 1, event || ':started', 'bench', 'assistant.started', 'assistant', number, told,
                now_is);
        INSERT INTO turns (event_id, session_id, seq, tenant) VALUES (event, session, number, 'bench');
        INSERT INTO memory_ledger (event_id, tenant, namespace, universe, session_id, role, idempotency_key, digest)
        VALUES (event, 'bench', 'wm', 'default', session, 'user', event, 'digest');
        INSERT INTO memory_write_outbox (event_id, tenant, namespace, universe, session_id, role, payload,
                                         idempotency_key)
        VALUES (event, 'bench', 'wm', 'default', session, 'user', told, event);
    END $$;
"""
_INSERT = text("INSERT INTO bench_message (body) VALUES (CAST(:body AS jsonb)) RETURNING id")
_KEEP = text("SELECT bench_keep(:session_id, :event_id, :message)")


def create_app() -> Flask:
    """One row a message; `SCHEMA` is there already."""
    app = Flask(__name__)
    engine = create_engine(settings().postgres_dsn.get_secret_value(), 20, "bench bare view")

    @app.post("/v1/session/message")
    def keep() -> Response:
        request.get_json()
        with engine.begin() as connection:
            number = connection.execute(_INSERT, {"body": request.get_data(as_text=True)}).scalar_one()
        return jsonify({"accepted": True, "id": number})

    app.add_url_rule("/readyz", view_func=_ready)
    return app


def create_least() -> Flask:
    """A message's own rows and one ring; `SCHEMA` is there already."""
    app, celery = Flask(__name__), Celery("soma")
    celery.config_from_object("celeryconfig")
    redis_url = settings().redis_url.get_secret_value()
    doorbell = CeleryDoorbell(celery, redis_url)
    engine = create_engine(settings().postgres_dsn.get_secret_value(), 20, "bench least view")

    @app.post("/v1/session/message")
    def keep() -> Response:
        body, event_id = request.get_json(), str(uuid4())
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            said = {"session_id": body["session_id"], "event_id": event_id, "message": body["message"]}
            number = connection.execute(_KEEP, said).scalar_one()
        doorbell.ring(TaskName.RESPOND, event_id)
        return jsonify({"accepted": True, "id": number})

    app.add_url_rule("/readyz", view_func=_ready)
    return app


def _ready() -> str:
    return "ok"
