"""What each command asks the gateway for, and the lines that it prints."""

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from app.cli.client import Client, Refused, path_of
from app.cli.progress import Progress
from app.cli.tables import letter_table, topic_tables, work_tables

Command = Callable[[argparse.Namespace, Client, datetime], list[str]]


def show_work(chosen: argparse.Namespace, client: Client, now: datetime) -> list[str]:
    """Everything that is owed or dead."""
    query = {"kind": chosen.kind, "state": chosen.state, "limit": chosen.limit}
    return work_tables(client.call("GET", path_of("work"), query), now)


def retry_work(chosen: argparse.Namespace, client: Client, _now: datetime) -> list[str]:
    """Try one row now."""
    return [_changed(client.call("POST", path_of("work", chosen.work_kind, chosen.id, "retry")))]


def discard_work(chosen: argparse.Namespace, client: Client, _now: datetime) -> list[str]:
    """Put one dead row away."""
    return [_changed(client.call("POST", path_of("work", chosen.work_kind, chosen.id, "discard")))]


def _changed(item: dict[str, Any]) -> str:
    return f"{item['kind']} {item['id']} is {item['state']}."


def show_topics(_chosen: argparse.Namespace, client: Client, now: datetime) -> list[str]:
    """Dead letters by topic and reason."""
    return topic_tables(client.call("GET", path_of("dlq")), now)


def show_letters(chosen: argparse.Namespace, client: Client, now: datetime) -> list[str]:
    """The newest dead letters of one topic."""
    query = {"fingerprint": chosen.fingerprint, "limit": chosen.limit}
    return letter_table(client.call("GET", path_of("dlq", chosen.topic), query), now)


def replay(chosen: argparse.Namespace, client: Client, _now: datetime) -> list[str]:
    """Replay what is chosen, batch by batch, until nothing of it is left."""
    body: dict[str, Any] = {"dry_run": chosen.dry_run}
    given = {"fingerprint": chosen.fingerprint, "ids": chosen.ids, "per_second": chosen.per_second}
    body |= {name: value for name, value in given.items() if value is not None}
    if chosen.patch is not None:
        body["patch"] = _patch(chosen.patch)
    rounds = list(_rounds(chosen.topic, body, client, Progress("examined" if chosen.dry_run else "replayed")))
    count, skipped = sum(done["count"] for done in rounds), sum(len(done["skipped"]) for done in rounds)
    late = f" {skipped} were settled already." if skipped else ""
    if not chosen.dry_run:
        return [f"{count} replayed.{late}"]
    failed = [item for done in rounds for item in done["failed"]]
    hindered = [f"  letter {item['id']}: {'.'.join(item['loc'])}: {item['msg']}" for item in failed]
    return [f"{count} would be replayed, {len(failed)} would be poison again.{late}", *hindered]


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


def discard_letters(chosen: argparse.Namespace, client: Client, _now: datetime) -> list[str]:
    """Discard what is chosen until nothing of it is left."""
    progress, remaining = Progress("discarded"), 1
    with progress.told_to_the_end():
        while remaining:
            done = client.call("DELETE", path_of("dlq", chosen.topic), {"fingerprint": chosen.fingerprint})
            remaining = done["remaining"]
            progress.add(done["discarded"], remaining)
    return [f"{progress.count} discarded."]
