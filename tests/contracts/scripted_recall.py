"""How versions of SomaBrain differ in recalling and deleting; `ScriptedBrain` speaks as its `Speech` says."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from app.domain.coordinates import coordinate_of

Kept = dict[tuple[str, str, str, str], dict[str, Any]]


@dataclass(frozen=True)
class Speech:
    """`form` is object, text or address; `deletes_at` is empty where nothing can be deleted."""

    form: str = "object"
    wrong_form: int = 422
    list_name: str = "results"
    find: str = "payload"
    deletes_at: str = "/recall/delete"
    older: bool = False


class WrongForm(Exception):
    """This version takes recall's body in another form."""


def asked_in(form: str, query: str, body: bytes) -> dict[str, Any]:
    """What was asked in exactly this form; `WrongForm` for any other."""
    text = parse_qs(query).get("payload", [""])[0] if form == "address" else body.decode()
    found = json.loads(text) if text else None
    if form == "text":
        found = json.loads(found) if isinstance(found, str) else None
    if not isinstance(found, dict) or (form == "address" and body):
        raise WrongForm
    return found


def recall(speech: Speech, kept: Kept, asked: dict[str, Any]) -> dict[str, Any]:
    """Memories of the place that hold a word of the question, in this version's shape."""
    place = (asked["tenant"], asked["namespace"], asked.get("universe") or "real")
    return _shown(speech, asked, {at: value for at, value in kept.items() if at[:3] == place})


def recall_the_older_way(speech: Speech, kept: Kept, asked: dict[str, Any]) -> dict[str, Any]:
    """The same for everybody's memories of a universe: this route knows no tenants."""
    universe = asked.get("universe") or "real"
    return _shown(speech, asked, {at: value for at, value in kept.items() if at[2] == universe})


def forget(kept: Kept, told: dict[str, Any]) -> dict[str, Any]:
    """Delete what has this id, this key and this coordinate; all three have to be told."""
    for at in [at for at in kept if at[:2] == (told["tenant"], told["namespace"])]:
        if at[3] == told["id"] == told["key"] and told["coordinate"] == coordinate_of(at[2], at[3]):
            del kept[at]
    return {"ok": True}


def _shown(speech: Speech, asked: dict[str, Any], kept: Kept) -> dict[str, Any]:
    words = _words(asked["query"])
    scored = [(len(words & _words(value["content"])) / len(words), at, value) for at, value in kept.items()]
    scored = sorted((each for each in scored if each[0]), key=lambda each: -each[0])[: asked["top_k"]]
    finds = [_FINDS[speech.find](at[3], value, score) for score, at, value in scored]
    return {speech.list_name: finds, "duration_ms": 1.0}


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _renamed(name: str) -> Callable[[str, dict[str, Any], float], dict[str, Any]]:
    def show(_key: str, value: dict[str, Any], score: float) -> dict[str, Any]:
        rest = {field: kept for field, kept in value.items() if field != "content"}
        return {"score": score, "payload": {**rest, name: value["content"]}, "source": "ltm"}

    return show


_FINDS: dict[str, Callable[[str, dict[str, Any], float], dict[str, Any]]] = {
    "payload": lambda key, value, score: {
        "layer": "ltm", "score": score, "payload": value, "coordinate": None, "key": key, "source": "ltm",
        "confidence": score, "novelty": None, "affinity": None,
    },
    "content": lambda key, value, score: {"score": score, "content": value, "key": key},
    "plain content": lambda key, value, score: {"score": score, "content": value["content"], "key": key},
    "the memory itself": lambda _key, value, _score: value,
    "text": _renamed("text"),
    "what": _renamed("what"),
    "task": _renamed("task"),
}  # fmt: skip
