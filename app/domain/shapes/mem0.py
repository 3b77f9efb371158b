"""mem0's memories: facts with the ids of whom they are about.

The fields are those of mem0's API reference (https://docs.mem0.ai/api-reference/memory/get-memory) and of its guide to
exporting (https://docs.mem0.ai/cookbooks/essentials/exporting-memories): a page of `get_all` is `{"count", "results":
[...]}`, older clients give the bare list, and each memory has `id`, `memory`, `user_id`, `agent_id`, `app_id`,
`run_id`, `hash`, `metadata`, `categories`, `created_at`, `updated_at`. A structured export made with a schema of one's
own has other fields; only its `memories`, if they are such facts, can be read.
"""

from collections.abc import Iterator
from typing import Any

from app.domain.shapes.found import Foreign, Imported, NotOfThisShape, moment, name_of, text_of, without

NAME = "mem0"
_LISTS = ("results", "memories")
_WHOSE = ("user_id", "agent_id", "run_id")
_ROLES = frozenset({"user", "assistant", "system", "tool"})


def elements(document: object) -> list[Any] | None:
    """The memories of a document; None when there are none to be seen."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        return None
    lists = [document[name] for name in _LISTS if isinstance(document.get(name), list)]
    return lists[0] if lists else [document] if knows(document) else None


def knows(element: object) -> bool:
    """Whether this is one of mem0's memories."""
    return isinstance(element, dict) and isinstance(element.get("memory"), str)


def read(element: object, line: int, scope: str) -> Iterator[Imported]:
    """The one memory of an element."""
    if not isinstance(element, dict) or not isinstance(element.get("memory"), str):
        raise NotOfThisShape("a memory of mem0 is an object whose field memory is a text")
    content = text_of(element["memory"])
    if not content.strip():
        yield Imported(line, None, "there is no text in it", True, name_of(element.get("id")))
        return
    fact = Foreign(
        NAME,
        name_of(element.get("id")) or [content, *(name_of(element.get(name)) for name in _WHOSE)],
        content,
        role=_role(element),
        created_at=moment(element.get("created_at")),
        session=name_of(element.get("run_id")),
        persona=element.get("agent_id"),
        rest=without(element, "memory", "score"),
    )
    yield Imported(line, fact.item(scope), id=name_of(element.get("id")))


def _role(element: dict[str, Any]) -> str:
    """As mem0 draws its facts: from what the user said, unless they are an agent's alone."""
    if isinstance(element.get("role"), str) and element["role"] in _ROLES:
        return str(element["role"])
    return "assistant" if element.get("agent_id") and not element.get("user_id") else "user"
