"""Our own processes: named and started as `app/routing.py` says, configured by nothing but the environment."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from app.routing import WORKERS, ProcessName, command
from devstack import gates
from devstack.part import Gate, Part
from devstack.place import ROOT, Place

MIGRATIONS = "migrations"
TOPICS = "topics"
_P = ProcessName
_HEALTH = {_P.BRAIN: "/healthz", _P.GATEWAY: "/readyz", _P.WEBUI: "/healthz"}
_DOORS = ("postgres", "redis", MIGRATIONS, _P.BRAIN)
_AFTER: Mapping[ProcessName, tuple[str, ...]] = {
    _P.BRAIN: (MIGRATIONS,),
    _P.GATEWAY: _DOORS,
    _P.WEBUI: (MIGRATIONS,),
    _P.BEAT: _DOORS,
    _P.FLOWER: ("redis",),
    _P.WORKER_TOOLS: _DOORS,
    _P.WORKER_CONVERSATION: (*_DOORS, "model"),
    _P.WORKER_DELIVERY: (*_DOORS, "kafka", TOPICS),
    _P.WORKER_REPLICATOR: (*_DOORS, "kafka", TOPICS),
}
PORT_VARIABLES = {
    _P.BRAIN: "BRAIN_PORT",
    _P.GATEWAY: "GATEWAY_PORT",
    _P.WEBUI: "AGENT_UI_PORT",
    _P.FLOWER: "FLOWER_PORT",
}


def port_variables(ports: Mapping[str, int]) -> dict[str, str]:
    """The settings that tell our processes which ports are theirs."""
    return {variable: str(ports[name]) for name, variable in PORT_VARIABLES.items()}


def migrations() -> Part:
    """The step that brings the schema up to date."""
    argv = (sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), "upgrade", "head")
    return Part(MIGRATIONS, argv, ROOT, after=("postgres",), once=True, start_seconds=120.0)


def topics(place: Place, topic: str) -> Part:
    """The step that makes the topics; with the embedded Kafka it is needed once in the life of its data."""
    argv = (sys.executable, "-m", "devstack.topics")
    return Part(TOPICS, argv, place.run, after=("kafka",), once=True, complete=lambda: _note_topics(place, topic))


def topics_are_made(place: Place, topic: str) -> bool:
    """True when the embedded Kafka has had its topics made."""
    note = _topics_note(place)
    return note.exists() and note.read_text() == topic


def _note_topics(place: Place, topic: str) -> None:
    if _topics_note(place).parent.is_dir():
        _topics_note(place).write_text(topic)


def _topics_note(place: Place) -> Path:
    return place.data_dir / "kafka" / "topics.made"


TWINS: Mapping[str, ProcessName] = {
    f"{name}-2": name for name in (_P.WORKER_CONVERSATION, _P.WORKER_DELIVERY, _P.WORKER_REPLICATOR)
}
"""Second processes beside the first, started only when they are asked for by name."""


def twin(name: str, place: Place, ports: Mapping[str, int]) -> Part:
    """A second process of the same kind, with a name of its own on the queues."""
    first = TWINS[name]
    made = part(first, place, {**ports, first: ports[name]})
    metrics = place.run / f"metrics-{name}"
    argv = tuple(word.replace(f"{first}@", f"{name}@") for word in made.argv)
    return replace(made, name=name, argv=argv, renew=lambda: _empty(metrics))


def part(name: ProcessName, place: Place, ports: Mapping[str, int]) -> Part:
    """One process of ours; it works in the stack's folder, so that nothing is written into the checkout."""
    port = ports.get(name, 0)
    metrics = place.run / f"metrics-{name}"
    return Part(
        name=name,
        argv=(sys.executable, "-m", *command(name)),
        cwd=place.run,
        environment=_environment(name, port, metrics),
        after=_AFTER[name],
        ports=(port,) if port else (),
        gate=_gate(name, port),
        renew=lambda: _empty(metrics),
        settle_seconds=0.0 if port else 1.0,
        stop_seconds=5.0,
    )


def _environment(name: ProcessName, port: int, metrics: Path) -> dict[str, str]:
    own = {"PROCESS_NAME": str(name)}
    if name in WORKERS:
        own["METRICS_PORT"] = str(port)
    if name in (_P.GATEWAY, _P.BRAIN, _P.WEBUI):
        own["METRICS_DIR"] = str(metrics)
    return own


def _gate(name: ProcessName, port: int) -> Gate:
    if name in _HEALTH:
        return gates.http_200(port, _HEALTH[name])
    return gates.http_any(port) if port else lambda: True


def _empty(folder: Path) -> None:
    """The numbers of processes that are gone must not be counted again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
