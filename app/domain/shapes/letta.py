"""Letta's agent files and archival passages.

An agent file (`.af`, https://docs.letta.com/guides/core-concepts/agent-file and its schema in letta-ai/letta,
`letta/schemas/agent_file.py`) holds `agents` with their `messages`, and `blocks`, which are what an agent always has in
mind; files of before August 2025 are one agent with `core_memory` instead. Passages are what its archive holds:
https://docs.letta.com/guides/agents/archival-export writes a list of `{"id", "text", "created_at", "metadata", "tags",
...}`. Ids like `message-0` are names within one file; only those that end in a UUID are the same everywhere.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.domain.shapes.found import Foreign, Imported, NotOfThisShape, moment, name_of, without
from app.domain.shapes.letta_speech import spoken

NAME = "letta"
_LISTS = ("agents", "blocks", "core_memory", "passages", "archival_memory")
_UUID_AT_THE_END = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_BULK = ("embedding", "embedding_config")


def elements(document: object) -> list[Any] | None:
    """Agents, blocks and passages of a document; None when there are none to be seen."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    found = [one for name in _LISTS if isinstance(document.get(name), list) for one in document[name]]
    if "agent_type" in document or not found:
        return [document, *found] if knows(document) else None
    return found


def knows(element: object) -> bool:
    """Whether this is an agent, a block, a message or a passage."""
    if not isinstance(element, dict):
        return False
    if isinstance(element.get("agents"), list) or "agent_type" in element or "core_memory" in element:
        return True
    is_block = isinstance(element.get("label"), str) and isinstance(element.get("value"), str)
    return is_block or isinstance(element.get("text"), str) or _is_message(element)


def _is_message(element: Mapping[str, Any]) -> bool:
    return isinstance(element.get("role"), str) and ("content" in element or "tool_calls" in element)


def read(element: object, line: int, scope: str) -> Iterator[Imported]:
    """What one element holds: an agent many messages, anything else one memory."""
    if not isinstance(element, dict) or not knows(element):
        raise NotOfThisShape("it is neither an agent of Letta nor a block, a message or a passage")
    if isinstance(element.get("label"), str) and isinstance(element.get("value"), str):
        yield _memory(element, element["value"], line, scope)
    elif isinstance(element.get("text"), str) and not _is_message(element):
        yield _memory(element, element["text"], line, scope)
    elif _is_message(element):
        yield _message(element, {}, line, scope)
    else:
        messages = element.get("messages")
        for message in messages if isinstance(messages, list) else []:
            yield _message(message, element, line, scope)


def _memory(element: dict[str, Any], content: str, line: int, scope: str) -> Imported:
    """A block or a passage: what the agent knows; a passage of a file is text that was taken in."""
    if not content.strip():
        return Imported(line, None, "there is no text in it", True, name_of(element.get("id")))
    known = Foreign(
        NAME,
        _key(element, content),
        content,
        role="assistant",
        type="attachment_ingest" if element.get("file_id") else "conversation_event",
        created_at=moment(element.get("created_at")),
        persona=element.get("agent_id"),
        rest=without(element, "text", "value", *_BULK),
    )
    return Imported(line, known.item(scope), id=name_of(element.get("id")))


def _message(message: object, agent: Mapping[str, Any], line: int, scope: str) -> Imported:
    if not isinstance(message, dict):
        return Imported(line, None, "a message is not a JSON object")
    own = name_of(message.get("id"))
    said = spoken(message)
    if said is None:
        return Imported(line, None, "nobody said anything in it to anybody", True, own)
    name = name_of(agent.get("name"))
    remark = Foreign(
        NAME,
        _key(message, said.text),
        said.text,
        role=said.role,
        type="tool_result" if said.role == "tool" else "conversation_event",
        created_at=moment(message.get("created_at")),
        session=name or name_of(message.get("agent_id")),
        persona=name or None,
        rest=without(message, "content", "text", "role", "type"),
        also=said.also,
    )
    return Imported(line, remark.item(scope), id=own)


def _key(element: Mapping[str, Any], content: str) -> str | list[str]:
    """What makes it the same one in another file: a UUID of its own, else all that it says."""
    own = name_of(element.get("id"))
    if _UUID_AT_THE_END.search(own):
        return own
    return [content, own, *(name_of(element.get(name)) for name in ("label", "role", "created_at"))]
