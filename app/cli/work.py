"""`soma work`: everything that is owed or dead, and what can be done about it."""

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import typer

from app.cli.client import Client, path_of
from app.cli.seat import AsJson, client_of, examples, tell, wants_json
from app.cli.tables import work_tables
from app.domain.desk import WorkName, WorkState

work = typer.Typer(
    name="work",
    help="Everything that is owed or dead: the dead first, then the oldest.",
    invoke_without_command=True,
    no_args_is_help=False,
    epilog=examples("soma work", "soma work --kind memory --state dead", "soma work retry memory 0197f2c4-...-1"),
)

_WATCH_SECONDS = 2.0
_CLEAR = "\x1b[H\x1b[2J"

OfKind = Annotated[WorkName | None, typer.Option("--kind", help="only this kind")]
InState = Annotated[WorkState | None, typer.Option("--state", help="only rows that stand so")]
AtMost = Annotated[int, typer.Option("--limit", help="how many rows, at most 200")]
Watching = Annotated[bool, typer.Option("--watch", help="look again every two seconds, until Ctrl-C")]
Kind = Annotated[str, typer.Argument(metavar="KIND", help=", ".join(WorkName))]
Id = Annotated[str, typer.Argument(metavar="ID", help="as the list shows it")]


@work.callback()
def show(
    context: typer.Context,
    kind: OfKind = None,
    state: InState = None,
    limit: AtMost = 50,
    watch: Watching = False,
    as_json: AsJson = None,
) -> None:
    """Everything that is owed or dead: the dead first, then the oldest."""
    if context.invoked_subcommand is None:
        _show(client_of(context), {"kind": kind, "state": state, "limit": limit}, watch, as_json)


@work.command("list", epilog=examples("soma work list --state dead", "soma work list --watch"))
def list_work(
    context: typer.Context,
    kind: OfKind = None,
    state: InState = None,
    limit: AtMost = 50,
    watch: Watching = False,
    as_json: AsJson = None,
) -> None:
    """The same as `soma work`."""
    _show(client_of(context), {"kind": kind, "state": state, "limit": limit}, watch, as_json)


def _show(client: Client, query: Mapping[str, Any], watch: bool, as_json: bool | None) -> None:
    if not watch:
        _look(client, query, as_json)
        return
    with suppress(KeyboardInterrupt):  # Watching is done whenever somebody has seen enough.
        while True:
            _look(client, query, as_json, "" if wants_json(as_json) else _CLEAR)
            time.sleep(_WATCH_SECONDS)


def _look(client: Client, query: Mapping[str, Any], as_json: bool | None, before: str = "") -> None:
    found = client.call("GET", path_of("work"), query)

    def lines(now: datetime) -> list[str]:
        first, *others = work_tables(found, now)
        return [before + first, *others]

    tell(as_json, found["items"], lines)


@work.command(epilog=examples("soma work retry memory 0197f2c4-...-1", "make work ARGS='retry memory 0197f2c4-...-1'"))
def retry(context: typer.Context, kind: Kind, id: Id, as_json: AsJson = None) -> None:
    """Try a row now; a dead memory or record gets another life."""
    _change(client_of(context), path_of("work", kind, id, "retry"), as_json)


@work.command(epilog=examples("soma work discard turn 0197f2c4-...-1"))
def discard(context: typer.Context, kind: Kind, id: Id, as_json: AsJson = None) -> None:
    """Put a dead row away for good."""
    _change(client_of(context), path_of("work", kind, id, "discard"), as_json)


def _change(client: Client, path: str, as_json: bool | None) -> None:
    item = client.call("POST", path)
    tell(as_json, [item], lambda _: [f"{item['kind']} {item['id']} is {item['state']}."])
