"""What every command has in front of it: the gateway, and a person's terminal or another program."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any

import typer
from rich.markup import escape

from app.cli.client import Client
from app.cli.surroundings import client_for

AsJson = Annotated[
    bool | None,
    typer.Option("--json/--table", help="JSON lines, or tables as in a terminal (JSON lines when piped)"),
]


class Seat:
    """The gateway is looked for when the first command asks for it, so that `--help` needs none."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway

    @cached_property
    def client(self) -> Client:
        """The gateway."""
        return client_for(self._gateway)


def client_of(context: typer.Context) -> Client:
    """The gateway that this command talks to."""
    seat = context.find_object(Seat)
    return (seat or Seat("")).client


def wants_json(as_json: bool | None) -> bool:
    """As was asked for; else JSON for whoever is not a terminal."""
    return not sys.stdout.isatty() if as_json is None else as_json


def tell(as_json: bool | None, rows: Iterable[Mapping[str, Any]], lines: Callable[[datetime], Sequence[str]]) -> None:
    """Print the rows, one JSON object a line, or the lines for a person."""
    if wants_json(as_json):
        for row in rows:
            tell_json(row)
    else:
        sys.stdout.write("\n".join(lines(datetime.now(UTC))) + "\n")
    sys.stdout.flush()


def tell_json(row: Mapping[str, Any]) -> None:
    """One JSON line, seen at once by whoever reads the pipe."""
    sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def warn(sentence: str) -> None:
    """Something that belongs to no output, on the error stream."""
    sys.stderr.write(f"soma: {sentence}\n")
    sys.stderr.flush()


def examples(*commands: str) -> str:
    """The end of a `--help`."""
    return escape("\n".join(["Examples:", *(f"  {command}" for command in commands)]))
