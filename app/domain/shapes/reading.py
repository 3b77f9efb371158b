"""From bytes to JSON values with their places: a document, or lines that are one value each."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

from app.domain.json_text import BadJson, read_json

_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_LOOKED_AT = 20
_WIDE = "the text is UTF-16, or holds NUL bytes as UTF-16 does; save the file as UTF-8"
_LONGEST_OPENING = 200
_GAP = re.compile(r"[ \t\r\n,]*")


@dataclass(frozen=True, slots=True)
class Value:
    """A value at `line`, or why there is none; the elements of a `whole` document are counted from `line` on."""

    line: int
    value: Any = None
    error: str = ""
    whole: bool = False


def values(raw: bytes | Iterable[bytes], first_line: int) -> Iterator[Value]:
    """Every value; given lines, each of them is one, given bytes they may be a document as well."""
    if not isinstance(raw, bytes):
        yield from _lines(raw, first_line)
    elif is_lines(raw):
        yield from _lines(BytesIO(raw), first_line)
    else:
        yield from _document(raw.removeprefix(_BOM), first_line)


def is_lines(raw: bytes) -> bool:
    """Whether these are lines with a value each: one of the first is a JSON object, and it is not the only one."""
    lines = [line for line in islice(BytesIO(raw.removeprefix(_BOM)), _LOOKED_AT) if line.strip()]
    opens_a_list = bool(lines) and lines[0].strip() == b"["
    return len(lines) > 1 and not opens_a_list and any(_is_object(line) for line in lines)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(read_json(line), dict)
    except BadJson:
        return False


def _lines(lines: Iterable[bytes], first_line: int) -> Iterator[Value]:
    for number, line in enumerate(lines, first_line):
        text = line.removeprefix(_BOM) if number == 1 else line
        if not text.strip():
            continue
        try:
            yield Value(number, read_json(text))
        except BadJson as error:
            yield Value(number, error=_reason(text, error))


def _document(raw: bytes, first_line: int) -> Iterator[Value]:
    if not raw.strip():
        return
    try:
        yield Value(first_line, read_json(raw), whole=True)
    except BadJson as error:
        kept = list(_before_the_break(raw))
        if kept:
            yield Value(first_line, kept, whole=True)
        told = "; what stands before it was read" if kept else ""
        yield Value(first_line + len(kept), error=_reason(raw, error) + told)


def _reason(text: bytes, error: BadJson) -> str:
    return _WIDE if b"\x00" in text or text.startswith(_WIDE_BOMS) else str(error)


def _before_the_break(raw: bytes) -> Iterator[Any]:
    """The elements of a document's first list up to where it is cut or broken."""
    text = raw.decode("utf-8", "ignore")
    place = text.find("[") + 1
    if not 0 < place <= _LONGEST_OPENING:
        return
    decoder = json.JSONDecoder()
    while gap := _GAP.match(text, place):
        try:
            value, place = decoder.raw_decode(text, gap.end())
        except (ValueError, RecursionError):
            return
        yield value
