"""Open WebUI's chats, as conversations in the order in which they were shown.

The shape is documented at https://docs.openwebui.com/features/chat-conversations/data-controls/import-export/: a list
of `{"chat": {"title", "models", "history": {"currentId", "messages": {<id>: {"id", "parentId", "childrenIds", "role",
"content", "model", "timestamp"}}}}, "meta", "created_at", ...}`, or of what is inside `chat`. `currentId` is the last
message of the branch that was shown; where there is no tree, `chat.messages` is the list that older versions kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from app.domain.shapes.found import Foreign, Imported, NotOfThisShape, moment, name_of, text_of, without

NAME = "openwebui"
_ROLES = frozenset({"user", "assistant", "system", "tool"})
_STEP = timedelta(milliseconds=1)


def elements(document: object) -> list[Any] | None:
    """The chats of a document; None when there are none to be seen."""
    if isinstance(document, list):
        return document
    if isinstance(document, dict) and isinstance(document.get("chats"), list):
        return list(document["chats"])
    return [document] if knows(document) else None


def knows(element: object) -> bool:
    """Whether this is a chat."""
    return isinstance(element, dict) and _is_chat(element.get("chat", element))


def _is_chat(chat: object) -> bool:
    return isinstance(chat, dict) and (_tree(chat) is not None or isinstance(chat.get("messages"), list))


def read(element: object, line: int, scope: str) -> Iterator[Imported]:
    """The messages of one chat, oldest first; then those that belong to another version of it, as skipped."""
    chat = element.get("chat", element) if isinstance(element, dict) else None
    if not isinstance(element, dict) or not isinstance(chat, dict) or not _is_chat(chat):
        raise NotOfThisShape("a chat of Open WebUI has history.messages or messages")
    shown, hidden = _branches(chat)
    before = moment(element.get("created_at"))
    for place, message in enumerate(shown):
        said = _message(message, element, place)
        if isinstance(said, Foreign):
            before = _in_order(said.created_at, before)
            item = replace(said, created_at=before).item(scope)
            yield Imported(line, item, id=name_of(message.get("id")))
        else:
            yield Imported(line, None, *said, id=name_of(message.get("id")))
    for message in hidden:
        yield Imported(line, None, "it is not on the branch that the chat shows", True, name_of(message.get("id")))


def _message(message: Mapping[str, Any], element: Mapping[str, Any], place: int) -> Foreign | tuple[str, bool]:
    """What was said; else why there is nothing, and whether that is as it should be."""
    chat = element.get("chat", element)
    content = text_of(message.get("content"))
    if not content.strip():
        return "there is no text in it", True
    if message.get("role") not in _ROLES:
        return "its role is not user, assistant, system or tool", False
    chat_id, own = name_of(element.get("id") or chat.get("id")), name_of(message.get("id"))
    return Foreign(
        NAME,
        [chat_id, own or f"number {place}", "" if chat_id and own else content],
        content,
        role=str(message["role"]),
        created_at=moment(message.get("timestamp")),
        session=chat_id or name_of(chat.get("title")),
        rest=without({**message, "title": chat.get("title")}, "content", "childrenIds", "role"),
    )


def _in_order(told: datetime | None, before: datetime | None) -> datetime | None:
    """Their clock counts seconds, so a question and its answer may share one: never earlier than the one before."""
    if before is None:
        return told
    try:
        return max(told, before + _STEP) if told else before + _STEP
    except OverflowError:
        return before


def _tree(chat: Mapping[str, Any]) -> dict[str, Any] | None:
    history = chat.get("history")
    messages = history.get("messages") if isinstance(history, dict) else None
    return messages if isinstance(messages, dict) and messages else None


def _branches(chat: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The messages that are shown, in order, and the others."""
    tree = _tree(chat)
    flat = _objects(chat.get("messages"))
    if tree is None:
        return flat, []
    shown = _walk(tree, chat["history"].get("currentId"))
    if not shown:
        return flat or _objects(list(tree.values())), []
    ids = set(shown)
    return _objects([tree[one] for one in shown]), _objects([each for one, each in tree.items() if one not in ids])


def _walk(tree: Mapping[str, Any], current: object) -> list[str]:
    """Ids from the root to `current`; parents that lead in a circle end the walk."""
    path: dict[str, None] = {}
    while isinstance(current, str) and current not in path and isinstance(tree.get(current), dict):
        path[current] = None
        current = tree[current].get("parentId")
    return list(reversed(path))


def _objects(values: object) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
