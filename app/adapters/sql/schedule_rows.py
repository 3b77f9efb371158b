"""Rows of schedules and of their runs, and the domain's data, in both directions."""

from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.adapters.sql.rows import as_json
from app.domain.schedules import KeptSchedule, Missed, Outcome, Run, Schedule
from app.domain.timing import Timing

_SAVE = text("""
    UPDATE schedules SET message = :message, at = :at, cron = :cron, time_zone = :time_zone, missed = :missed,
           enabled = :enabled, persona_id = :persona_id, metadata = CAST(:metadata AS jsonb),
           next_run_at = :next_run_at, last_error = :reason, updated_at = now()
    WHERE schedule_id = :schedule_id
    RETURNING *
""")


def save(connection: Connection, schedule: Schedule) -> KeptSchedule:
    """Write down what a person changed of a schedule whose row is locked."""
    return kept_in(connection.execute(_SAVE, values_of(schedule)).mappings().one())


def values_of(schedule: Schedule) -> dict[str, Any]:
    """Every column that a person or a run may change, and the key."""
    return {
        "schedule_id": schedule.schedule_id,
        "tenant": schedule.tenant,
        "tenant_named": schedule.tenant_named,
        "session_id": schedule.session_id,
        "persona_id": schedule.persona_id,
        "message": schedule.message,
        "metadata": as_json(dict(schedule.metadata)),
        "at": schedule.timing.at,
        "cron": schedule.timing.cron,
        "time_zone": schedule.timing.time_zone,
        "missed": schedule.missed.value,
        "enabled": schedule.enabled,
        "next_run_at": schedule.next_run_at,
        "reason": schedule.reason,
    }


def schedule_in(row: RowMapping) -> Schedule:
    """The schedule that a row keeps."""
    return Schedule(
        schedule_id=row["schedule_id"],
        tenant=row["tenant"],
        session_id=row["session_id"],
        message=row["message"],
        timing=Timing(row["at"], row["cron"], row["time_zone"]),
        missed=Missed(row["missed"]),
        enabled=row["enabled"],
        tenant_named=row["tenant_named"],
        persona_id=row["persona_id"],
        metadata=row["metadata"],
        next_run_at=row["next_run_at"],
        reason=row["last_error"],
    )


def kept_in(row: RowMapping) -> KeptSchedule:
    """The same with its times."""
    return KeptSchedule(schedule_in(row), row["created_at"], row["updated_at"])


def run_in(row: RowMapping) -> Run:
    """What became of one due time."""
    return Run(row["due_at"], Outcome(row["outcome"]), row["times"], row["event_id"], row["reason"], row["created_at"])
