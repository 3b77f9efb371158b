"""Every kind of owed row: how its table stores what `leases` needs. A new kind of work is one more entry here."""

from dataclasses import dataclass

from app.domain.leases import ALONE_AFTER_DEATHS


@dataclass(frozen=True, slots=True)
class WorkKind:
    """How one table stores its work; every name comes from this code base, never from a request.

    Unless said otherwise, work is queued, then running, then has one of its last states. `session` is what the desk
    shows as its session.
    """

    name: str
    table: str
    key: str
    owed: tuple[str, ...] = ("queued", "running")
    claimed: str = "running"
    waiting: str = "queued"
    order: str = "w.run_at, w.created_at"
    guard: str = "true"
    on_claim: str = ""
    on_owner_gone: str = ""
    on_wait: str = ""
    session: str = "w.session_id"

    @property
    def owed_sql(self) -> str:
        """The owed states as a literal list, so that the partial index on them is used."""
        return ", ".join(f"'{state}'" for state in self.owed)

    @property
    def due_sql(self) -> str:
        """Whether the row `w` may be claimed now."""
        return f"""w.state IN ({self.owed_sql}) AND w.run_at <= now()
              AND (w.lease_until IS NULL OR w.lease_until <= now()) AND {self.guard}"""

    @property
    def key_type(self) -> str:
        """The key's type in the table."""
        return "bigint" if self.key == "id" else "text"


TURNS = WorkKind(
    name="turn",
    table="turns",
    key="event_id",
    guard="""NOT EXISTS (SELECT 1 FROM turns earlier WHERE earlier.session_id = w.session_id
                AND earlier.seq < w.seq AND earlier.state IN ('queued', 'running'))
             AND (w.cancel_requested
                  OR NOT EXISTS (SELECT 1 FROM sessions s WHERE s.session_id = w.session_id AND s.paused)
                  AND NOT EXISTS (SELECT 1 FROM tool_calls c
                                  WHERE c.turn_event_id = w.event_id AND c.state IN ('queued', 'running')))""",
    on_claim=", partial_text = ''",
    on_wait=", undecided = w.undecided + 1",
    # A suspect has a process of its own, whose death its worker reports: the worker's own death is not its doing.
    on_owner_gone=f", excused = excused + CASE WHEN attempts - excused > {ALONE_AFTER_DEATHS} THEN 1 ELSE 0 END",
)
MEMORIES = WorkKind(
    name="memory", table="memory_write_outbox", key="event_id", owed=("pending",), claimed="pending", waiting="pending"
)
RECORDS = WorkKind(
    name="record",
    table="message_outbox",
    key="id",
    owed=("pending",),
    claimed="pending",
    waiting="pending",
    order="w.run_at, w.id",
)
TOOL_CALLS = WorkKind(
    name="tool_call", table="tool_calls", key="call_id", on_claim=", runs = w.runs + 1", on_wait=", runs = w.runs - 1"
)
EXPORTS = WorkKind(
    name="export",
    table="export_jobs",
    key="job_id",
    # One after another: the worker that makes them has only a few threads, and memories are delivered by the others.
    guard="NOT EXISTS (SELECT 1 FROM export_jobs other WHERE other.lease_until > now() AND other.job_id <> w.job_id)",
    session="NULL::text",
)
WEBHOOKS = WorkKind(
    name="webhook",
    table="webhook_deliveries",
    key="delivery_id",
    owed=("pending",),
    claimed="pending",
    waiting="pending",
)
KINDS = (TURNS, MEMORIES, RECORDS, TOOL_CALLS, EXPORTS, WEBHOOKS)
"""What people tend at the desk."""
PROOFS = WorkKind(name="proof", table="reconcile_jobs", key="job_id")
LEASED = (*KINDS, PROOFS)
"""Everything that can be held by a worker that is gone."""
