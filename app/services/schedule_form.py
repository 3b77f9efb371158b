"""Schedules as callers write them: parsed once, their times checked; a change is checked as the whole that it makes."""

import uuid
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.domain.errors import Rejected
from app.domain.schedule_ports import Edit
from app.domain.schedules import Missed, Schedule
from app.domain.timing import BadTiming, Timing, check_cron, check_zone
from app.services.message_form import MAX_NAME_LENGTH, Scalar, SessionForm, SessionId, fits_into_a_memory

_LAST_YEAR = 9000
_EITHER = "give either at, a moment, or cron with its time_zone"
_OWN_ZONE = "at says its own zone; time_zone belongs to cron"


def _as_text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write a moment with its zone, for example 2027-01-31T08:30:00+01:00")
    return value


def _conceivable(moment: datetime) -> datetime:
    if moment.year > _LAST_YEAR:
        raise BadTiming(f"nothing is planned beyond the year {_LAST_YEAR}")
    return moment


_LEFT_OUT: Any = Field(default=None)
"""A default that nobody can say: only a persona can be taken away."""
_Message = Annotated[str, Field(min_length=1, max_length=32_000)]
# In strict mode JSON's text is no moment and no choice.
_Moment = Annotated[AwareDatetime, BeforeValidator(_as_text), Field(strict=False), AfterValidator(_conceivable)]
_Missed = Annotated[Missed, Field(strict=False)]
_Cron = Annotated[str, AfterValidator(check_cron)]
_Zone = Annotated[str, Field(max_length=MAX_NAME_LENGTH), AfterValidator(check_zone)]
_TIMES = ("at", "cron", "time_zone")


class ScheduleForm(SessionForm):
    """A message that is sent `at` a moment, or by a `cron` expression on the clock of `time_zone`."""

    model_config = ConfigDict(title="Schedule")

    session_id: SessionId | None = None
    message: _Message
    at: _Moment | None = None
    cron: _Cron | None = None
    time_zone: _Zone = "UTC"
    missed: _Missed = Missed.RUN_ONCE
    enabled: bool = True

    @model_validator(mode="after")
    def _one_way_of_being_due(self) -> Self:
        if (self.at is None) == (self.cron is None):
            raise BadTiming(_EITHER)
        if self.at is not None and "time_zone" in self.model_fields_set:
            raise BadTiming(_OWN_ZONE)
        return self

    @property
    def timing(self) -> Timing:
        """When it is due."""
        return Timing(self.at, self.cron, self.time_zone)


class ScheduleChange(BaseModel):
    """What is to be different; what is left out stays. The session and its tenant stay in any case."""

    model_config = ConfigDict(title="ScheduleChange", extra="forbid", strict=True, frozen=True)

    message: _Message = _LEFT_OUT
    persona_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    metadata: Annotated[dict[str, Scalar], AfterValidator(fits_into_a_memory)] = _LEFT_OUT
    at: _Moment = _LEFT_OUT
    cron: _Cron = _LEFT_OUT
    time_zone: _Zone = _LEFT_OUT
    missed: _Missed = _LEFT_OUT
    enabled: bool = _LEFT_OUT


def schedule_in(form: ScheduleForm, default_tenant: str) -> Schedule:
    """The schedule under a new id, in a session of its own where the caller names none."""
    return Schedule(
        schedule_id=str(uuid.uuid4()),
        tenant=form.tenant_named or default_tenant,
        session_id=form.session_id or str(uuid.uuid4()),
        message=form.message,
        timing=form.timing,
        missed=form.missed,
        enabled=form.enabled,
        tenant_named=bool(form.tenant_named),
        persona_id=form.persona_id,
        metadata=form.metadata,
    )


def edit_of(change: ScheduleChange) -> Edit:
    """What this change does to a schedule; `Rejected` where both together make none."""

    def edit(before: Schedule) -> Schedule:
        if change.metadata and change.metadata.get("tenant", before.tenant) != before.tenant:
            raise Rejected("a schedule stays with its tenant; make another one")
        said = {name: getattr(change, name) for name in change.model_fields_set - set(_TIMES)}
        return replace(before, timing=_timing(before.timing, change), **said)

    return edit


def _timing(before: Timing, change: ScheduleChange) -> Timing:
    given = change.model_fields_set & set(_TIMES)
    if "at" in given:
        if len(given) > 1:
            raise BadTiming(_EITHER)
        return Timing(change.at)
    if "cron" not in given and "time_zone" in given and before.cron is None:
        raise BadTiming(_OWN_ZONE)
    return Timing(None, change.cron or before.cron, change.time_zone or before.time_zone) if given else before
