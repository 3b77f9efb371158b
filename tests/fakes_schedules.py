"""Schedules, in memory: the desk of those who ask, and what is due."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import NotFound
from app.domain.schedule_ports import Edit, Place, Ran
from app.domain.schedules import (
    KeptSchedule,
    Outcome,
    Run,
    Schedule,
    Step,
    after_failure,
    changed,
    message_of,
    moved_on,
    planned,
    step,
)
from tests.fakes_store import InMemoryStore


@dataclass
class InMemorySchedules:
    """`ScheduleDesk` and `DueSchedules`."""

    store: InMemoryStore = field(default_factory=InMemoryStore)
    grace: timedelta = timedelta(seconds=60)
    kept: dict[str, KeptSchedule] = field(default_factory=dict)
    done: dict[tuple[str, datetime], Run] = field(default_factory=dict)

    def accept(self, schedule: Schedule, key: RequestKey | None) -> Receipt:
        with self.store.transaction():
            first = self.store.first_receipt(key) if key else None
            if first is not None:
                return first
            self._check_session(schedule)
            now, receipt = self.store.clock.now(), Receipt(schedule.session_id, schedule.schedule_id)
            made_at = now + timedelta(microseconds=len(self.kept))
            self.kept[schedule.schedule_id] = KeptSchedule(planned(schedule, now), made_at, now)
            if key is not None:
                self.store.take_key(key, receipt)
            return receipt

    def _check_session(self, schedule: Schedule) -> None:
        known = self.store.sessions.get(schedule.session_id)
        if known is not None and schedule.tenant_named and known.tenant != schedule.tenant:
            raise NotFound("there is no such session")

    def find(self, schedule_id: str) -> KeptSchedule | None:
        with self.store.transaction():
            return self.kept.get(schedule_id)

    def page(self, tenant: str | None, before: Place | None, limit: int) -> Sequence[KeptSchedule]:
        with self.store.transaction():
            found = [kept for kept in self.kept.values() if tenant in (None, kept.schedule.tenant)]
            found.sort(key=_place, reverse=True)
            return [kept for kept in found if before is None or _place(kept) < before][:limit]

    def change(self, schedule_id: str, edit: Edit) -> KeptSchedule | None:
        with self.store.transaction():
            if schedule_id not in self.kept:
                return None
            before, now = self.kept[schedule_id].schedule, self.store.clock.now()
            return self._save(changed(before, edit(before), now))

    def _save(self, schedule: Schedule) -> KeptSchedule:
        kept = KeptSchedule(schedule, self.kept[schedule.schedule_id].created_at, self.store.clock.now())
        self.kept[schedule.schedule_id] = kept
        return kept

    def remove(self, schedule_id: str) -> bool:
        with self.store.transaction():
            self.done = {key: run for key, run in self.done.items() if key[0] != schedule_id}
            return self.kept.pop(schedule_id, None) is not None

    def runs(self, schedule_id: str, before: datetime | None, limit: int) -> Sequence[Run]:
        with self.store.transaction():
            found = [run for (key, _), run in self.done.items() if key == schedule_id]
            found.sort(key=lambda run: run.due_at, reverse=True)
            return [run for run in found if before is None or run.due_at < before][:limit]

    def due(self, limit: int) -> list[str]:
        with self.store.transaction():
            return [key for key in self.kept if self._is_due(key)][:limit]

    def _is_due(self, schedule_id: str) -> bool:
        kept = self.kept.get(schedule_id)
        following = kept.schedule.next_run_at if kept else None
        return following is not None and following <= self.store.clock.now()

    def run(self, schedule_id: str) -> Ran | None:
        with self.store.transaction():
            if not self._is_due(schedule_id):
                return None
            schedule = self.kept[schedule_id].schedule
            taken = step(schedule, self.store.clock.now(), self.grace)
            if taken.sends:
                self._check_session(schedule)
            self._save(moved_on(schedule, taken))
            message = message_of(schedule, taken.due_at) if taken.sends else None
            if not self._note(schedule_id, taken, message.event_id if message else None) or message is None:
                return Ran(taken.outcome)
            return Ran(taken.outcome, message.event_id, self.store.keep(message))

    def fail(self, schedule_id: str, reason: str) -> bool:
        with self.store.transaction():
            if not self._is_due(schedule_id):
                return False
            schedule = self.kept[schedule_id].schedule
            assert schedule.next_run_at is not None
            after = after_failure(schedule, self.store.clock.now(), reason)
            self._save(after)
            return self._note(
                schedule_id, Step(schedule.next_run_at, Outcome.FAILED, 1, after.next_run_at), None, reason
            )

    def _note(self, schedule_id: str, taken: Step, event_id: str | None, reason: str | None = None) -> bool:
        if (schedule_id, taken.due_at) in self.done:
            return False
        now = self.store.clock.now()
        self.done[schedule_id, taken.due_at] = Run(taken.due_at, taken.outcome, taken.times, event_id, reason, now)
        return True


def _place(kept: KeptSchedule) -> Place:
    return kept.created_at, kept.schedule.schedule_id
