"""Tools are looked at before anything starts, and calls before anything is kept."""

import sys
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import Misconfigured, NotFound
from app.domain.tools import MAX_ARGS_BYTES, Effect
from app.services.message_form import request_key
from app.services.tool_form import ToolForm, WrongArguments, call_in
from app.tools.loading import load_tools

TOOLS = load_tools("drills.slow_tool")


def form(tool: str = "echo", args: dict[str, Any] | None = None, **fields: Any) -> ToolForm:
    return ToolForm(**{"session_id": "s-1", "tool_name": tool, "args": args or {}, **fields})


def test_ours_are_always_there_and_others_come_by_name() -> None:
    assert sorted(load_tools("")) == ["echo", "recall", "remember", "timestamp"]
    assert {name: tool.effect for name, tool in TOOLS.items()} == {
        "echo": "read", "recall": "read", "remember": "idempotent", "timestamp": "read",
        "slow_write": "write", "slow_again": "idempotent",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("no.such.module", "no.such.module cannot be imported"),
        ("app.domain.leases", "app.domain.leases is no tool, it has no TOOLS"),
        ("app.tools.echo", "app.tools.echo brings a second tool called echo"),
    ],
)
def test_a_module_that_is_no_tool_stops_the_start_with_a_sentence(module: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=f"TOOL_MODULES is wrong: {words}"):
        load_tools(f"drills.slow_tool, {module}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("effect = 'maybe'", "has the effect 'maybe'; it is one of read, idempotent, write"),
        ("name = 'Not This'", "is called 'Not This'"),
        ("arguments = dict", "does not describe its arguments by a pydantic model"),
        ("run = None", "cannot be run"),
        ("pass\ndel T.run", "has no run"),
    ],
)
def test_a_tool_that_lacks_something_stops_the_start(
    change: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = """from pydantic import BaseModel
class T:
    name, description, effect, arguments = 'mine', 'Mine.', 'read', BaseModel
    run = print
    """
    name = f"tool_{abs(hash(change))}"
    (tmp_path / f"{name}.py").write_text(f"{whole}{change}\nTOOLS = (T,)\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(Misconfigured, match=words):
        load_tools(name)

    sys.modules.pop(name, None)


def test_a_call_carries_what_its_tool_does_to_the_world() -> None:
    asked = call_in(form("slow_write", {"seconds": 1.0, "mark": "a"}, persona_id="p"), TOOLS, "public", "00-aa-bb-01")

    assert (asked.tool, asked.effect, asked.tenant, asked.tenant_named) == ("slow_write", Effect.WRITE, "public", False)
    assert (asked.persona_id, asked.traceparent) == ("p", "00-aa-bb-01")


def test_an_unknown_tool_is_not_found() -> None:
    with pytest.raises(NotFound, match="no tool called unknown"):
        call_in(form("unknown"), TOOLS, "public", None)


@pytest.mark.parametrize(
    ("args", "where"),
    [
        ({}, [["body", "args", "text"]]),
        ({"text": 1}, [["body", "args", "text"]]),
        ({"text": "hi", "loud": True}, [["body", "args", "loud"]]),
        ({"text": "x" * MAX_ARGS_BYTES}, [["body", "args"]]),
    ],
)
def test_arguments_that_break_the_schema_are_refused_with_the_place(args: dict[str, Any], where: Any) -> None:
    with pytest.raises(WrongArguments) as refused:
        call_in(form("echo", args), TOOLS, "public", None)

    assert [error["loc"] for error in refused.value.errors] == where


def test_another_body_has_another_digest_under_the_same_key() -> None:
    one, same, other = (
        request_key("k", "POST /v1/tool/request", form(args={"text": text}), "public") for text in ("a", "a", "b")
    )

    assert one == same
    assert one.body_digest != other.body_digest
