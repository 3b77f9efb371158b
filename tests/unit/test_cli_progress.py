"""A command of many rounds says how far it is, and how far it came when somebody stops it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.cli import __main__ as command_line
from app.cli.client import Client, Refused

Answer = Callable[[], dict[str, Any]]


def a_round(count: int, remaining: int) -> Answer:
    """What the gateway answers to a replay and to a discarding."""
    more = 1 if remaining else None
    return lambda: {
        "count": count, "discarded": count, "failed": [], "skipped": [], "remaining": remaining, "next_after": more,
    }  # fmt: skip


def stopped() -> dict[str, Any]:
    raise KeyboardInterrupt


def refused() -> dict[str, Any]:
    raise Refused("the gateway answered 503")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Answer]]:
    """What the gateway will do, call by call."""
    script: list[Answer] = []
    monkeypatch.setattr(Client, "call", lambda *_, **__: script.pop(0)())
    yield script
    assert not script, "every answer was asked for"


def typed(*words: str) -> int:
    return command_line.main(["--gateway", "http://127.0.0.1:1", *words])


def typed_at_a_terminal(*words: str) -> int:
    return typed(*words, "--table")


DEEDS = [(("replay", "t.dlq"), "replayed"), (("discard", "t.dlq", "--all"), "discarded")]


@pytest.mark.parametrize(("words", "deed"), DEEDS)
def test_each_round_but_the_last_says_how_many_are_done(
    answers: list[Answer], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], deed: str
) -> None:
    answers += [a_round(500, 700), a_round(500, 200), a_round(200, 0)]

    assert typed_at_a_terminal("dlq", *words) == 0

    printed = capsys.readouterr()
    assert printed.out == f"1200 {deed}.\n"
    assert [line.split(",")[0] for line in printed.err.splitlines()] == [f"500 of 1200 {deed}", f"1000 of 1200 {deed}"]
    assert all(line.endswith(" a second") for line in printed.err.splitlines())


@pytest.mark.parametrize(("words", "deed"), DEEDS)
def test_stopping_in_the_middle_is_status_130_and_says_what_was_done(
    answers: list[Answer], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], deed: str
) -> None:
    answers += [a_round(500, 700), stopped]

    assert typed("dlq", *words) == 130

    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"soma: stopped; 500 {deed}" in printed.err


def test_another_program_gets_the_counts_as_one_json_line(
    answers: list[Answer], capsys: pytest.CaptureFixture[str]
) -> None:
    answers += [a_round(500, 0), a_round(7, 0)]

    assert typed("dlq", "replay", "t.dlq") == 0
    assert typed("dlq", "discard", "t.dlq", "--all") == 0

    replayed, discarded = map(json.loads, capsys.readouterr().out.splitlines())
    assert replayed == {"dry_run": False, "count": 500, "failed": [], "skipped": []}
    assert discarded == {"discarded": 7}


def test_trouble_in_the_middle_says_what_was_done(answers: list[Answer], capsys: pytest.CaptureFixture[str]) -> None:
    answers += [a_round(500, 700), refused]

    assert typed("dlq", "replay", "t.dlq") == 1

    assert "soma: 500 replayed, then: the gateway answered 503" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "status"), [(["work", "--watch"], 0), (["work"], 130), (["dlq"], 130)])
def test_only_watching_may_be_stopped_as_if_it_were_done(answers: list[Answer], words: list[str], status: int) -> None:
    answers.append(stopped)

    assert typed(*words) == status
