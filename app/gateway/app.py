"""The gateway: one Flask application, its areas mounted, its errors translated. It never reaches Kafka or a model."""

from flask import Flask
from prometheus_client import REGISTRY
from prometheus_flask_exporter import PrometheusMetrics

from app.adapters.http.open_streams import StreamSlots
from app.gateway.context import carry_context
from app.gateway.conversation import conversation
from app.gateway.dead_letters import dead_letters
from app.gateway.desk import desk
from app.gateway.docs import docs_blueprint
from app.gateway.downloads import downloads
from app.gateway.exports import exports
from app.gateway.imports import imports
from app.gateway.memories import memories
from app.gateway.memory import memory
from app.gateway.operations import health_checks, operations
from app.gateway.problems import handle_errors
from app.gateway.proofs import proofs
from app.gateway.rebuild import rebuild
from app.gateway.room import Room, furnish
from app.gateway.streams import serve_websockets, streams
from app.gateway.tools import tools
from app.services.check_health import Health
from app.settings import Settings, settings
from app.telemetry.logs import configure_logging
from app.wiring.serving import Serving

AREAS = (
    conversation, streams, tools, memories, imports, memory, exports, downloads, rebuild, proofs,
    dead_letters, desk, operations,
)  # fmt: skip


def create_app(chosen: Settings | None = None) -> Flask:
    """The application of one gateway process; Postgres and Redis are reached on first use."""
    settings_in_force = chosen or settings()
    configure_logging(settings_in_force.log_level, settings_in_force.process_name or "gateway")
    app = Flask("app.gateway", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings_in_force.gateway_max_body_bytes
    app.url_map.strict_slashes = False
    serving = Serving(settings_in_force)
    slots = StreamSlots(settings_in_force.gateway_max_streams)
    furnish(app.extensions, Room(serving, Health(health_checks(serving)), slots))
    carry_context(app, settings_in_force)
    handle_errors(app)
    serve_websockets(app, _origins(settings_in_force))
    for area in AREAS:
        app.register_blueprint(area.blueprint)
    app.register_blueprint(docs_blueprint(AREAS, settings_in_force.sa01_version))
    PrometheusMetrics(app, path="/metrics", export_defaults=False, registry=REGISTRY)
    return app


def _origins(settings: Settings) -> set[str]:
    return {origin.strip() for origin in settings.gateway_cors_origins.split(",") if origin.strip()}
