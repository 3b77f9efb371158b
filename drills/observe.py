"""Reading what exists after a drill: session events, turns, SomaBrain, `memory.wal` and the replica.

Each store is read through its own door (HTTP, SQL, a Kafka client), page by page to the end, so no store is believed
about another.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg2
import requests
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from drills.record import Event, Kept, Turn

PAGE: Final = 200
OWED: Final = """
SELECT (SELECT count(*) FROM turns WHERE tenant = %(tenant)s AND state IN ('queued', 'running')),
       (SELECT count(*) FROM memory_write_outbox WHERE tenant = %(tenant)s AND state = 'pending'),
       (SELECT count(*) FROM message_outbox WHERE tenant = %(tenant)s AND state = 'pending'),
       (SELECT count(*) FROM memory_write_outbox AS m WHERE m.tenant = %(tenant)s AND m.state = 'synced'
         AND NOT EXISTS (SELECT FROM memory_replica AS r WHERE r.event_id = m.event_id))
"""
TURNS: Final = "SELECT event_id, session_id, seq, state, attempts FROM turns WHERE tenant = %(tenant)s"
REPLICA_ROWS: Final = "SELECT count(*) FROM memory_replica WHERE tenant = %(tenant)s"
OFFSETS: Final = "SELECT coalesce(sum(next_offset), 0) FROM replicator_offsets"
SIDE_BY_SIDE: Final = """
SELECT count(*) FROM (SELECT FROM turns WHERE tenant = %(tenant)s AND state = 'running' AND lease_until > now()
                      GROUP BY session_id HAVING count(*) > 1) AS doubled
"""
HEADS: Final = "SELECT session_id, max(seq) FROM session_events WHERE tenant = %(tenant)s GROUP BY session_id"
CONNECTIONS: Final = "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND application_name <> ''"
DEAD_LETTERS: Final = "SELECT count(*) FROM dlq_messages WHERE state = 'open'"


@dataclass(frozen=True, slots=True)
class Owed:
    """Work that is not finished; quiet is when all of it is zero."""

    turns: int
    memories: int
    records: int
    unreplicated: int

    @property
    def total(self) -> int:
        """Everything together."""
        return self.turns + self.memories + self.records + self.unreplicated

    def __str__(self) -> str:
        return (
            f"{self.turns} turns, {self.memories} memories for SomaBrain, {self.records} records for Kafka, "
            f"{self.unreplicated} rows for the replica"
        )


class Database:
    """The product's Postgres, read only, one connection per question so that a drill survives its restarts."""

    def __init__(self, dsn: str, tenant: str) -> None:
        self._dsn = dsn
        self._tenant = tenant

    def owed(self) -> Owed:
        """What is still owed to this drill's tenant."""
        return Owed(*self._rows(OWED)[0])

    def turns(self) -> tuple[Turn, ...]:
        """Every turn of this drill's tenant."""
        return tuple(Turn(str(row[0]), *row[1:]) for row in self._rows(TURNS))

    def replica_rows(self) -> int:
        """How many rows the replica holds for this drill's tenant."""
        return int(self._rows(REPLICA_ROWS)[0][0])

    def offsets(self) -> int:
        """The sum of the replicator's offsets; it must never shrink."""
        return int(self._rows(OFFSETS)[0][0])

    def side_by_side(self) -> int:
        """How many sessions have more than one turn running."""
        return int(self._rows(SIDE_BY_SIDE)[0][0])

    def heads(self) -> dict[str, int]:
        """The number of the last event of each session of this drill's tenant."""
        return {str(session_id): int(seq) for session_id, seq in self._rows(HEADS)}

    def connections(self) -> int:
        """How many connections the product has; the drill's own have no name."""
        return int(self._rows(CONNECTIONS)[0][0])

    def dead_letters(self) -> int:
        """Dead letters that nobody has dealt with."""
        return int(self._rows(DEAD_LETTERS)[0][0])

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        options = "-c default_transaction_read_only=on -c statement_timeout=20000"
        with (
            closing(psycopg2.connect(self._dsn, connect_timeout=3, options=options)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, {"tenant": self._tenant})
            return cursor.fetchall()


def session_events(gateway: str, session_ids: Iterable[str]) -> tuple[Event, ...]:
    """The durable events of these sessions."""
    events: list[Event] = []
    with polite_client() as http:
        for session_id in session_ids:
            for item in _pages(http, f"{gateway}/v1/sessions/{session_id}/events", "events", {}):
                events.append(_event(session_id, item))
    return tuple(events)


def _event(session_id: str, item: Mapping[str, Any]) -> Event:
    payload = item["payload"]
    return Event(
        session_id=session_id,
        seq=int(item["id"]),
        event_id=str(payload["event_id"]),
        type=payload["type"],
        text=payload["message"],
        at=datetime.fromisoformat(payload["created_at"]).timestamp(),
        attempt=int(payload["metadata"].get("attempt", 0)),
    )


def brain_memories(brain: str, tenant: str, namespace: str, universe: str) -> tuple[Kept, ...]:
    """Every memory that SomaBrain holds in this place, with the number of effects each had."""
    place = {"tenant": tenant, "namespace": namespace, "universe": universe}
    with polite_client() as http:
        return tuple(
            Kept(str(item["key"]), str(item["value"].get("content")), writes=int(item["writes"]))
            for item in _pages(http, f"{brain}/memory/items", "items", place)
        )


def replica_memories(gateway: str, tenant: str) -> tuple[Kept, ...]:
    """Every row of the replica that the admin route shows for this tenant."""
    with polite_client() as http:
        return tuple(
            Kept(str(item["event_id"]), str((item["payload"] or {}).get("content")))
            for item in _pages(http, f"{gateway}/v1/admin/memory", "items", {"tenant": tenant})
        )


def polite_client() -> requests.Session:
    """A client that waits when it is asked to: a machine that is busy for a moment is not what a drill judges here."""
    http = requests.Session()
    http.trust_env = False
    http.mount("http://", HTTPAdapter(max_retries=Retry(5, status_forcelist=[503], raise_on_status=False)))
    return http


def _pages(http: requests.Session, url: str, name: str, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    after: object = None
    while True:
        params = {**query, "limit": PAGE} | ({} if after is None else {"after": after})
        answer = http.get(url, params=params, timeout=15)
        if answer.status_code == 404:  # a session that was never accepted
            return
        answer.raise_for_status()
        page = answer.json()
        yield from page[name]
        after = page["next_cursor"]
        if after is None:
            return


def wal_records(bootstrap_servers: str, topic: str, tenant: str) -> tuple[Kept, ...]:
    """Every `memory.write` of this tenant on the topic, from its beginning to where its end is now."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers.split(","),
        enable_auto_commit=False,
        group_id=None,
        request_timeout_ms=10_000,
    )
    with closing(consumer):
        parts = [TopicPartition(topic, part) for part in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consumer.end_offsets(parts)
        found: list[Kept] = []
        while any(consumer.position(part) < ends[part] for part in parts):
            for batch in consumer.poll(timeout_ms=1000).values():
                found += [kept for record in batch if (kept := _kept(record, tenant))]
    return tuple(found)


def _kept(record: ConsumerRecord, tenant: str) -> Kept | None:
    try:
        body = json.loads(record.value)
    except (ValueError, TypeError):
        return None
    if not isinstance(body, dict) or body.get("tenant") != tenant or body.get("type") != "memory.write":
        return None
    return Kept(str(body["event_id"]), str(body["payload"].get("content")), version=int(body["version"]))
