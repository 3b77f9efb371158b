"""How the gateway is, what is in force, what it counts."""

from typing import Any

from flask import Response, jsonify

from app.domain.errors import ModelRefused, StoreUnavailable
from app.domain.profiles import Profile, ProfileRole, ProfileWish
from app.gateway.api import Answer, Area
from app.gateway.room import room
from app.routing import WORKERS
from app.services.check_health import Check, Component
from app.services.know_schema import check_schema
from app.settings import Misconfigured, Settings
from app.wiring.modelling import own_profile
from app.wiring.serving import Serving

operations = Area("operations")
_STALE_SECONDS = 30.0
_LAG_SECONDS = 30.0
_SPARE_CONNECTIONS = 5


class Alive(Answer):
    """The process lives."""

    status: str


@operations.route("GET", "/healthz", "The process lives", answer=Alive)
def healthz() -> Alive:
    """Always ok."""
    return Alive(status="ok")


@operations.route("GET", "/readyz", "The process may take traffic", answer=Alive, errors=(503,))
def readyz() -> Alive:
    """Postgres answers and has our schema."""
    try:
        check_schema(room().serving.upkeep.revision())
    except Misconfigured as error:
        raise StoreUnavailable(str(error)) from error
    return Alive(status="ok")


class HealthAnswer(Answer):
    """Status of the whole and of each component."""

    status: str
    components: dict[str, dict[str, Any]]


@operations.route("GET", "/v1/health", "The system's health", answer=HealthAnswer, errors=(503,))
def health() -> Response:
    """200 ok or degraded, 503 down."""
    components = room().health.components()
    status = room().health.overall(components)
    answer = jsonify(status=status, components={name: part.as_json() for name, part in components.items()})
    answer.status_code = 503 if status == "down" else 200
    if status == "down":
        answer.headers["Retry-After"] = "2"
    return answer


def health_checks(serving: Serving) -> dict[str, Check]:
    """Every component of `/v1/health`; the gateway learns of Kafka and the model only from what workers noted."""
    return {
        "postgres": lambda: _postgres(serving),
        "redis": lambda: _redis(serving),
        "kafka": lambda: _noted(serving, "kafka", "no worker has reported on Kafka lately"),
        "somabrain_http": lambda: _brain(serving),
        "memory_replicator": lambda: _replicator(serving),
        "memory_sync": lambda: _memory_sync(serving),
        "tool_calls": lambda: _tool_calls(serving),
        "memory_dlq": lambda: _dead_letters(serving),
        "workers": lambda: _workers(serving),
        "policy": lambda: _policy(serving),
        "model": lambda: _model(serving),
    }


def _postgres(serving: Serving) -> Component:
    found = serving.upkeep.connections()
    if found.most - found.taken < _SPARE_CONNECTIONS:
        words = f"{found.taken} of {found.most} connections are in use; new ones are about to be refused"
        return Component("degraded", words)
    return Component("ok")


def _redis(serving: Serving) -> Component:
    if serving.redis_answers():
        return Component("ok")
    return Component("down", "messages are kept; answers begin when Redis is back")


def _noted(serving: Serving, name: str, silence: str) -> Component:
    return _lately_noted(serving, name) or Component("degraded", silence)


def _lately_noted(serving: Serving, name: str) -> Component | None:
    note = serving.upkeep.notes().get(name)
    return None if note is None or note.age > _STALE_SECONDS else Component(note.status, note.detail)


def _brain(serving: Serving) -> Component:
    well, noted = serving.brain.healthy(), _lately_noted(serving, "somabrain")
    # Only who offers memories learns that our credentials are wrong.
    if noted is not None and noted.status == "degraded":
        return noted
    return Component("ok") if well else Component("down", "memories wait and are delivered when SomaBrain is back")


def _replicator(serving: Serving) -> Component:
    settings = serving.settings
    lag = round(serving.upkeep.replication_lag(settings.memory_wal_topic, settings.memory_wal_partitions), 3)
    figures = {"lag_seconds": lag}
    if not serving.upkeep.workers_alive().get("worker-replicator"):
        return Component("degraded", "no replicator is running; the replica catches up later", figures)
    if lag > _LAG_SECONDS:
        return Component("degraded", "the replica is behind", figures)
    return Component("ok", "", figures)


def _memory_sync(serving: Serving) -> Component:
    owed = serving.upkeep.memories_owed()
    figures = {"backlog": owed.count, "oldest_age_seconds": round(owed.oldest_seconds, 3)}
    if owed.oldest_seconds > _STALE_SECONDS:
        return Component("degraded", "catching up", figures)
    return Component("ok", "", figures)


def _tool_calls(serving: Serving) -> Component:
    owed = serving.upkeep.tool_calls_owed()
    figures = {"backlog": owed.count, "oldest_age_seconds": round(owed.oldest_seconds, 3)}
    if owed.oldest_seconds > _STALE_SECONDS + serving.settings.tool_executor_timeout:
        return Component("degraded", "tool calls wait for a worker", figures)
    return Component("ok", "", figures)


def _dead_letters(serving: Serving) -> Component:
    depth = sum(serving.upkeep.dead_letters().values())
    return Component("degraded" if depth else "ok", "somebody should look at them" if depth else "", {"depth": depth})


def _workers(serving: Serving) -> Component:
    alive = serving.upkeep.workers_alive()
    missing = [str(name) for name in WORKERS if not alive.get(name)]
    running = {"running": alive}
    if missing:
        return Component("degraded", f"not running: {', '.join(missing)}", running)
    return Component("ok", "", running)


def _policy(serving: Serving) -> Component:
    found = serving.policy.standing()
    return Component(found.status, found.detail)


def _model(serving: Serving) -> Component:
    note = serving.upkeep.notes().get("model")
    if note is None:
        return Component("ok", "not asked yet")
    return Component(note.status, note.detail)


class Features(Answer):
    """What is switched on."""

    write_through: bool
    write_through_async: bool
    require_auth: bool
    sse_enabled: bool
    websocket_enabled: bool


class UiConfig(Answer):
    """The values in force, as a page needs them; `model` is empty where its endpoint is to say which one that is."""

    api_base: str
    deployment_mode: str
    version: str
    features: Features
    uploads_enabled: bool
    universe_default: str
    namespace_default: str
    model_is_toy: bool
    model: str


@operations.route("GET", "/ui/config.json", "The values in force", answer=UiConfig)
def ui_config() -> UiConfig:
    """From the settings."""
    serving = room().serving
    return _config(serving.settings, _everyday_profile(serving))


def _everyday_profile(serving: Serving) -> Profile | None:
    """The one that is asked first; that of the settings while nobody can say."""
    try:
        first, *_ = serving.roster.candidates(ProfileWish(ProfileRole.DIALOGUE, serving.settings.soma_tenant_id))
    except (StoreUnavailable, ModelRefused):
        return own_profile(serving.settings)
    return first


def _config(settings: Settings, first: Profile | None) -> UiConfig:
    return UiConfig(
        api_base="/v1",
        deployment_mode=settings.sa01_env,
        version=settings.sa01_version,
        features=Features(
            write_through=settings.gateway_write_through,
            write_through_async=settings.gateway_write_through_async,
            require_auth=settings.gateway_require_auth,
            sse_enabled=not settings.gateway_disable_sse,
            websocket_enabled=True,
        ),
        uploads_enabled=False,
        universe_default=settings.soma_namespace,
        namespace_default=settings.soma_memory_namespace,
        model_is_toy=first is not None and first.is_toy,
        model=first.model if first else "",
    )
