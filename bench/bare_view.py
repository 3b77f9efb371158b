"""What `POST /v1/session/message` is held against: a Flask view that commits one row, under the gateway's gunicorn."""

from flask import Flask, Response, jsonify, request
from sqlalchemy import text

from app.adapters.sql.engine import create_engine
from app.settings import settings

TABLE = "CREATE TABLE bench_message (id bigserial PRIMARY KEY, body jsonb NOT NULL)"
_INSERT = text("INSERT INTO bench_message (body) VALUES (CAST(:body AS jsonb)) RETURNING id")


def create_app() -> Flask:
    """The application; its table is there already."""
    app = Flask(__name__)
    engine = create_engine(settings().postgres_dsn.get_secret_value(), 20, "bench bare view")

    @app.post("/v1/session/message")
    def keep() -> Response:
        request.get_json()
        with engine.begin() as connection:
            number = connection.execute(_INSERT, {"body": request.get_data(as_text=True)}).scalar_one()
        return jsonify({"accepted": True, "id": number})

    @app.get("/readyz")
    def ready() -> str:
        return "ok"

    return app
