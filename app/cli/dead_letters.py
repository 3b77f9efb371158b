"""`soma dlq`: records that could not be replicated, by reason; replayed after a correction, or discarded."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from app.cli.client import Client, Refused, path_of
from app.cli.progress import Progress
from app.cli.seat import AsJson, client_of, examples, tell
from app.cli.tables import counted, letter_table, topic_tables

dlq = typer.Typer(
    name="dlq",
    help="Dead letters by topic and reason: records that could not be replicated.",
    invoke_without_command=True,
    no_args_is_help=False,
    epilog=examples("soma dlq", "soma dlq show memory.wal.dlq", "soma dlq replay memory.wal.dlq --dry-run"),
)

Topic = Annotated[str, typer.Argument(help="as the list shows it, for example memory.wal.dlq")]
Fingerprint = Annotated[str | None, typer.Option(help="only letters that failed for this reason")]


@dlq.callback()
def topics(context: typer.Context, as_json: AsJson = None) -> None:
    """Dead letters by topic and reason: records that could not be replicated."""
    if context.invoked_subcommand is not None:
        return
    found = client_of(context).call("GET", path_of("dlq"))
    groups = [{"topic": topic["topic"], **group} for topic in found["topics"] for group in topic["groups"]]
    tell(as_json, groups, lambda now: topic_tables(found, now))


@dlq.command(
    epilog=examples("soma dlq show memory.wal.dlq --fingerprint 3f1b7a52", "soma dlq show memory.wal.dlq --json")
)
def show(
    context: typer.Context,
    topic: Topic,
    fingerprint: Fingerprint = None,
    limit: Annotated[int, typer.Option(help="how many, at most 200")] = 50,
    as_json: AsJson = None,
) -> None:
    """The newest letters of a topic."""
    query = {"fingerprint": fingerprint, "limit": limit}
    letters = client_of(context).call("GET", path_of("dlq", topic), query)
    tell(as_json, letters, lambda now: letter_table(letters, now))


@dlq.command(
    epilog=examples(
        "soma dlq replay memory.wal.dlq --fingerprint 3f1b7a52 --dry-run",
        'soma dlq replay memory.wal.dlq --fingerprint 3f1b7a52 --patch \'{"tenant": "t1"}\' --per-second 50',
    )
)
def replay(  # noqa: PLR0913 - a command's options are its parameters
    context: typer.Context,
    topic: Topic,
    fingerprint: Fingerprint = None,
    ids: Annotated[list[int] | None, typer.Option("--id", metavar="ID", help="this letter (repeatable)")] = None,
    patch: Annotated[str | None, typer.Option(metavar="JSON", help="correct each record by this merge patch")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would happen")] = False,
    per_second: Annotated[float | None, typer.Option(metavar="N", help="no more than so many in a second")] = None,
    as_json: AsJson = None,
) -> None:
    """Send letters to their topic again, batch by batch, until nothing of what was chosen is left."""
    given = {"fingerprint": fingerprint, "ids": ids or None, "per_second": per_second}
    body: dict[str, Any] = {"dry_run": dry_run} | {name: value for name, value in given.items() if value is not None}
    if patch is not None:
        body["patch"] = _patch(patch)
    rounds = list(_rounds(topic, body, client_of(context), Progress("examined" if dry_run else "replayed")))
    counts = {
        "dry_run": dry_run,
        "count": sum(done["count"] for done in rounds),
        "failed": [item for done in rounds for item in done["failed"]],
        "skipped": [item for done in rounds for item in done["skipped"]],
    }
    tell(as_json, [counts], lambda _: _replayed(counts))


def _replayed(counts: dict[str, Any]) -> list[str]:
    late = f" {counted(len(counts['skipped']), 'was', 'were')} settled already." if counts["skipped"] else ""
    if not counts["dry_run"]:
        return [f"{counts['count']} replayed.{late}"]
    failed = counts["failed"]
    hindered = [f"  letter {item['id']}: {'.'.join(item['loc'])}: {item['msg']}" for item in failed]
    return [f"{counts['count']} would be replayed, {len(failed)} would be poison again.{late}", *hindered]


def _rounds(topic: str, body: dict[str, Any], client: Client, progress: Progress) -> Iterator[dict[str, Any]]:
    after = 0
    with progress.told_to_the_end():
        while after is not None:
            done = client.call("POST", path_of("dlq", topic, "reprocess"), body={**body, "after": after})
            progress.add(done["count"] + len(done["failed"]), done["remaining"])
            after = done["next_after"]
            yield done


def _patch(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Refused('--patch is not JSON; example: --patch \'{"tenant": "t1"}\'') from None


@dlq.command(
    epilog=examples("soma dlq discard memory.wal.dlq --fingerprint 3f1b7a52", "soma dlq discard memory.wal.dlq --all")
)
def discard(
    context: typer.Context,
    topic: Topic,
    fingerprint: Fingerprint = None,
    everything: Annotated[bool, typer.Option("--all", help="every open letter of the topic")] = False,
    as_json: AsJson = None,
) -> None:
    """Put letters away for good: those of one reason, or all."""
    if everything == (fingerprint is not None):
        raise typer.BadParameter("say which letters: --fingerprint <f>, or --all", context)
    progress, remaining, client = Progress("discarded"), 1, client_of(context)
    with progress.told_to_the_end():
        while remaining:
            done = client.call("DELETE", path_of("dlq", topic), {"fingerprint": fingerprint})
            remaining = done["remaining"]
            progress.add(done["discarded"], remaining)
    tell(as_json, [{"discarded": progress.count}], lambda _: [f"{progress.count} discarded."])
