"""`soma recall` and `soma memory`: what is remembered."""

import sys
from typing import Annotated, Any

import typer

from app.cli.client import below, path_of
from app.cli.memory_export import export
from app.cli.memory_import import import_file
from app.cli.memory_options import (
    After,
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
from app.cli.memory_rebuild import rebuild
from app.cli.memory_tables import memory_lines, memory_table, recall_table
from app.cli.prove import prove
from app.cli.seat import AsJson, client_of, examples, tell, warn

memory = typer.Typer(
    name="memory",
    help="What is remembered: list, get, export, import, delete, prove, rebuild.",
    no_args_is_help=True,
    epilog=examples("soma memory list --tenant t1", "soma memory export backup.ndjson", "soma memory prove"),
)
Id = Annotated[str, typer.Argument(metavar="ID", help="the memory's id, as the list shows it")]


def recall(  # noqa: PLR0913 - a command's options are its parameters
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="what to look for, in any words")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="how many, at most 50")] = 5,
    session: OfSession = None,
    universe: OfUniverse = None,
    namespace: InNamespace = None,
    tenant: OfTenant = None,
    as_json: AsJson = None,
) -> None:
    """Look for memories by meaning and by words."""
    asked = {"session_id": session, "universe": universe, "namespace": namespace, "tenant": tenant}
    body = {"query": query, "top_k": top_k} | {name: value for name, value in asked.items() if value is not None}
    found = client_of(context).call("POST", "/v1/memory/recall", body=body)
    tell(as_json, found["results"], lambda now: recall_table(found["results"], now))
    if found.get("degraded"):
        warn("the memory service is away: this is what waits for it and what the replica holds")


@memory.command(
    "list",
    epilog=examples("soma memory list --tenant t1 --role user", 'soma memory list --q "green tea" --limit 200 --json'),
)
def list_memories(  # noqa: PLR0913 - a command's options are its parameters
    context: typer.Context,
    tenant: OfTenant = None,
    session: OfSession = None,
    persona: OfPersona = None,
    role: OfRole = None,
    universe: OfUniverse = None,
    namespace: InNamespace = None,
    q: Words = None,
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Annotated[int, typer.Option(help="how many, at most 200")] = 50,
    as_json: AsJson = None,
) -> None:
    """A page of memories, newest first."""
    query = {
        "tenant": tenant, "session_id": session, "persona_id": persona, "role": role, "universe": universe,
        "namespace": namespace, "q": q, "min_ts": seconds_of(since), "max_ts": seconds_of(until), "after": after,
        "limit": limit,
    }  # fmt: skip
    found = client_of(context).call("GET", path_of("memory"), query)
    tell(as_json, found["items"], lambda now: memory_table(found["items"], now))
    if found["next_cursor"]:
        warn(f"there are more: --after {found['next_cursor']}")


@memory.command(epilog=examples("soma memory get 0197f2c4-6a1e-7000-8000-000000000001"))
def get(context: typer.Context, id: Id, as_json: AsJson = None) -> None:
    """One memory in full."""
    item = client_of(context).call("GET", path_of("memory", id))
    tell(as_json, [item], lambda _: memory_lines(item))


@memory.command(epilog=examples("soma memory delete 0197f2c4-6a1e-7000-8000-000000000001 --yes"))
def delete(
    context: typer.Context,
    id: Id,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    as_json: AsJson = None,
) -> None:
    """Forget a memory everywhere, for good."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Forget {id} for good?", abort=True, err=True)
    done = client_of(context).call("DELETE", below("/v1/memory", id))
    tell(as_json, [{"id": id, **done}], lambda _: [_deleted(id, done)])


def _deleted(id: str, done: dict[str, Any]) -> str:
    if done.get("deleted"):
        return f"{id} is forgotten."
    return f"{id} is gone from here; the memory service is away and will forget it when it is back."


memory.command("export", epilog=examples(
    "soma memory export backup.ndjson --tenant t1", "soma memory export | wc -l",
    "soma memory export backup.ndjson --job",
))(export)  # fmt: skip
memory.command("import", epilog=examples(
    "soma memory import backup.ndjson", "soma memory import chats.json --format openwebui --tenant t1",
    "soma memory import old.ndjson --report problems.ndjson",
))(import_file)  # fmt: skip
memory.command(
    epilog=examples("soma memory prove", "soma memory prove --tenant t1 --repair", "soma memory prove --json")
)(prove)
memory.command(
    epilog=examples("soma memory rebuild", "soma memory rebuild --brain", "soma memory rebuild --cancel ID")
)(rebuild)
