"""What keeps the tables honest and small: the sweep, the notes on health, the measures, the pruning."""

from dataclasses import dataclass

from sqlalchemy import Engine, TextClause, text

from app.adapters.sql.engine import transaction
from app.adapters.sql.leases import end_leases_of_the_dead
from app.adapters.sql.revision import schema_revision

_NOTE = text("""
    INSERT INTO component_health AS c (component, status, detail) VALUES (:component, :status, :detail)
    ON CONFLICT (component) DO UPDATE SET status = excluded.status, detail = excluded.detail, measured_at = now()
""")
_NOTES = text("""
    SELECT component, status, detail, extract(epoch FROM now() - measured_at)::float AS age FROM component_health
""")
_BACKLOG = text("""
    SELECT count(*) AS backlog, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float AS oldest
    FROM memory_write_outbox WHERE state = 'pending'
""")
_RECORDS = text("""
    SELECT topic, count(*) AS backlog, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float AS oldest
    FROM message_outbox WHERE state = 'pending' GROUP BY topic
""")
_TURNS = text("""
    SELECT count(*) AS backlog, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float AS oldest
    FROM turns WHERE state IN ('queued', 'running')
""")
_TOOL_CALLS = text("""
    SELECT count(*) AS backlog, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float AS oldest
    FROM tool_calls WHERE state IN ('queued', 'running')
""")
_DEAD_LETTERS = text("SELECT topic, count(*) AS depth FROM dlq_messages WHERE state = 'open' GROUP BY topic")
# A superuser may take what is kept back for superusers; of strangers' sessions only the database may be known.
_CONNECTIONS = text("""
    SELECT current_setting('max_connections')::int - CASE WHEN current_setting('is_superuser') = 'on' THEN 0
             ELSE current_setting('superuser_reserved_connections')::int
                + coalesce(current_setting('reserved_connections', true), '0')::int END AS most,
           (SELECT count(*) FROM pg_stat_activity
            WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend') AS taken
""")
# The oldest record that Kafka does not have yet, or that it has and the replica has not: per partition one look into an
# index. A replica that waits for Kafka is as far behind as one that cannot keep up.
_UNREPLICATED = text("""
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(behind.created_at)), 0)::float FROM (
        SELECT min(created_at) AS created_at FROM message_outbox WHERE topic = :topic AND state = 'pending'
        UNION ALL
        SELECT waiting.created_at FROM generate_series(0, :partitions - 1) AS part (number)
        LEFT JOIN replicator_offsets done ON done.topic = :topic AND done.partition = part.number
        CROSS JOIN LATERAL (
            SELECT created_at FROM message_outbox
            WHERE topic = :topic AND state = 'sent' AND sent_partition = part.number
              AND sent_offset >= coalesce(done.next_offset, 0)
            ORDER BY sent_offset LIMIT 1) waiting) behind
""")
_WORKERS = text("""
    SELECT name, count(*) AS alive FROM processes WHERE seen_at > now() - interval '10 seconds' GROUP BY name
""")
_USELESS = "j.state IN ('failed', 'cancelled', 'discarded') OR j.state = 'completed' AND j.expires_at <= now()"
_UNAWAITED = """NOT EXISTS (SELECT 1 FROM turns t
                          WHERE t.event_id = w.turn_event_id AND t.state IN ('queued', 'running'))"""
