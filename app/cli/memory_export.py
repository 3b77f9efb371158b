"""`soma memory export`: every memory as NDJSON, streamed as it is read or fetched from a job that outlives the line."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from app.cli.bars import bytes_bar
from app.cli.client import Client, Later, Refused
from app.cli.export_job import fetch
from app.cli.memory_options import (
    InNamespace,
    OfPersona,
    OfRole,
    OfSession,
    OfTenant,
    OfUniverse,
    Since,
    Until,
    Words,
    seconds_of,
)
from app.cli.progress import Stopped
from app.cli.seat import client_of, warn
from app.cli.tables import counted

PATH = "/v1/memory/export"
_PIECE = 65_536
_LONGEST_MARK = 4_096


def export(  # noqa: PLR0913 - a command's options are its parameters
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="where to; - is the standard output")] = "-",
    tenant: OfTenant = None,
    session: OfSession = None,
    persona: OfPersona = None,
    role: OfRole = None,
    universe: OfUniverse = None,
    namespace: InNamespace = None,
    q: Words = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, typer.Option(help="at most so many memories")] = None,
    job: Annotated[bool, typer.Option("--job", help="let the gateway write it first, for much")] = False,
    job_id: Annotated[str | None, typer.Option(help="fetch what this job has written or is writing")] = None,
    force: Annotated[bool, typer.Option("--force", help="write over FILE")] = False,
) -> None:
    """Write memories as NDJSON, one a line, as `soma memory import` reads them; status 1 when a limit cut it short."""
    query = {
        "tenant": tenant, "session_id": session, "persona_id": persona, "role": role, "universe": universe,
        "namespace": namespace, "q": q, "min_ts": seconds_of(since), "max_ts": seconds_of(until), "limit_total": limit,
    }  # fmt: skip
    client = client_of(context)
    with _written(file, force) as target:
        if job or job_id:
            is_cut = fetch(client, target, {name: value for name, value in query.items() if value is not None}, job_id)
        else:
            is_cut = _stream(client, query, target)
    if is_cut and limit is None:
        raise Refused("the export ends at the gateway's limit of rows; narrow it down, or use --job")


@contextmanager
def _written(file: str, force: bool) -> Iterator[BinaryIO]:
    """Where to write; a file gets its name only when everything is in it, so that a part never looks like the whole."""
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    if Path(file).exists() and not force:
        raise Refused(f"{file} is there already; --force writes over it")
    part = Path(f"{file}.part")
    try:
        with part.open("wb") as target:
            yield target
    except OSError as error:
        raise Refused(f"{part} cannot be written: {error.strerror}") from None
    os.replace(part, file)


def _stream(client: Client, query: Mapping[str, Any], target: BinaryIO) -> bool:
    """Copy the export; whether its last line says that it was cut."""
    rows, size, tail = 0, 0, b""
    with bytes_bar("exporting") as bar:
        try:
            with client.stream(PATH, query) as answer:
                for piece in answer.iter_content(_PIECE):
                    target.write(piece)
                    rows, size, tail = rows + piece.count(b"\n"), size + len(piece), (tail + piece)[-_LONGEST_MARK:]
                    bar(size, what=_memories(rows))
        except Later as error:
            raise Refused(f"{_so_far(rows)}{error}", error.status) from None
        except KeyboardInterrupt:
            raise Stopped(
                f"stopped; {counted(rows, 'memory was', 'memories were')} written, the file is not whole"
            ) from None
    is_cut = says_cut(tail)
    warn(f"{_memories(rows - is_cut)}, {counted(size, 'byte')}")
    return is_cut


def says_cut(tail: bytes) -> bool:
    """Whether the last line of these bytes is the mark of a limit, and no memory."""
    last = tail.rstrip(b"\n").rsplit(b"\n", 1)[-1]
    try:
        found = json.loads(last)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("truncated") is True and "payload" not in found


def _so_far(rows: int) -> str:
    return f"the export broke off after {_memories(rows)}: " if rows else ""


def _memories(rows: int) -> str:
    return counted(rows, "memory", "memories")
