"""`soma memory prove`: is everything that was accepted where it belongs?"""

from typing import Annotated, Any

import typer

from app.cli.bars import Bar
from app.cli.client import Call, path_of
from app.cli.jobs import watch
from app.cli.memory_options import OfTenant
from app.cli.memory_tables import proof_table
from app.cli.seat import AsJson, client_of, tell


def prove(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="offer again what is missing or differs")] = False,
    tenant: OfTenant = None,
    job_id: Annotated[str | None, typer.Option(help="watch this proof, which was begun before")] = None,
    as_json: AsJson = None,
) -> None:
    """Compare what was accepted with the memory service, the log and the replica; status 1 when it is not clean."""
    client = client_of(context)
    body = {"repair": repair} | ({"tenant": tenant} if tenant is not None else {})
    job = job_id or str(client.insist(Call("POST", path_of("memory", "reconcile"), body=body))["job_id"])
    found = watch(client, path_of("memory", "reconcile"), job, _stand)
    tell(as_json, [found], lambda _: proof_table(found))
    if not found.get("clean"):
        raise typer.Exit(1)


def _stand(bar: Bar, job: dict[str, Any]) -> None:
    progress = job.get("progress") or {}
    bar(progress.get("done") or 0, progress.get("total"), progress.get("stage"))
