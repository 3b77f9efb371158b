"""Schedules: messages that are sent at a moment or by a cron expression, and what became of each of their times."""

from datetime import datetime
from typing import Annotated, Any

from flask import Response
from pydantic import AwareDatetime, Field

from app.domain.errors import NotFound
from app.domain.schedules import KeptSchedule, Missed, Outcome
from app.gateway.api import Answer, Area, Deleted, PageQuery
from app.gateway.paging import cut, decode, decode_moment, decode_place
from app.gateway.request_keys import REPEATABLE, key_of, repeatable
from app.gateway.room import room
from app.services.message_form import MAX_NAME_LENGTH
from app.services.schedule_form import ScheduleChange, ScheduleForm, edit_of, schedule_in

schedules = Area("schedules")
_PATH = "/v1/schedules"
_ONE = f"{_PATH}/<schedule_id>"
_UNKNOWN = "there is no such schedule"


class ScheduleInfo(Answer):
    """A schedule; `next_run_at` is null when nothing follows, `reason` says why its last time could not run."""

    id: str
    tenant: str
    session_id: str
    persona_id: str | None
    message: str
    metadata: dict[str, Any]
    at: AwareDatetime | None
    cron: str | None
    time_zone: str
    missed: Missed
    enabled: bool
    next_run_at: AwareDatetime | None
    reason: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class SchedulesQuery(PageQuery):
    """Which schedules."""

    tenant: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)] | None = None


class Schedules(Answer):
    """A page of schedules, newest first."""

    items: list[ScheduleInfo]
    next_cursor: str | None


@schedules.route(
    "POST",
    _PATH,
    "Have a message sent at a moment, or again and again; it is kept before this answers",
    body=ScheduleForm,
    answer=ScheduleInfo,
    statuses=(201,),
    errors=(400, 404, 409, 413, 415, 422, 503),
    headers=REPEATABLE,
)
def post_schedule(body: ScheduleForm) -> Response:
    """Parse, keep, answer."""
    serving = room().serving
    tenant = serving.settings.soma_tenant_id
    receipt = serving.schedule_desk.accept(schedule_in(body, tenant), key_of(body, body.tenant_named or tenant))
    return repeatable(_found(receipt.event_id).model_dump(mode="json"), receipt.replayed, 201)


@schedules.route("GET", _PATH, "Schedules, newest first", query=SchedulesQuery, answer=Schedules, errors=(422, 503))
def list_schedules(query: SchedulesQuery) -> Schedules:
    """One page."""
    found = room().serving.schedule_desk.page(query.tenant, decode_place(query.after), query.limit + 1)
    page, cursor = cut(found, query.limit, lambda kept: (kept.created_at.isoformat(), kept.schedule.schedule_id))
    return Schedules(items=[_info(kept) for kept in page], next_cursor=cursor)


@schedules.route("GET", _ONE, "A schedule as it stands", answer=ScheduleInfo, errors=(404, 503))
def get_schedule(schedule_id: str) -> ScheduleInfo:
    """Its next time is the database's word."""
    return _found(schedule_id)


@schedules.route(
    "PATCH",
    _ONE,
    "Change a schedule, switch it off or on; times that pass while it is off are not missed",
    body=ScheduleChange,
    answer=ScheduleInfo,
    errors=(400, 404, 413, 415, 422, 503),
)
def patch_schedule(schedule_id: str, body: ScheduleChange) -> ScheduleInfo:
    """As it stands then."""
    kept = room().serving.schedule_desk.change(schedule_id, edit_of(body))
    if kept is None:
        raise NotFound(_UNKNOWN)
    return _info(kept)


@schedules.route(
    "DELETE", _ONE, "Delete a schedule and the list of its runs; what it sent stays", answer=Deleted, errors=(404, 503)
)
def delete_schedule(schedule_id: str) -> Deleted:
    """For good."""
    if not room().serving.schedule_desk.remove(schedule_id):
        raise NotFound(_UNKNOWN)
    return Deleted(deleted=True)


class RunInfo(Answer):
    """What became of a time: `times` is for how many it stands (counted up to 1,000), those that were missed included;
    `event_id` is the message that was sent, `reason` why none was.
    """

    due_at: AwareDatetime
    outcome: Outcome
    times: int
    event_id: str | None
    reason: str | None
    created_at: AwareDatetime


class Runs(Answer):
    """A page of runs, newest first; they are kept for thirty days."""

    items: list[RunInfo]
    next_cursor: str | None


@schedules.route(
    "GET",
    f"{_ONE}/runs",
    "What ran, what was missed and what was done about it",
    query=PageQuery,
    answer=Runs,
    errors=(404, 422, 503),
)
def list_runs(schedule_id: str, query: PageQuery) -> Runs:
    """One page."""
    _found(schedule_id)
    found = room().serving.schedule_desk.runs(schedule_id, _moment(query.after), query.limit + 1)
    page, cursor = cut(found, query.limit, lambda run: (run.due_at.isoformat(),))
    return Runs(items=[RunInfo.model_validate(run) for run in page], next_cursor=cursor)


def _moment(cursor: str) -> datetime | None:
    place = decode(cursor, str)
    return None if place is None else decode_moment(place[0])


def _found(schedule_id: str) -> ScheduleInfo:
    kept = room().serving.schedule_desk.find(schedule_id)
    if kept is None:
        raise NotFound(_UNKNOWN)
    return _info(kept)


def _info(kept: KeptSchedule) -> ScheduleInfo:
    schedule = kept.schedule
    return ScheduleInfo(
        id=schedule.schedule_id,
        tenant=schedule.tenant,
        session_id=schedule.session_id,
        persona_id=schedule.persona_id,
        message=schedule.message,
        metadata=dict(schedule.metadata),
        at=schedule.timing.at,
        cron=schedule.timing.cron,
        time_zone=schedule.timing.time_zone,
        missed=schedule.missed,
        enabled=schedule.enabled,
        next_run_at=schedule.next_run_at,
        reason=schedule.reason,
        created_at=kept.created_at,
        updated_at=kept.updated_at,
    )
