"""What is started for which settings: a server only where its setting is absent."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from app.routing import ProcessName
from app.settings import Misconfigured, read
from devstack import ours, plan, ports
from devstack.place import Place

SECRETS = {"postgres_admin": "a", "postgres": "b", "redis": "c", "flower": "d", "encryption": "e-secret"}
SERVERS = {"postgres", "redis", "kafka", "model"}


def a_plan(tmp_path: Path, given: Mapping[str, str] | None = None, only: set[str] | None = None) -> plan.Plan:
    given = given or {}
    return plan.make(Place(tmp_path), plan.choose_ports(0, given), SECRETS, given, only)


def names(made: plan.Plan) -> set[str]:
    return {part.name for part in made.parts}


def test_with_nothing_set_everything_is_started(tmp_path: Path) -> None:
    assert names(a_plan(tmp_path)) == {*SERVERS, "migrations", "topics", *ProcessName}


@pytest.mark.parametrize(
    ("server", "setting", "value"),
    [
        ("postgres", "POSTGRES_DSN", "postgresql://a:b@db/soma"),
        ("redis", "REDIS_URL", "redis://cache:6379/0"),
        ("kafka", "KAFKA_BOOTSTRAP_SERVERS", "broker:9092"),
        ("model", "LLM_BASE_URL", "http://gpu:8000/v1"),
        ("brain", "SOMA_BASE_URL", "http://brain:9696"),
    ],
)
def test_a_server_of_ones_own_replaces_the_embedded_one(tmp_path: Path, server: str, setting: str, value: str) -> None:
    made = a_plan(tmp_path, {setting: value})
    assert server not in names(made)
    assert made.settings[setting] == value
    assert len(names(made)) == len(names(a_plan(tmp_path))) - 1


def test_a_setting_in_a_file_counts_as_set(tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("postgresql://a:b@db/soma")
    made = a_plan(tmp_path, {"POSTGRES_DSN_FILE": str(secret)})
    assert "postgres" not in names(made)
    assert "POSTGRES_DSN" not in made.settings


def test_the_settings_of_the_plan_are_settings_of_the_product(tmp_path: Path) -> None:
    settings = read(a_plan(tmp_path).settings)
    settings.require("postgres_dsn", "redis_url", "kafka_bootstrap_servers", "soma_base_url", "llm_base_url")
    assert settings.llm_is_toy


def test_a_model_of_ones_own_is_no_toy(tmp_path: Path) -> None:
    assert "LLM_IS_TOY" not in a_plan(tmp_path, {"LLM_BASE_URL": "http://gpu:8000/v1"}).settings


def test_a_port_that_is_set_by_name_is_used(tmp_path: Path) -> None:
    made = a_plan(tmp_path, {"GATEWAY_PORT": "30123"})
    gateway = next(part for part in made.parts if part.name == "gateway")
    assert gateway.ports == (30123,)


def test_the_topics_are_made_once_with_the_embedded_kafka_and_always_with_another(tmp_path: Path) -> None:
    first = next(part for part in a_plan(tmp_path).parts if part.name == "topics")
    first.complete()
    assert "topics" not in names(a_plan(tmp_path))
    assert "topics" in names(a_plan(tmp_path, {"MEMORY_WAL_TOPIC": "other.wal"}))
    assert "topics" in names(a_plan(tmp_path, {"KAFKA_BOOTSTRAP_SERVERS": "broker:9092"}))


def test_only_starts_what_is_named(tmp_path: Path) -> None:
    made = a_plan(tmp_path, only={"postgres", "redis"})
    assert names(made) == {"postgres", "redis"}
    assert "KAFKA_BOOTSTRAP_SERVERS" not in made.settings


def test_a_part_stands_behind_those_it_waits_for(tmp_path: Path) -> None:
    order = [part.name for part in a_plan(tmp_path).parts]
    for part in a_plan(tmp_path).parts:
        assert all(order.index(name) < order.index(part.name) for name in part.after)


def test_no_two_parts_share_a_port(tmp_path: Path) -> None:
    used = [port for part in a_plan(tmp_path).parts for port in part.ports]
    assert len(used) == len(set(used)) == len(ports.DEFAULTS) - len(ours.TWINS)


def test_a_wrong_setting_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="MEMORY_WAL_PARTITIONS"):
        a_plan(tmp_path, {"MEMORY_WAL_PARTITIONS": "many"})


def test_settings_around_the_launcher_do_not_leak_into_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://a:b@somebody-elses/soma")
    assert "POSTGRES_DSN" not in plan.child_environment({})


def test_a_second_worker_starts_only_when_it_is_named(tmp_path: Path) -> None:
    made = a_plan(tmp_path, only={"worker-replicator", "worker-replicator-2"})

    first, second = made.parts
    assert (first.name, second.name) == ("worker-replicator", "worker-replicator-2")
    assert "worker-replicator@%h" in first.argv
    assert "worker-replicator-2@%h" in second.argv
    assert second.environment["PROCESS_NAME"] == "worker-replicator"
    assert set(first.ports).isdisjoint(second.ports)
    assert not {"worker-replicator-2", "worker-delivery-2"} & names(a_plan(tmp_path))
