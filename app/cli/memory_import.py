"""`soma memory import`: memories from a file, piece by piece, with a report of every line that was not taken."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO

import typer

from app.cli.bars import bytes_bar
from app.cli.client import Call, Client, Refused
from app.cli.import_pieces import Piece, pieces
from app.cli.memory_options import OfTenant
from app.cli.progress import Stopped
from app.cli.seat import AsJson, client_of, tell
from app.cli.tables import counted, table
from app.domain.imports import Shape

PATH = "/v1/memory/import"
_COUNTS = ("lines", "accepted", "repeated", "skipped", "rejected")
_SHOWN = 20
_TOO_LARGE = 413
_AGAIN = "run it again: what was taken is not taken twice"


@dataclass(slots=True)
class Report:
    """What became of the file so far; the first problems are kept for a person, all of them go to `written`."""

    written: TextIO | None = None
    shape: str = ""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))
    problems: list[Mapping[str, Any]] = field(default_factory=list)
    untold: int = 0

    def add(self, answer: Mapping[str, Any]) -> None:
        """What the gateway says about one piece."""
        for name in _COUNTS:
            self.counts[name] += answer[name]
        self.shape = answer.get("format") or self.shape
        self.untold += max(answer["rejected"] - len(answer["problems"]), 0)
        for problem in answer["problems"]:
            self._keep(problem)

    def refuse(self, line: int, error: str) -> None:
        """A line that could not even be sent."""
        self.counts["lines"] += 1
        self.counts["rejected"] += 1
        self._keep({"line": line, "id": None, "error": error})

    def _keep(self, problem: Mapping[str, Any]) -> None:
        if len(self.problems) < _SHOWN:
            self.problems.append(problem)
        else:
            self.untold += 1
        if self.written:
            self.written.write(json.dumps(problem, ensure_ascii=False) + "\n")

    def lines(self) -> list[str]:
        """For a person."""
        told = ", ".join(f"{self.counts[name]} {name}" for name in _COUNTS[1:])
        found = [f"{_lines(self)} ({self.shape or 'unknown'}): {told}."]
        if self.problems:
            rows = [[one["line"], one.get("id") or "", one["error"]] for one in self.problems]
            found += ["", *table(("line", "id", "problem"), rows)]
        more = f"... and {self.untold} more" + ("." if self.written else "; --report FILE writes them all.")
        return [*found, more] if self.untold else found


def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="NDJSON or a JSON document")],
    format: Annotated[Shape | None, typer.Option("--format", help="its shape (recognised where not given)")] = None,
    tenant: OfTenant = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="write every problem here, as NDJSON")] = None,
    as_json: AsJson = None,
) -> None:
    """Import memories; safe to run twice. Status 1 when a line was rejected."""
    with ExitStack() as opened:
        source, written = _opened(opened, file, report)
        done = Report(written)
        size = os.fstat(source.fileno()).st_size
        shape, parts = pieces(source, format)
        _send_all(client_of(context), parts, {"format": shape or "auto", "tenant": tenant}, done, size)
    shown = {"format": done.shape, **done.counts, "problems": done.problems, "untold": done.untold}
    tell(as_json, [shown], lambda _: done.lines())
    if done.counts["rejected"]:
        raise typer.Exit(1)


def _opened(opened: ExitStack, file: Path, report: Path | None) -> tuple[BinaryIO, TextIO | None]:
    path = file
    try:
        source = opened.enter_context(file.open("rb"))
        path = report or file
        return source, opened.enter_context(report.open("w", encoding="utf-8")) if report else None
    except OSError as error:
        raise Refused(f"{path} cannot be opened: {error.strerror}") from None


def _send_all(client: Client, parts: Iterator[Piece], query: Mapping[str, Any], done: Report, size: int) -> None:
    with bytes_bar("importing", size) as bar:
        try:
            for piece in parts:
                _send(client, piece, query, done)
                bar(piece.end, what=f"line {piece.first_line + piece.lines - 1}")
        except Refused as error:
            so_far = f"after {_lines(done)}: {error}; {_AGAIN}" if done.counts["lines"] else str(error)
            raise Refused(so_far, error.status) from None
        except KeyboardInterrupt:
            raise Stopped(f"stopped after {_lines(done)}; {_AGAIN}") from None


def _lines(done: Report) -> str:
    return counted(done.counts["lines"], "line")


def _send(client: Client, piece: Piece, query: Mapping[str, Any], done: Report) -> None:
    if piece.error:
        done.refuse(piece.first_line, piece.error)
        return
    asked = {**query, "first_line": piece.first_line}
    try:
        done.add(client.insist(Call("POST", PATH, asked, raw=piece.raw, content_type=piece.content_type)))
    except Refused as error:
        if error.status != _TOO_LARGE or piece.lines > 1:
            raise
        done.refuse(piece.first_line, str(error))
