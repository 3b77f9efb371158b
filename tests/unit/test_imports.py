"""Memories from elsewhere: four shapes become memories of ours, each wrong line a sentence, and twice is as once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.imports import Imported, Shape, detect, parse

A_UUID = "3f1b7a52-8d0e-4f58-9d4e-0c2f5ad0f0aa"


def read(shape: Shape, document: Any, **options: Any) -> list[Imported]:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(parse(shape, raw, **options))


def items(found: list[Imported]) -> list[dict[str, Any]]:
    return [dict(one.item) for one in found if one.item is not None]


def told(found: list[Imported]) -> list[tuple[int, str, bool]]:
    return [(one.line, one.error, one.skipped) for one in found if one.item is None]


def a_payload(**fields: Any) -> dict[str, Any]:
    return {
        "id": "m-1", "type": "conversation_event", "role": "user", "content": "my name is Ada", "session_id": "s-1",
        "persona_id": None, "metadata": {"universe_id": "u"}, "attachments": [], "idempotency_key": "k",
        "namespace": "wm", "created_at": "2026-01-01T00:00:00+00:00", "extra": [1, {"deep": None}], **fields,
    }  # fmt: skip


def a_row(payload: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": 7, "event_id": payload.get("id"), "session_id": "s-1", "persona_id": None, "tenant": "t1", "role": "user",
        "universe": "u", "namespace": "wm", "coord": [0.1, 0.2, 0.3], "request_id": "r", "trace_id": None,
        "payload": payload, "wal_timestamp": 1.5, "created_at": "2026-01-02T00:00:00+00:00", "deleted_at": None,
        **fields,
    }  # fmt: skip


def test_a_row_of_our_export_is_the_memory_that_it_was() -> None:
    payload = a_payload()
    (item,) = items(read(Shape.SOMA, a_row(payload)))

    assert item == payload | {"tenant": "t1", "universe": "u"}


def test_what_the_payload_does_not_say_comes_from_the_row() -> None:
    (item,) = items(read(Shape.SOMA, a_row({"type": "attachment", "content": "x"}, event_id="e-1")))

    assert (item["id"], item["session_id"], item["role"], item["tenant"]) == ("e-1", "s-1", "user", "t1")
    assert item["created_at"] == "2026-01-02T00:00:00+00:00"


def test_deleted_rows_and_the_mark_of_a_limit_are_skipped_with_the_reason() -> None:
    lines = [a_row({}, event_id="gone", deleted_at="2026-01-03T00:00:00Z"), {"truncated": True, "total_rows": 9}]
    found = read(Shape.SOMA, b"\n".join(json.dumps(line).encode() for line in lines), first_line=41)

    assert [(one.line, one.skipped, one.id) for one in found] == [(41, True, "gone"), (42, True, "")]
    assert "limit" in found[1].error


def test_a_bare_memory_keeps_its_id_or_gets_one_by_its_content() -> None:
    named, first, again = (
        items(read(Shape.SOMA, {"type": "attachment", "content": "x", **fields}))[0] for fields in ({"id": "m"}, {}, {})
    )
    assert named["id"] == "m"
    assert first["id"] == again["id"] != "m"


def test_a_page_of_mem0_becomes_facts_about_whom_they_are() -> None:
    fact = {"id": A_UUID, "memory": "Ada likes tea", "user_id": "ada", "agent_id": "helper", "run_id": "run-1",
            "hash": "h", "metadata": {"tenant": "other", "namespace": "other"}, "categories": ["food"],
            "created_at": "2024-07-20T01:30:36.275141-07:00", "updated_at": None, "score": 0.5}  # fmt: skip
    (item,) = items(read(Shape.MEM0, {"count": 1, "next": None, "results": [fact]}))

    assert (item["content"], item["role"], item["persona_id"]) == ("Ada likes tea", "user", "helper")
    assert item["session_id"] == "mem0:run-1"
    assert item["created_at"] == "2024-07-20T08:30:36.275141+00:00"
    assert item["metadata"]["mem0"]["categories"] == ["food"]
    assert not item.keys() & {"tenant", "namespace"}
    assert item["metadata"].keys() == {"imported_from", "mem0"}


@pytest.mark.parametrize("wrap", [lambda facts: facts, lambda facts: {"results": facts, "relations": []}])
def test_mem0_may_come_as_a_list_as_a_page_and_as_lines_with_the_same_ids(wrap: Any) -> None:
    facts = [{"id": f"f{n}", "memory": f"fact {n}", "agent_id": "a"} for n in range(3)]
    lines = [json.dumps(fact).encode() for fact in facts]
    found = read(Shape.MEM0, wrap(facts), first_line=5)

    assert [one.line for one in found] == [5, 6, 7]
    assert [one.item for one in found] == [one.item for one in parse(Shape.MEM0, lines, 5)]
    assert {item["role"] for item in items(found)} == {"assistant"}


def test_a_fact_without_an_id_has_one_by_what_it_says_about_whom() -> None:
    ada, again, bob = (
        items(read(Shape.MEM0, [{"memory": "likes tea", "user_id": who}]))[0]["id"] for who in ("ada", "ada", "bob")
    )
    assert ada == again != bob


def test_two_tenants_can_import_the_same_file() -> None:
    first, second = (items(read(Shape.MEM0, [{"id": "1", "memory": "x"}], scope=tenant)) for tenant in ("t1", "t2"))

    assert first[0]["id"] != second[0]["id"]


def a_message(own: str, parent: str | None, role: str = "user", **fields: Any) -> dict[str, Any]:
    return {"id": own, "parentId": parent, "childrenIds": [], "role": role, "content": f"text {own}",
            "timestamp": 1_700_000_000, **fields}  # fmt: skip


def a_chat(*messages: dict[str, Any], current: str | None, **fields: Any) -> dict[str, Any]:
    tree = {message["id"]: message for message in messages}
    return {"id": "c-1", "chat": {"title": "Tea", "history": {"currentId": current, "messages": tree}}, **fields}


def test_a_chat_is_the_branch_that_was_shown_in_its_order() -> None:
    chat = a_chat(
        a_message("b2", "a", "assistant"), a_message("a", None), a_message("b1", "a", "assistant"),
        a_message("c", "b2", timestamp=1_600_000_000), current="c",
    )  # fmt: skip
    found = read(Shape.OPENWEBUI, [chat])
    shown = items(found)

    assert [item["content"] for item in shown] == ["text a", "text b2", "text c"]
    assert [item["role"] for item in shown] == ["user", "assistant", "user"]
    assert [item["session_id"] for item in shown] == ["openwebui:c-1"] * 3
    assert sorted(item["created_at"] for item in shown) == [item["created_at"] for item in shown]
    assert len({item["created_at"] for item in shown}) == 3
    assert [(one.id, one.skipped) for one in found if one.item is None] == [("b1", True)]


def test_a_circle_of_parents_ends() -> None:
    chat = a_chat(a_message("a", "b"), a_message("b", "a"), current="a")

    assert [item["content"] for item in items(read(Shape.OPENWEBUI, [chat]))] == ["text b", "text a"]


def test_an_old_chat_is_a_list_and_may_say_the_same_twice() -> None:
    chat = {"title": "Old", "messages": [{"role": "user", "content": "ok"}, {"role": "user", "content": "ok"}]}
    first, second = items(read(Shape.OPENWEBUI, [chat]))

    assert first["id"] != second["id"]
    assert first["session_id"] == "openwebui:Old"


def test_messages_without_text_are_skipped_and_unknown_roles_told() -> None:
    chat = a_chat(
        a_message("a", None, content=[{"type": "text", "text": "see"}, {"type": "image_url"}]),
        a_message("b", "a", "assistant", content=""), a_message("c", "b", "robot"), current="c",
    )  # fmt: skip
    found = read(Shape.OPENWEBUI, [chat])

    assert [item["content"] for item in items(found)] == ["see"]
    assert [(one.id, one.skipped) for one in found if one.item is None] == [("b", True), ("c", False)]


def an_agent(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"id": "agent-0", "name": "Sam", "agent_type": "letta_v1_agent", "messages": list(messages)}


def test_an_agent_file_becomes_its_talk_and_its_blocks() -> None:
    heard = {"type": "user_message", "message": "hi there", "time": "now"}
    call = {"id": "x", "function": {"name": "send_message", "arguments": json.dumps({"message": "hello Ada"})}}
    agent = an_agent(
        {"id": "message-0", "role": "system", "content": [{"type": "text", "text": "You are Sam."}]},
        {"id": "message-1", "role": "user", "content": [{"type": "text", "text": json.dumps(heard)}],
         "created_at": "2025-10-31T22:56:56.459100+00:00"},
        {"id": "message-2", "role": "user", "content": json.dumps({"type": "heartbeat"})},
        {"id": "message-3", "role": "assistant", "content": [], "tool_calls": [call]},
        {"id": "message-4", "role": "tool", "name": "send_message", "content": "None"},
        {"id": "message-5", "role": "tool", "name": "search", "content": "2 hits",
         "tool_returns": [{"status": "error"}]},
        {"id": "message-6", "role": "assistant", "content": "plain"},
    )  # fmt: skip
    block = {"id": "block-0", "label": "human", "value": "Her name is Ada.", "metadata": {}}
    found = read(Shape.LETTA, {"agents": [agent], "blocks": [block], "tools": [{"name": "search"}], "files": []})

    assert [(item["role"], item["content"]) for item in items(found)] == [
        ("user", "hi there"), ("assistant", "hello Ada"), ("tool", "2 hits"), ("assistant", "plain"),
        ("assistant", "Her name is Ada."),
    ]  # fmt: skip
    result = items(found)[2]
    assert (result["type"], result["tool_name"], result["status"]) == ("tool_result", "search", "error")
    assert items(found)[0]["session_id"] == "letta:Sam"
    assert items(found)[4]["metadata"]["letta"]["label"] == "human"
    assert [one.id for one in found if one.skipped] == ["message-0", "message-2", "message-4"]


def test_an_agent_file_of_before_has_its_blocks_inside() -> None:
    agent = an_agent({"role": "user", "text": "hi", "content": None}) | {"core_memory": [{"label": "a", "value": "b"}]}

    assert [item["content"] for item in items(read(Shape.LETTA, agent))] == ["hi", "b"]


def test_passages_are_what_the_agent_knows_without_their_vectors() -> None:
    passages = [
        {"id": f"passage-{A_UUID}", "text": "tea is hot", "created_at": "2025-01-01T00:00:00", "embedding": [0.1] * 9,
         "tags": ["t"]},
        {"id": "passage-x", "text": "chapter one", "file_id": "file-1"},
    ]  # fmt: skip
    first, second = items(read(Shape.LETTA, passages))

    assert (
        first["metadata"]["letta"] == passages[0] | {"embedding": None}
        if False
        else "tags" in first["metadata"]["letta"]
    )
    assert "embedding" not in first["metadata"]["letta"]
    assert (first["type"], second["type"]) == ("conversation_event", "attachment_ingest")
    assert first["created_at"] == "2025-01-01T00:00:00+00:00"


def test_a_name_within_one_file_is_no_id_in_another() -> None:
    one, other = (
        items(read(Shape.LETTA, [{"id": "block-0", "label": "human", "value": text}]))[0]["id"] for text in ("a", "b")
    )
    assert one != other


DEEP = b"[" * 100 + b"]" * 100
BAD_LINES = {
    "no JSON": (b"hello", "not JSON"),
    "cut": (b'{"event_id": "e", "payl', "not JSON"),
    "UTF-16": ('{"event_id": "e"}'.encode("utf-16"), "UTF-16"),
    "not UTF-8": (b'{"event_id": "\xff"}', "UTF-8"),
    "NUL": (b'{"event_id": "e", "payload": {"content": "a\\u0000"}}', "NUL"),
    "half a pair": (b'{"event_id": "e", "payload": {"content": "\\ud800"}}', "surrogate"),
    "too deep": (b'{"event_id": "e", "payload": {"content": ' + DEEP + b"}}", "nested deeper"),
    "far too deep": (b"[" * 100_000, "nested deeper"),
    "a number": (b"7", "shape soma"),
    "another object": (b"{}", "shape soma"),
    "a memory too deep for an id": (b'{"content": "x", "a": ' + b"[" * 500 + b"]" * 500 + b"}", "nested deeper"),
    "no payload": (b'{"event_id": "e"}', "payload"),
    "no id": (b'{"payload": {"content": "x"}}', "event_id is missing"),
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_wrong_line_is_told_and_its_neighbours_are_kept(line: bytes, reason: str) -> None:
    good = json.dumps(a_row(a_payload())).encode()
    found = list(parse(Shape.SOMA, [good, line, b"\n", good], first_line=10))

    assert [one.line for one in found] == [10, 11, 13]
    assert reason in found[1].error
    assert not found[1].skipped
    assert len(items(found)) == 2


@pytest.mark.parametrize("bad", ['"a\\u0000"', '"\\ud800"'])
def test_one_message_that_cannot_be_kept_costs_its_chat_nothing_else(bad: str) -> None:
    chat = json.dumps([a_chat(a_message("a", None), a_message("b", "a"), current="b")]).replace('"text b"', bad)
    found = read(Shape.OPENWEBUI, chat.encode())

    assert [item["content"] for item in items(found)] == ["text a"]
    assert [one.id for one in found if one.error] == ["b"]


def test_a_document_that_was_cut_gives_what_stands_before_the_cut() -> None:
    whole = json.dumps({"results": [{"id": str(n), "memory": f"fact {n}"} for n in range(5)]}).encode()
    found = read(Shape.MEM0, whole[:-30])

    assert [item["content"] for item in items(found)] == ["fact 0", "fact 1", "fact 2", "fact 3"]
    assert found[-1].line == 5
    assert "what stands before it was read" in found[-1].error


def test_a_document_in_utf_16_is_one_sentence() -> None:
    (found,) = read(Shape.MEM0, json.dumps([{"memory": "x"}]).encode("utf-16"))

    assert "save the file as UTF-8" in found.error


def test_a_list_with_an_element_a_line_is_a_document() -> None:
    raw = b'[\n{"memory": "a"}\n,\n{"memory": "b"}\n]\n'

    assert [(one.line, one.error) for one in read(Shape.MEM0, raw)] == [(1, ""), (2, "")]


def test_a_mark_of_the_byte_order_before_utf_8_does_no_harm() -> None:
    assert len(items(read(Shape.SOMA, b"\xef\xbb\xbf" + json.dumps(a_row(a_payload())).encode()))) == 1


RECOGNISED = {
    "our export": (Shape.SOMA, [a_row(a_payload())]),
    "a page of ours": (Shape.SOMA, {"items": [a_row(a_payload())], "next_cursor": None}),
    "a memory": (Shape.SOMA, a_payload()),
    "mem0": (Shape.MEM0, {"results": [{"id": "1", "memory": "x"}]}),
    "an agent file": (Shape.LETTA, {"agents": [an_agent()], "blocks": []}),
    "an old agent file": (Shape.LETTA, an_agent({"role": "user", "content": "x"})),
    "passages": (Shape.LETTA, [{"id": "p", "text": "x"}]),
    "chats": (Shape.OPENWEBUI, [a_chat(a_message("a", None), current="a")]),
    "old chats": (Shape.OPENWEBUI, [{"title": "x", "messages": [{"role": "user", "content": "x"}]}]),
    "anything": (None, {"hello": [1]}),
}


@pytest.mark.parametrize(("shape", "document"), RECOGNISED.values(), ids=RECOGNISED.keys())
def test_a_shape_is_known_by_its_first_value(shape: Shape | None, document: Any) -> None:
    assert detect(json.dumps(document).encode()) is shape
    assert detect(json.dumps(document, indent=1).encode()) is shape


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([
            "id", "event_id", "payload", "content", "memory", "results", "messages", "history", "currentId", "chat",
            "parentId", "role", "agents", "blocks", "text", "label", "value", "created_at", "timestamp", "truncated",
            "tool_calls", "function", "name", "arguments", "tool_returns", "agent_type", "items", "run_id", "a", "b",
        ]) | st.text(max_size=2), inner, max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@given(st.sampled_from(Shape), st.binary(max_size=200))
def test_no_bytes_whatever_break_a_parser(shape: Shape, raw: bytes) -> None:
    for found in (*parse(shape, raw), *parse(shape, raw.split(b"\n"), 3)):
        assert found.item is not None or found.error
    detect(raw)


@given(st.sampled_from(Shape), json_values)
def test_no_json_whatever_breaks_a_parser_and_every_memory_can_be_kept(shape: Shape, value: object) -> None:
    raw = json.dumps(value).replace("NaN", "1").replace("Infinity", "1e999").encode()
    for found in parse(shape, raw):
        assert found.item is not None or found.error
        json.dumps(found.item, allow_nan=False).encode()
        found.id.encode()
    detect(raw)


@given(st.sampled_from(Shape), st.data())
def test_every_cut_of_a_file_is_told_and_read_up_to_the_cut(shape: Shape, data: st.DataObject) -> None:
    documents = {expected: document for expected, document in reversed(RECOGNISED.values()) if expected}
    whole = json.dumps(documents[shape]).encode()
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    found = list(parse(shape, cut))

    assert any(one.error and not one.skipped for one in found) or not cut.strip()
