"""The launcher's small decisions: ports, pauses, causes, `.env`, what is shown and what is kept quiet."""

import io
import sys
from pathlib import Path

import pytest

from devstack import dotenv, java, kafka_lock, ports
from devstack.console import Console
from devstack.faults import CannotStart
from devstack.life import cause_of, pause_after
from devstack.notes import Kind, Note


def test_an_offset_shifts_every_port_alike() -> None:
    assert ports.shifted(1000) == {name: port + 1000 for name, port in ports.DEFAULTS.items()}


@pytest.mark.parametrize("offset", [40_000, -9_000])
def test_an_offset_that_leaves_the_range_of_ports_is_refused_in_one_line(offset: int) -> None:
    with pytest.raises(CannotStart, match="PORT_OFFSET") as refused:
        ports.shifted(offset)
    assert "\n" not in str(refused.value)


def test_free_ports_are_distinct_and_stay_clear_of_outgoing_connections() -> None:
    chosen = ports.free()
    assert len(set(chosen.values())) == len(ports.DEFAULTS)
    assert max(chosen.values()) < 32_768


def test_pauses_grow_and_have_a_limit() -> None:
    pauses = [pause_after(deaths) for deaths in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 0
    assert pauses[-1] == 30


@pytest.mark.parametrize(
    ("returncode", "words"),
    [(-9, "was ended by SIGKILL"), (1, "ended with exit status 1"), (-250, "was ended by signal 250")],
)
def test_a_death_is_told_in_words(returncode: int, words: str) -> None:
    assert cause_of(returncode) == words


def test_dotenv_reads_quotes_comments_and_exports(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# a comment\n\nA=1\nexport B = 'two words'\nC=\"x#y\"\nD=plain # said so\nE=a#b\nF=\n")
    assert dotenv.read(path) == {"A": "1", "B": "two words", "C": "x#y", "D": "plain", "E": "a#b", "F": ""}


def test_dotenv_names_the_line_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nnonsense\n")
    with pytest.raises(CannotStart, match=r"line 2: write NAME=value"):
        dotenv.read(tmp_path / ".env")


def test_a_missing_dotenv_is_no_settings(tmp_path: Path) -> None:
    assert dotenv.read(tmp_path / ".env") == {}


def test_a_repeated_warning_is_shown_once() -> None:
    stream = io.StringIO()
    console = Console(stream)
    for number in range(5):
        console.take(Note(Kind.ALARM, "gateway", f"WARNING request {number} failed"))
    console.take(Note(Kind.ALARM, "gateway", "ERROR something else"))
    assert stream.getvalue().count("WARNING") == 1
    assert stream.getvalue().count("ERROR") == 1


def test_nothing_is_coloured_where_nobody_looks() -> None:
    stream = io.StringIO()
    Console(stream).take(Note(Kind.EVENT, "redis", "is back"))
    assert "\x1b" not in stream.getvalue()


def test_escape_sequences_of_a_log_do_not_reach_the_terminal() -> None:
    stream = io.StringIO()
    Console(stream).take(Note(Kind.ALARM, "redis", "ERROR \x1b[2J gone"))
    assert "\x1b" not in stream.getvalue()


def test_a_step_tells_its_seconds() -> None:
    stream = io.StringIO()
    Console(stream).take(Note(Kind.STEP, "kafka", "ready", 3.21))
    assert stream.getvalue().split() == ["3.2", "s", "kafka", "ready"]


def test_the_lock_of_kafka_pins_every_jar() -> None:
    jars = kafka_lock.jars()
    assert len(jars) == 46
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert "kafka_2.13-4.1.1.jar" in {jar.file_name for jar in jars}


def test_a_jar_with_other_bytes_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / kafka_lock.jars()[0].file_name).write_bytes(b"not the pinned bytes")
    assert kafka_lock.missing(tmp_path) == kafka_lock.jars()


@pytest.mark.parametrize(("said", "major"), [("21.0.2", 21), ("1.8.0_292", 1), ("17", 17)])
def test_the_version_of_a_java_command_is_read(tmp_path: Path, said: str, major: int) -> None:
    command = tmp_path / "java"
    command.write_text(f"#!/bin/sh\necho 'openjdk version \"{said}\"' >&2\n")
    command.chmod(0o755)
    assert java.major(str(command)) == major


def test_without_any_java_the_person_learns_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "_candidates", lambda: ["/nowhere/java"])
    with pytest.raises(CannotStart, match=r"Java 17 or newer.*KAFKA_BOOTSTRAP_SERVERS"):
        java.find()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a choice is not kept")
def test_two_stacks_that_choose_at_once_never_choose_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    few = range(20_500, 20_500 + 3 * len(ports.DEFAULTS))
    monkeypatch.setattr(ports, "_FREE_FROM", few.start)
    monkeypatch.setattr(ports, "_FREE_TO", few.stop)
    monkeypatch.setattr(ports, "_DRAWN", len(few))

    first, second = ports.free(), ports.free()

    assert set(first.values()).isdisjoint(second.values())