_PRUNE = (
    text("""DELETE FROM message_outbox WHERE id IN (
        SELECT o.id FROM message_outbox o
        LEFT JOIN replicator_offsets done ON done.topic = o.topic AND done.partition = o.sent_partition
        WHERE o.state = 'sent' AND o.finished_at < now() - interval '7 days'
          AND (done.next_offset IS NULL OR o.sent_offset < done.next_offset) LIMIT 1000)"""),
    text("""DELETE FROM memory_write_outbox WHERE event_id IN (
        SELECT event_id FROM memory_write_outbox
        WHERE state = 'synced' AND finished_at < now() - interval '7 days' LIMIT 1000)"""),
    text("""DELETE FROM idempotency_keys WHERE ctid IN (
        SELECT ctid FROM idempotency_keys WHERE created_at < now() - interval '24 hours' LIMIT 1000)"""),
    # What a person has dealt with stays for a month; what is open or dead stays for ever. Turns are history.
    text("""DELETE FROM dlq_messages WHERE id IN (
        SELECT id FROM dlq_messages
        WHERE state <> 'open' AND settled_at < now() - interval '30 days' LIMIT 1000)"""),
    text("""DELETE FROM memory_write_outbox WHERE event_id IN (
        SELECT event_id FROM memory_write_outbox
        WHERE state = 'discarded' AND finished_at < now() - interval '30 days' LIMIT 1000)"""),
    text("""DELETE FROM message_outbox WHERE id IN (
        SELECT id FROM message_outbox
        WHERE state = 'discarded' AND finished_at < now() - interval '30 days' LIMIT 1000)"""),
    # Their results stand in the session's events; a call of which nobody knows what it did stays as long as a letter,
    # and one whose turn is still owed as long as that.
    text(f"""DELETE FROM tool_calls WHERE call_id IN (
        SELECT call_id FROM tool_calls w
        WHERE state IN ('succeeded', 'failed', 'cancelled') AND finished_at < now() - interval '7 days'
          AND {_UNAWAITED} LIMIT 1000)"""),  # noqa: S608
    text(f"""DELETE FROM tool_calls WHERE call_id IN (
        SELECT call_id FROM tool_calls w
        WHERE state IN ('unknown', 'discarded') AND finished_at < now() - interval '30 days'
          AND {_UNAWAITED} LIMIT 1000)"""),  # noqa: S608
    text(f"""DELETE FROM turn_steps WHERE ctid IN (
        SELECT w.ctid FROM turn_steps w
        WHERE w.created_at < now() - interval '7 days' AND {_UNAWAITED} LIMIT 1000)"""),  # noqa: S608
    # What nobody can have any more: expired, or never whole. A dead job may still get another life, so it stays.
    text(f"""DELETE FROM export_chunks WHERE (job_id, number) IN (
        SELECT c.job_id, c.number FROM export_chunks c JOIN export_jobs j ON j.job_id = c.job_id
        WHERE j.erased_at IS NULL AND ({_USELESS}) LIMIT 300)"""),  # noqa: S608
    text(f"""UPDATE export_jobs j SET erased_at = now() WHERE erased_at IS NULL AND ({_USELESS})
        AND NOT EXISTS (SELECT 1 FROM export_chunks c WHERE c.job_id = j.job_id)"""),  # noqa: S608
    text("""DELETE FROM export_jobs WHERE job_id IN (
        SELECT job_id FROM export_jobs WHERE erased_at < now() - interval '30 days' LIMIT 1000)"""),
    text("""DELETE FROM reconcile_findings WHERE id IN (
        SELECT f.id FROM reconcile_findings f JOIN reconcile_jobs j ON j.job_id = f.job_id
        WHERE j.finished_at < now() - interval '30 days' LIMIT 1000)"""),
    text("""DELETE FROM reconcile_jobs j WHERE j.finished_at < now() - interval '30 days'
        AND NOT EXISTS (SELECT 1 FROM reconcile_findings f WHERE f.job_id = j.job_id)"""),
    # Kept for as long as a worker may have been frozen over its call, and a budget for as long as anything is reserved.
    text("""DELETE FROM token_reservations WHERE ctid IN (
        SELECT ctid FROM token_reservations WHERE finished_at < now() - interval '1 day' LIMIT 1000)"""),
    text("""DELETE FROM token_spending WHERE ctid IN (
        SELECT ctid FROM token_spending WHERE day < now() - interval '7 days' AND reserved = 0 LIMIT 1000)"""),
    text("""DELETE FROM schedule_runs WHERE ctid IN (
        SELECT ctid FROM schedule_runs WHERE created_at < now() - interval '30 days' LIMIT 1000)"""),
    # Whose webhook is gone: nobody is there to take them.
    text("""UPDATE webhook_deliveries SET state = 'discarded', finished_at = now(), last_error = 'its webhook is gone'
        WHERE delivery_id IN (
        SELECT d.delivery_id FROM webhook_deliveries d WHERE d.state = 'pending' AND d.lease_owner IS NULL
        AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.webhook_id = d.webhook_id) LIMIT 1000)
        AND lease_owner IS NULL"""),
    text("""DELETE FROM webhook_deliveries WHERE delivery_id IN (
        SELECT delivery_id FROM webhook_deliveries
        WHERE state = 'delivered' AND finished_at < now() - interval '7 days' LIMIT 1000)"""),
    text("""DELETE FROM webhook_deliveries WHERE delivery_id IN (
        SELECT delivery_id FROM webhook_deliveries
        WHERE state = 'discarded' AND finished_at < now() - interval '30 days' LIMIT 1000)"""),
    text("DELETE FROM processes WHERE seen_at < now() - interval '1 hour'"),
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows that are owed and the age in seconds of the oldest."""

    count: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Connections:
    """How many sessions Postgres has, and how many it would give to somebody like us."""

    taken: int
    most: int


@dataclass(frozen=True, slots=True)
class Note:
    """What some process last saw of a dependency, `age` seconds ago."""

    status: str
    detail: str
    age: float


class SqlUpkeep:
    """`Upkeep` on Postgres; every method is one short transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note(self, component: str, status: str, detail: str) -> None:
        """Remember how a dependency is."""
        with transaction(self._engine) as connection:
            connection.execute(_NOTE, {"component": component, "status": status, "detail": detail})

    def notes(self) -> dict[str, Note]:
        """The last note on each component."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_NOTES).mappings()
            return {row["component"]: Note(row["status"], row["detail"], row["age"]) for row in rows}

    def end_leases_of_the_dead(self) -> dict[str, int]:
        """Free what killed processes held; rows by kind of work."""
        with transaction(self._engine) as connection:
            return end_leases_of_the_dead(connection)

    def memories_owed(self) -> Backlog:
        """Memories that SomaBrain has not confirmed."""
        return self._backlog(_BACKLOG)

    def turns_owed(self) -> Backlog:
        """Turns without an end."""
        return self._backlog(_TURNS)

    def tool_calls_owed(self) -> Backlog:
        """Tool calls without an end."""
        return self._backlog(_TOOL_CALLS)

    def _backlog(self, statement: TextClause) -> Backlog:
        with transaction(self._engine) as connection:
            row = connection.execute(statement).mappings().one()
            return Backlog(row["backlog"], row["oldest"])

    def records_owed(self) -> dict[str, Backlog]:
        """Records that Kafka has not acknowledged, by topic."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_RECORDS).mappings()
            return {row["topic"]: Backlog(row["backlog"], row["oldest"]) for row in rows}

    def dead_letters(self) -> dict[str, int]:
        """Open dead letters by topic."""
        with transaction(self._engine) as connection:
            return {row["topic"]: row["depth"] for row in connection.execute(_DEAD_LETTERS).mappings()}

    def replication_lag(self, topic: str, partitions: int) -> float:
        """Age in seconds of the oldest record that is owed and the replica does not have; 0 when idle."""
        with transaction(self._engine) as connection:
            parameters = {"topic": topic, "partitions": partitions}
            return float(connection.execute(_UNREPLICATED, parameters).scalar_one())

    def workers_alive(self) -> dict[str, int]:
        """Processes seen within 10 s, by name."""
        with transaction(self._engine) as connection:
            return {row["name"]: row["alive"] for row in connection.execute(_WORKERS).mappings()}

    def connections(self) -> Connections:
        """All sessions together, whoever holds them."""
        with transaction(self._engine) as connection:
            return Connections(**connection.execute(_CONNECTIONS).mappings().one())

    def revision(self) -> str | None:
        """The schema's revision; None in an empty database."""
        return schema_revision(self._engine)

    def prune(self) -> int:
        """Drop a batch of what is finished and old; what is owed is never touched. Rows dropped."""
        dropped = 0
        for statement in _PRUNE:
            with transaction(self._engine) as connection:
                dropped += connection.execute(statement).rowcount
        return dropped
