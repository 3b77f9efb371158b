"""The gateway: one Flask application, its areas mounted, its errors translated. It never reaches Kafka or a model."""

from flask import Flask
from prometheus_client import REGISTRY
from prometheus_flask_exporter import PrometheusMetrics

from app.adapters.http.open_streams import StreamSlots
from app.gateway.archives import archives
from app.gateway.budgets import budgets
from app.gateway.context import carry_context
from app.gateway.conversation import conversation
from app.gateway.dead_letters import dead_letters
from app.gateway.desk import desk
from app.gateway.docs import docs_blueprint
from app.gateway.downloads import downloads
from app.gateway.exports import exports
from app.gateway.imports import imports
from app.gateway.mcp import mcp
from app.gateway.memories import memories
from app.gateway.memory import memory
from app.gateway.model_profiles import model_profiles
from app.gateway.openai_chat import openai_chat
from app.gateway.openai_errors import speak_openai
from app.gateway.openai_models import openai_models
from app.gateway.openai_responses import openai_responses
from app.gateway.operations import health_checks, operations
from app.gateway.problems import handle_errors
from app.gateway.proofs import proofs
from app.gateway.rebuild import rebuild
from app.gateway.room import Room, furnish
from app.gateway.schedules import schedules
from app.gateway.search import search
from app.gateway.session_control import session_control
from app.gateway.streams import serve_websockets, streams
from app.gateway.tools import tools
from app.gateway.transcripts import transcripts
from app.gateway.usage import usage
from app.gateway.webhooks import webhooks
from app.services.check_health import Health
from app.settings import Settings, settings
from app.telemetry.logs import configure_logging
from app.wiring.serving import Serving

AREAS = (
    conversation,
    session_control,
    transcripts,
    archives,
    streams,
    tools,
    memories,
    imports,
    memory,
    exports,
    downloads,
    rebuild,
    proofs,
    dead_letters,
    desk,
    operations,
    search,
    mcp,
    budgets,
    usage,
    schedules,
    webhooks,
    openai_chat,
    openai_responses,
    openai_models,
    model_profiles,
)


def create_app(chosen: Settings | None = None) -> Flask:
    """The application of one gateway process; Postgres and Redis are reached on first use."""
    settings_in_force = chosen or settings()
    configure_logging(settings_in_force.log_level, settings_in_force.process_name or "gateway")
    app = Flask("app.gateway", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings_in_force.gateway_max_body_bytes
    app.config["SESSION_IMPORT_MAX_BYTES"] = settings_in_force.session_import_max_bytes
    app.url_map.strict_slashes = False
    serving = Serving(settings_in_force)
    slots = StreamSlots(settings_in_force.gateway_max_streams)
    furnish(app.extensions, Room(serving, Health(health_checks(serving)), slots))
    carry_context(app, settings_in_force)
    handle_errors(app)
    serve_websockets(app, settings_in_force.allowed_origins)
    speak_openai(app)
    for area in AREAS:
        app.register_blueprint(area.blueprint)
    app.register_blueprint(docs_blueprint(AREAS, settings_in_force.sa01_version))
    PrometheusMetrics(app, path="/metrics", export_defaults=False, registry=REGISTRY)
    return app
