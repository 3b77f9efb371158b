"""A file of any size as pieces that the gateway takes, in constant memory.

Lines go 500 at a time or up to 512 KiB, whichever comes first. A JSON document goes whole up to 1 MiB; a larger one is
read element by element, and the elements go as lines: the gateway numbers a document by its elements, too, so a report
names the same places either way.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import ijson

from app.cli.client import Refused
from app.domain.imports import Shape, detect
from app.domain.shapes.reading import is_lines

MOST_LINES = 500
MOST_BYTES = 512 * 1024
LONGEST = 1024 * 1024
_TOO_LONG = "the line is longer than 1 MiB"
LINES, DOCUMENT = "application/x-ndjson", "application/json"
_LISTS = {
    Shape.SOMA: ("items",),
    Shape.MEM0: ("results", "memories"),
    Shape.LETTA: ("agents", "blocks", "core_memory", "passages", "archival_memory", "messages"),
    Shape.OPENWEBUI: ("chats",),
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to send; or `error`: why what stands at `first_line` cannot be sent. `end` is how far the file was read."""

    first_line: int
    end: int
    raw: bytes = b""
    content_type: str = LINES
    lines: int = 1
    error: str = ""


def pieces(file: BinaryIO, shape: Shape | None) -> tuple[Shape | None, Iterator[Piece]]:
    """The shape, recognised where none is given, and the pieces; `Refused` for a large document of no known shape."""
    head = file.read(LONGEST + 1)
    file.seek(0)
    known = shape or detect(head)
    if is_lines(head) or (known is Shape.SOMA and not head.lstrip().startswith(b"[")):
        return known, _line_pieces(file)
    if len(head) <= LONGEST:
        return known, iter([Piece(1, len(head), head, DOCUMENT)] if head.strip() else [])
    if known is None:
        raise Refused("this document is larger than 1 MiB and of no shape that is known; say it with --format")
    return known, _element_pieces(file, known)


def _line_pieces(file: BinaryIO) -> Iterator[Piece]:
    return _gathered((number, line, file.tell()) for number, line in enumerate(_lines(file), 1))


def _lines(file: BinaryIO) -> Iterator[bytes | str]:
    """Every line; for one that the gateway would not take the reason, and it is passed over in constant memory."""
    while line := file.readline(LONGEST + 1):
        if len(line) <= LONGEST:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST)
        yield _TOO_LONG


def _gathered(lines: Iterable[tuple[int, bytes | str, int]]) -> Iterator[Piece]:
    """Lines, or why there is none, with their numbers and how far the file was read, gathered into pieces."""
    held: list[bytes] = []
    first, size, end = 1, 0, 0
    for number, line, read in lines:
        if held and (isinstance(line, str) or len(held) == MOST_LINES or size + len(line) > MOST_BYTES):
            yield Piece(first, end, b"".join(held), lines=len(held))
            held, size = [], 0
        if isinstance(line, str):
            yield Piece(number, read, error=line)
            continue
        first = first if held else number
        held.append(line)
        size, end = size + len(line), read
    if held:
        yield Piece(first, end, b"".join(held), lines=len(held))


def _element_pieces(file: BinaryIO, shape: Shape) -> Iterator[Piece]:
    return _gathered((number, line, file.tell()) for number, line in enumerate(_element_lines(file, shape), 1))


def _element_lines(file: BinaryIO, shape: Shape) -> Iterator[bytes | str]:
    try:
        for element in _elements(file, shape):
            yield _as_line(element)
    except (ijson.JSONError, UnicodeDecodeError):
        yield "the document is cut or broken from here on"


def _as_line(element: object) -> bytes | str:
    try:
        line = json.dumps(element, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
    except RecursionError:
        return "the JSON is nested too deep"
    except ValueError:
        return "a number is too large"
    return line if len(line) <= LONGEST else _TOO_LONG


def _elements(file: BinaryIO, shape: Shape) -> Iterator[object]:
    """What the document lists, in the order in which the gateway reads it; one pass over the file for each list."""
    _, first, _ = next(ijson.parse(file, use_float=True))
    prefixes = ["item"] if first == "start_array" else [f"{name}.item" for name in _LISTS[shape]]
    for prefix in prefixes:
        file.seek(0)
        yield from ijson.items(file, prefix, use_float=True)
