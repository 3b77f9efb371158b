"""What models were used for, by day."""

from datetime import date, timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from app.domain.budgets import DailyUsage, UsageBy, UsageFilter, UsagePlace
from app.gateway.api import Answer, Area, Query
from app.gateway.paging import cut, decode, never_given
from app.gateway.room import room
from app.services.message_form import MAX_NAME_LENGTH

usage = Area("usage")
_USUAL = timedelta(days=29)


class UsageQuery(Query):
    """Which days, UTC, `from` and `to` included, and by what to sum up; by default the last 30, by tenant."""

    first: Annotated[date | None, Field(alias="from")] = None
    to: date | None = None
    by: UsageBy = UsageBy.TENANT
    tenant: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)] | None = None
    after: str = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 100

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.first and self.to and self.first > self.to:
            raise ValueError("`from` lies after `to`")
        return self

    def filter(self, today: date) -> UsageFilter:
        """As the desk takes it."""
        earliest = date.min if self.to else today - _USUAL
        return UsageFilter(self.by, self.first or earliest, self.to or date.max, self.tenant)


class Usage(Answer):
    """A day of a tenant, of one of its personas, keys or models; `cost` at the prices of the models' profiles, in their
    currency. Who named no persona has none here.
    """

    day: date
    tenant: str
    persona_id: str | None
    key: str | None
    model: str | None
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float


class UsagePage(Answer):
    """Days, oldest first."""

    items: list[Usage]
    next_cursor: str | None


@usage.route("GET", "/v1/usage", "Tokens spent, by day", query=UsageQuery, answer=UsagePage, errors=(422, 503))
def list_usage(query: UsageQuery) -> UsagePage:
    """One page."""
    serving = room().serving
    wanted = query.filter(serving.clock.now().date())
    found = serving.budget_desk.usage(wanted, _place(query.after), query.limit + 1)
    page, cursor = cut(found, query.limit, lambda line: (line.day.isoformat(), line.tenant, line.who))
    return UsagePage(items=[_shown(line, query.by) for line in page], next_cursor=cursor)


def _shown(line: DailyUsage, by: UsageBy) -> Usage:
    return Usage(
        day=line.day,
        tenant=line.tenant,
        persona_id=(line.who or None) if by is UsageBy.PERSONA else None,
        key=line.who if by is UsageBy.KEY else None,
        model=line.who if by is UsageBy.MODEL else None,
        requests=line.requests,
        input_tokens=line.input_tokens,
        output_tokens=line.output_tokens,
        cost=line.cost,
    )


def _place(cursor: str) -> UsagePlace | None:
    found = decode(cursor, str, str, str)
    if found is None:
        return None
    day, tenant, who = found
    try:
        return UsagePlace(date.fromisoformat(day), tenant, who)
    except ValueError:
        raise never_given() from None
