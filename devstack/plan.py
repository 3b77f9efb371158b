"""Deciding what to start: an embedded server only where its setting is absent, and the settings for our processes."""

import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from app.routing import ProcessName
from app.settings import Settings, read
from devstack import gates, kafka_server, ours, ports, postgres, valkey
from devstack.part import Part
from devstack.place import ROOT, Place

SETTING_OF = {
    "postgres": "POSTGRES_DSN",
    "redis": "REDIS_URL",
    "kafka": "KAFKA_BOOTSTRAP_SERVERS",
    "model": "LLM_BASE_URL",
    "brain": "SOMA_BASE_URL",
}
_ORDER = ("postgres", "redis", "kafka", "model", ours.MIGRATIONS, ours.TOPICS, *ProcessName)
_STEPS_OF = {"kafka": ours.TOPICS}
# What the built-in model can bear: a small window, and answers that end before patience does.
_TOY_MODEL = {"LLM_IS_TOY": "true", "LLM_CONTEXT_TOKENS": "2048", "LLM_MAX_OUTPUT_TOKENS": "256"}
_SMALL_PYTHON = {
    "PYTHONUNBUFFERED": "1",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "PYTHONPATH": str(ROOT),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, and with which settings; a part stands behind those that it waits for."""

    parts: tuple[Part, ...]
    settings: Mapping[str, str]
    """What our own processes get, and nothing that is set for one of them alone."""
    ports: Mapping[str, int]


def is_given(name: str, given: Mapping[str, str]) -> bool:
    """True where a person has a server of their own; the setting may also stand in a file."""
    variable = SETTING_OF.get(name, "")
    return bool(variable and (given.get(variable) or given.get(f"{variable}_FILE")))


def make(
    place: Place,
    chosen_ports: Mapping[str, int],
    secrets: dict[str, str],
    given: Mapping[str, str],
    only: Collection[str] | None,
) -> Plan:
    """The plan for these settings; `only` names the parts to start and `None` means all of them."""
    chosen = set(_ORDER) if only is None else {*only, *(_STEPS_OF[name] for name in only if name in _STEPS_OF)}
    wanted = [name for name in (*_ORDER, *ours.TWINS) if name in chosen and not is_given(name, given)]
    settings = {**_defaults(wanted, chosen_ports, secrets), **given}
    topic = read(settings).memory_wal_topic
    parts = [_part(name, place, chosen_ports, secrets, topic) for name in wanted]
    if "kafka" in wanted and ours.topics_are_made(place, topic):
        parts = [part for part in parts if part.name != ours.TOPICS]
    return Plan(tuple(parts), settings, chosen_ports)


def child_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process: this one's, without any setting that is not in the plan."""
    known = {name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    inherited = {name: value for name, value in os.environ.items() if name not in known}
    return {**inherited, **_SMALL_PYTHON, **settings}


def _defaults(wanted: Collection[str], numbers: Mapping[str, int], secrets: dict[str, str]) -> dict[str, str]:
    addresses = {
        "postgres": postgres.dsn(numbers["postgres"], secrets["postgres"]),
        "redis": valkey.url(numbers["redis"], secrets["redis"]),
        "kafka": f"127.0.0.1:{numbers['kafka']}",
        "model": f"http://127.0.0.1:{numbers['model']}/v1",
        "brain": f"http://127.0.0.1:{numbers['brain']}",
    }
    found = {SETTING_OF[name]: address for name, address in addresses.items() if name in wanted}
    toy = _TOY_MODEL if "model" in wanted else {}
    return {
        **found,
        **toy,
        **ours.port_variables(numbers),
        "FLOWER_BASIC_AUTH": f"soma:{secrets['flower']}",
        "FLOWER_ADDRESS": "127.0.0.1",
        "GATEWAY_ENC_KEY": secrets["encryption"],
    }


def _part(name: str, place: Place, numbers: Mapping[str, int], secrets: dict[str, str], topic: str) -> Part:
    special: dict[str, Callable[[], Part]] = {
        "postgres": lambda: postgres.part(place, numbers["postgres"], secrets),
        "redis": lambda: valkey.part(place, numbers["redis"], secrets),
        "kafka": lambda: kafka_server.part(place, numbers["kafka"], numbers["kafka-controller"]),
        "model": lambda: _model(place, numbers["model"]),
        ours.MIGRATIONS: ours.migrations,
        ours.TOPICS: lambda: ours.topics(place, topic),
    }
    if name in ours.TWINS:
        return ours.twin(name, place, numbers)
    return special[name]() if name in special else ours.part(ProcessName(name), place, numbers)


def _model(place: Place, port: int) -> Part:
    argv = (sys.executable, "-m", "devstack.model", str(port))
    return Part("model", argv, place.run, ports=(port,), gate=gates.http_200(port, "/health"), server=True)


def choose_ports(offset: int | None, given: Mapping[str, str]) -> dict[str, int]:
    """The defaults shifted by the offset, or all of them free ones; a port that is set by name stays as it is."""
    numbers = ports.free() if offset is None else ports.shifted(offset)
    variables = {variable: name for name, variable in ours.PORT_VARIABLES.items() if given.get(variable)}
    return numbers | {name: int(given[variable]) for variable, name in variables.items()}
