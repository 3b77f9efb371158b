"""What the scripted gateway lets people do to whole conversations: name, hold, branch, find, take along, delete."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from app.domain.actions import REQUESTS, Action
from app.domain.browse import search_words
from app.domain.utterances import snippet
from tests.browser.scripted_gateway import ScriptedGateway, Session

Body = dict[str, Any]
Reply = tuple[int, Body]
_NOT_FOUND: Reply = (404, {"title": "Not Found", "status": 404, "detail": "there is no such session"})
_SAID = ("user", "assistant.final")


def read(gateway: ScriptedGateway, parts: list[str], query: str) -> Reply:
    """The list of sessions, one of them, or where words were said (`parts`: a path without slashes)."""
    if parts == ["v1", "sessions"]:
        return 200, _listed(gateway)
    if parts == ["v1", "sessions", "search"]:
        return _found(gateway, query)
    session = gateway.sessions.get(parts[2]) if parts[:2] == ["v1", "sessions"] and len(parts) == 3 else None
    return (200, _told(session)) if session else _NOT_FOUND


def _told(session: Session) -> Body:
    """The session as lists show it."""
    return {
        "session_id": session.id, "title": session.title or None, "paused": session.paused, "metadata": session.origin,
        "updated_at": session.events[-1]["created_at"] if session.events else "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


def _listed(gateway: ScriptedGateway) -> Body:
    """Every session in which something was said, newest first."""
    found = [one for one in gateway.sessions.values() if one.events]
    return {"items": [_told(one) for one in reversed(found)], "next_cursor": None}


def _found(gateway: ScriptedGateway, query: str) -> Reply:
    """Where all of these words were said, newest first."""
    try:
        words = search_words(query)
    except ValueError as error:
        return 422, {"status": 422, "detail": f"in the query, q: {error}"}
    said = [(one, event) for one in gateway.sessions.values() for event in one.events if event["type"] in _SAID]
    hits = [(one, event) for one, event in said if all(word.lower() in event["message"].lower() for word in words)]
    items = [
        {name: event[name] for name in ("session_id", "seq", "role", "created_at")}
        | {"title": one.title, "snippet": snippet(event["message"], words)}
        for one, event in reversed(hits)
    ]
    return 200, {"items": items, "next_cursor": None}


def change(gateway: ScriptedGateway, method: str, parts: list[str], body: Body, key: str | None) -> Reply | None:
    """What was asked of one session or of documents; None for any other path (`parts`: without slashes)."""
    if parts == ["v1", "session", "action"]:
        return _act(gateway, body, key)
    if parts == ["v1", "sessions", "export"]:
        return 200, {"chats": [_document(gateway.sessions[body["session_id"]])]}
    if parts == ["v1", "sessions", "import"]:
        return _bring_back(gateway, body)
    deed = _DEEDS.get((method, *parts[3:])) if parts[:2] in (["v1", "session"], ["v1", "sessions"]) else None
    if deed is None or parts[2:] in (["message"], ["search"]):
        return None
    return deed(gateway, gateway.sessions[parts[2]], body, key) if parts[2] in gateway.sessions else _NOT_FOUND


def _act(gateway: ScriptedGateway, body: Body, key: str | None) -> Reply:
    text = REQUESTS[Action(body["action"])]
    message = {"session_id": body["session_id"], "message": text, "metadata": {"action": body["action"]}}
    return 200, gateway.accept(message, key)


def _again(gateway: ScriptedGateway, session: Session, _body: Body, key: str | None) -> Reply:
    last = next(event for event in reversed(session.events) if event["type"] == "user")
    if not session.events[-1]["type"].startswith(("assistant.final", "assistant.cancelled")):
        return 409, {"status": 409, "detail": "an answer is still owed in this session"}
    metadata = {"regenerates": last["event_id"]}
    return 200, gateway.accept({"session_id": session.id, "message": last["message"], "metadata": metadata}, key)


def _hold(_gateway: ScriptedGateway, session: Session, body: Body, _key: str | None) -> Reply:
    session.paused = body["paused"]
    return 200, {"status": "paused" if session.paused else "released", "session_id": session.id}


def _stop(_gateway: ScriptedGateway, session: Session, _body: Body, _key: str | None) -> Reply:
    session.stopped = True
    return 200, {"cancelled": True}


def _name(_gateway: ScriptedGateway, session: Session, body: Body, _key: str | None) -> Reply:
    session.title = body["title"]
    return 200, {"status": "renamed", "session_id": session.id}


def _delete(gateway: ScriptedGateway, session: Session, _body: Body, _key: str | None) -> Reply:
    del gateway.sessions[session.id]
    return 200, {"status": "deleted", "session_id": session.id}


def _fork(gateway: ScriptedGateway, session: Session, body: Body, _key: str | None) -> Reply:
    branch = gateway.session(str(uuid.uuid4()))
    _copy(session.events[: body["seq"]], branch)
    branch.title = session.title if branch.events else ""
    branch.origin = {"forked_from": session.id, "forked_at": body["seq"]}
    return 200, {"status": "forked", "session_id": branch.id}


def _copy(events: list[Body], into: Session) -> None:
    into.events = [
        event | {"session_id": into.id, "event_id": f"{into.id}:{seq}", "seq": seq, "cursor": str(seq)}
        for seq, event in enumerate(events, 1)
    ]


def _document(session: Session) -> Body:
    return {
        "session_id": session.id,
        "title": session.title,
        "events": [{"payload": event} for event in session.events],
    }


def _bring_back(gateway: ScriptedGateway, body: Mapping[str, Any]) -> Reply:
    if "chats" not in body:
        return 422, {"status": 422, "detail": "in the body, chats is missing"}
    sessions = [gateway.session(str(uuid.uuid4())) for _ in body["chats"]]
    for chat, session in zip(body["chats"], sessions, strict=True):
        _copy([event["payload"] for event in chat["events"]], session)
        session.title = chat["title"]
    return 200, {"status": "imported", "session_ids": [session.id for session in sessions]}


_DEEDS: dict[tuple[str, ...], Callable[[ScriptedGateway, Session, Body, str | None], Reply]] = {
    ("POST", "regenerate"): _again, ("POST", "pause"): _hold, ("PATCH",): _name, ("DELETE",): _delete,
    ("POST", "fork"): _fork, ("POST", "cancel"): _stop,
}  # fmt: skip
