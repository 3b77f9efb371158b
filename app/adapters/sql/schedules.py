"""Schedules as those see them who ask for them: kept, looked at, changed, removed."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from app.adapters.sql.acceptance import accept
from app.adapters.sql.engine import all_rows, resolved, transaction
from app.adapters.sql.schedule_rows import kept_in, run_in, save, schedule_in, values_of
from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import NotFound
from app.domain.events import SessionEvent
from app.domain.schedule_ports import Edit, Place
from app.domain.schedules import KeptSchedule, Run, Schedule, changed, planned

_NOW = text("SELECT clock_timestamp()")
_KEEP = text("""
    INSERT INTO schedules (schedule_id, tenant, tenant_named, session_id, persona_id, message, metadata, at, cron,
                           time_zone, missed, enabled, next_run_at, last_error)
    VALUES (:schedule_id, :tenant, :tenant_named, :session_id, :persona_id, :message, CAST(:metadata AS jsonb), :at,
            :cron, :time_zone, :missed, :enabled, :next_run_at, :reason)
""")
_FOREIGN = text("SELECT 1 FROM sessions WHERE session_id = :session_id AND tenant <> :tenant")
_FIND = text("SELECT * FROM schedules WHERE schedule_id = :schedule_id")
_LOCK = text("SELECT *, clock_timestamp() AS now FROM schedules WHERE schedule_id = :schedule_id FOR UPDATE")
_REMOVE = text("DELETE FROM schedules WHERE schedule_id = :schedule_id")
_RUNS = text("""
    SELECT due_at, outcome, times, event_id, reason, created_at FROM schedule_runs
    WHERE schedule_id = :schedule_id AND (CAST(:before AS timestamptz) IS NULL OR due_at < :before)
    ORDER BY due_at DESC LIMIT :limit
""")


class SqlScheduleDesk:
    """`ScheduleDesk` on Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def accept(self, schedule: Schedule, key: RequestKey | None) -> Receipt:
        """Keep it, once."""
        receipt = Receipt(schedule.session_id, schedule.schedule_id)
        kept, _ = accept(self._engine, receipt, key, lambda connection: _keep(connection, schedule))
        return kept

    def find(self, schedule_id: str) -> KeptSchedule | None:
        """As it stands now."""
        rows = all_rows(self._engine, _FIND, {"schedule_id": schedule_id})
        return kept_in(rows[0]) if rows else None

    def page(self, tenant: str | None, before: Place | None, limit: int) -> Sequence[KeptSchedule]:
        """Newest first."""
        conditions = ["true"]
        if tenant is not None:
            conditions.append("tenant = :tenant")
        if before is not None:
            conditions.append("(created_at, schedule_id) < (:made_at, :schedule_id)")
        made_at, schedule_id = before or (None, None)
        statement = f"""
            SELECT * FROM schedules WHERE {" AND ".join(conditions)}
            ORDER BY created_at DESC, schedule_id DESC LIMIT :limit"""  # noqa: S608
        asked = {"tenant": tenant, "made_at": made_at, "schedule_id": schedule_id, "limit": limit}
        return [kept_in(row) for row in all_rows(self._engine, text(statement), asked)]

    def change(self, schedule_id: str, edit: Edit) -> KeptSchedule | None:
        """The row's lock keeps everybody else away; said twice it changes nothing more."""
        return resolved(lambda _: self._change(schedule_id, edit))

    def _change(self, schedule_id: str, edit: Edit) -> KeptSchedule | None:
        with transaction(self._engine) as connection:
            row = connection.execute(_LOCK, {"schedule_id": schedule_id}).mappings().one_or_none()
            if row is None:
                return None
            before = schedule_in(row)
            return save(connection, changed(before, edit(before), row["now"]))

    def remove(self, schedule_id: str) -> bool:
        """A run under way is waited for."""
        return resolved(lambda again: self._remove(schedule_id) or again)

    def _remove(self, schedule_id: str) -> bool:
        with transaction(self._engine) as connection:
            return bool(connection.execute(_REMOVE, {"schedule_id": schedule_id}).rowcount)

    def runs(self, schedule_id: str, before: datetime | None, limit: int) -> Sequence[Run]:
        """Newest first."""
        asked = {"schedule_id": schedule_id, "before": before, "limit": limit}
        return [run_in(row) for row in all_rows(self._engine, _RUNS, asked)]


def _keep(connection: Connection, schedule: Schedule) -> Sequence[SessionEvent]:
    """A schedule is no part of a session yet: nothing is shown there."""
    asked = {"session_id": schedule.session_id, "tenant": schedule.tenant}
    if schedule.tenant_named and connection.execute(_FOREIGN, asked).scalar() is not None:
        raise NotFound("there is no such session")
    now = connection.execute(_NOW).scalar_one()
    connection.execute(_KEEP, values_of(planned(schedule, now)))
    return ()
