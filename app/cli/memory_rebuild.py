"""`soma memory rebuild`: the replica, or a memory service, made anew from the log."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from app.cli.bars import Bar
from app.cli.client import Call, Client, Refused, path_of
from app.cli.jobs import watch
from app.cli.seat import AsJson, client_of, tell, warn
from app.cli.tables import counted, harmless, table

_PATH = path_of("memory", "rebuild")


def rebuild(
    context: typer.Context,
    brain: Annotated[bool, typer.Option("--brain", help="and then the memories of an (empty) memory service")] = False,
    cancel: Annotated[str, typer.Option(metavar="ID", help="stop the rebuild with this id instead")] = "",
    as_json: AsJson = None,
) -> None:
    """Make the replica anew from the log while it serves; status 1 when it was not what the log says."""
    client = client_of(context)
    if cancel:
        found = client.call("DELETE", path_of("memory", "rebuild", cancel))
    else:
        found = _made(client, "brain" if brain else "replica")
    tell(as_json, [found], lambda _: rebuild_lines(found))
    if not cancel and not is_well(found):
        raise typer.Exit(1)


def is_well(found: Mapping[str, Any]) -> bool:
    """Whether the replica was equal, and nothing was refused."""
    return bool((found.get("comparison") or {}).get("equal")) and not found.get("refused")


def _made(client: Client, kind: str) -> dict[str, Any]:
    begun = client.insist(Call("POST", _PATH, body={"kind": kind}))
    if not begun.get("started", True):
        warn(f"this rebuild was under way already: {begun['id']}")
    try:
        return watch(client, _PATH, begun["id"], Pace().stand)
    except Refused:
        warn(f"rebuild {begun['id']}")
        raise


class Pace:
    """Shows how fast the present stage is."""

    def __init__(self) -> None:
        self._stage = ""
        self._since = (0.0, 0)

    def stand(self, bar: Bar, job: dict[str, Any]) -> None:
        """One more look."""
        progress = job.get("progress") or {}
        done, stage, now = progress.get("done") or 0, progress.get("stage") or "", time.monotonic()
        if stage != self._stage:
            self._stage, self._since = stage, (now, done)
        began, first = self._since
        rate = f", {(done - first) / (now - began):,.0f} a second" if now > began and done > first else ""
        bar(done, progress.get("total"), f"{stage}{rate}")


def rebuild_lines(found: Mapping[str, Any]) -> list[str]:
    """Both digests, what differs, what was remembered, how long it took."""
    compared = found.get("comparison")
    lines = [f"The rebuild {found['id']} is {found['status']}{_took(found)}."]
    if compared:
        names = {"replica": "the replica as it was", "log": "the log, now the replica"}
        rows = [[words, compared[name]["rows"], compared[name]["digest"]] for name, words in names.items()]
        lines += ["", *table(("", "rows", "digest"), rows), "", *_verdict(compared)]
    if found.get("poison"):
        one, many = "record of the log is poison or contradicts", "records of the log are poison or contradict"
        lines.append(f"{counted(found['poison'], one, many)} others: see soma dlq.")
    if found.get("kind") == "brain":
        remembered = counted(found["remembered"], "memory was", "memories were")
        lines.append(f"{remembered} remembered, {found['refused']} refused.")
    return lines + ([*harmless(found["error"]).split("\n")] if found.get("error") else [])


def _verdict(compared: Mapping[str, Any]) -> Sequence[str]:
    if compared["equal"]:
        return ["They are equal."]
    only_in_replica = counted(compared["only_in_replica"], "row")
    return [
        f"They were not equal: {only_in_replica} only in the replica, {compared['only_in_log']} only in the log,"
        f" {compared['differing']} different. The replica is now what the log says.",
        *(f"  {harmless(event_id)}" for event_id in compared.get("examples") or []),
    ]


def _took(found: Mapping[str, Any]) -> str:
    if not found.get("finished_at"):
        return ""
    seconds = (
        datetime.fromisoformat(found["finished_at"]) - datetime.fromisoformat(found["created_at"])
    ).total_seconds()
    done = (found.get("progress") or {}).get("done") or 0
    return f" after {seconds:,.1f} s" + (f" ({done / seconds:,.0f} a second)" if done and seconds else "")
