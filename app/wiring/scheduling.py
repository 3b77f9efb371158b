"""What running schedules needs."""

from functools import lru_cache

from app.adapters.sql.due_schedules import SqlDueSchedules
from app.adapters.sql.inbox import SqlInbox
from app.services.run_schedules import Timetable
from app.wiring.process import this_process


@lru_cache(maxsize=1)
def timetable() -> Timetable:
    """This process's way from due schedules to messages."""
    process = this_process()
    inbox = SqlInbox(process.engine, process.memory_defaults)
    schedules = SqlDueSchedules(process.engine, inbox, process.settings.schedule_grace_seconds)
    return Timetable(schedules, process.doorbell, process.broadcast)
