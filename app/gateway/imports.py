"""Memories from a file, read as it comes: its size is no matter of memory."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from io import BufferedReader
from itertools import chain
from typing import Annotated

from flask import g, request
from pydantic import Field, field_validator

from app.domain.imports import Shape, detect, parse
from app.domain.memory import Place
from app.gateway.api import Answer, Area, Query
from app.gateway.problems import BadRequest
from app.gateway.room import room
from app.services.import_memories import Importing, import_memories
from app.services.message_form import MAX_NAME_LENGTH

imports = Area("imports")
_LINES, _DOCUMENT = "application/x-ndjson", "application/json"
_LONGEST_LINE = 1_048_576
_LARGEST_DOCUMENT = 8_388_608
_LOOKED_AT = 20


class ImportQuery(Query):
    """What kind of file it is, whose memories they become, and the number of its first line."""

    format: Shape | None = None
    tenant: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)] | None = None
    first_line: Annotated[int, Field(ge=1, lt=2**31)] = 1

    @field_validator("format", mode="before")
    @classmethod
    def _found_out(cls, value: object) -> object:
        return None if value == "auto" else value


class ImportProblem(Answer):
    """Why one line did not become a memory."""

    line: int
    id: str | None
    error: str


class ImportAnswer(Answer):
    """What became of the lines, and the first 1,000 problems; sending a file twice is safe."""

    format: str
    lines: int
    accepted: int
    repeated: int
    skipped: int
    rejected: int
    problems: list[ImportProblem]


@imports.route(
    "POST",
    "/v1/memory/import",
    "Keep the memories of a file: our export, or that of mem0, Letta or Open WebUI",
    query=ImportQuery,
    answer=ImportAnswer,
    errors=(400, 413, 415, 422, 503),
    accepts=(_LINES, _DOCUMENT),
)
def post_import(query: ImportQuery) -> ImportAnswer:
    """Read, judge and keep line by line."""
    serving = room().serving
    settings = serving.settings
    request.max_content_length = settings.memory_import_max_bytes
    shape, raw = _opened(query.format)
    scope = query.tenant or settings.soma_tenant_id
    defaults = Place(scope, settings.soma_memory_namespace, settings.soma_namespace)
    importing = Importing(serving.ledger, serving.doorbell, defaults, query.tenant, g.traceparent)
    report = import_memories(parse(shape, raw, query.first_line, scope), serving.clock.now(), importing)
    return ImportAnswer(format=shape, **asdict(report))


def _opened(shape: Shape | None) -> tuple[Shape, bytes | Iterable[bytes]]:
    """The file's shape and what is in it."""
    if request.mimetype == _DOCUMENT:
        raw = request.stream.read(_LARGEST_DOCUMENT + 1)
        if len(raw) > _LARGEST_DOCUMENT:
            raise BadRequest(413, "a document may have 8 MiB; send its elements as application/x-ndjson, one a line")
        return _known(shape or detect(raw)), raw
    if request.mimetype != _LINES:
        raise BadRequest(415, f"send lines with Content-Type: {_LINES}, or a document with {_DOCUMENT}")
    lines = _lines()
    first = [line for _, line in zip(range(_LOOKED_AT), lines, strict=False)]
    return _known(shape or detect(b"".join(first))), chain(first, lines)


def _known(shape: Shape | None) -> Shape:
    if shape is None:
        known = ", ".join(Shape)
        raise BadRequest(422, f"nobody knows this file; say what it is with ?format=, one of {known}")
    return shape


def _lines() -> Iterator[bytes]:
    """One after another; what is longer than any memory is cut, so that it is reported and takes no memory."""
    # Unbuffered, a line is read byte by byte.
    body = BufferedReader(request.stream)  # type: ignore[type-var]
    while line := body.readline(_LONGEST_LINE + 1):
        yield line
        while len(line) > _LONGEST_LINE and not line.endswith(b"\n"):
            line = body.readline(_LONGEST_LINE + 1)
