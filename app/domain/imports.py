"""Memories from elsewhere: a document or its lines in one of four shapes become memories as `POST /v1/memory/batch` has
them, each with its line, and whatever is wrong becomes a sentence with its line. No bytes whatever raise an error.

Ids of other systems become ids of ours that are the same whenever the same file is read for the same `scope`.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Protocol

from app.domain.json_text import BadJson, check_storable, replace_unstorable
from app.domain.shapes import letta, mem0, openwebui, soma
from app.domain.shapes.found import Imported, NotOfThisShape
from app.domain.shapes.reading import Value, values

__all__ = ["Imported", "Shape", "detect", "parse"]


class Shape(StrEnum):
    """What a file may look like."""

    SOMA = soma.NAME
    MEM0 = mem0.NAME
    LETTA = letta.NAME
    OPENWEBUI = openwebui.NAME


class _Reader(Protocol):
    def elements(self, document: object) -> list[Any] | None: ...

    def knows(self, element: object) -> bool: ...

    def read(self, element: object, line: int, scope: str) -> Iterator[Imported]: ...


# The order matters to `detect`: an agent of Letta has messages, too, which is all that an old chat has.
_READERS: Mapping[Shape, _Reader] = {
    Shape.SOMA: soma,
    Shape.MEM0: mem0,
    Shape.LETTA: letta,
    Shape.OPENWEBUI: openwebui,
}


def parse(shape: Shape, raw: bytes | Iterable[bytes], first_line: int = 1, scope: str = "") -> Iterator[Imported]:
    """Everything in `raw`, in order: whole bytes (a JSON document or NDJSON) or an iterable of NDJSON lines.

    `scope` goes into ids that are made here; give the tenant, so that two tenants can import the same file.
    """
    for value in values(raw, first_line):
        if value.error:
            yield Imported(value.line, None, value.error)
        else:
            yield from _elements(shape, value, scope)


def _elements(shape: Shape, value: Value, scope: str) -> Iterator[Imported]:
    found = _READERS[shape].elements(value.value)
    if found is None:
        yield Imported(value.line, None, f"this is nothing that the shape {shape} knows")
        return
    for number, element in enumerate(found):
        line = value.line + number if value.whole else value.line
        for one in _read(_READERS[shape], element, line, scope):
            yield _storable(one)


def _read(reader: _Reader, element: object, line: int, scope: str) -> Iterator[Imported]:
    try:
        yield from reader.read(element, line, scope)
    except (NotOfThisShape, BadJson) as error:
        yield Imported(line, None, str(error))


def _storable(found: Imported) -> Imported:
    """The finding, or why its memory cannot be kept; its neighbours in the same document are none the worse."""
    name = replace_unstorable(found.id)[:255]
    try:
        check_storable(found.item)
    except BadJson as error:
        return Imported(found.line, None, str(error), id=name)
    return Imported(found.line, found.item, found.error, found.skipped, name)


def detect(raw: bytes) -> Shape | None:
    """The shape of a file by its first readable value; None when nobody knows it. A cut document is enough."""
    for value in values(raw, 1):
        if not value.error and (shape := shape_of(value.value)):
            return shape
    return None


def shape_of(value: object) -> Shape | None:
    """The shape of a JSON value, by its first element that a shape knows."""
    for shape, reader in _READERS.items():
        if any(reader.knows(element) for element in (reader.elements(value) or [])[:3]):
            return shape
    return None
