"""The desk, for administrators: every row that is owed or dead, with its reason, and what can be done about it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from app.domain.desk import WorkCount, WorkFilter, WorkItem, WorkName, WorkPlace, WorkState, place_of_item
from app.gateway.api import Answer, Area, Query
from app.gateway.paging import decode, encode
from app.gateway.problems import BadRequest
from app.gateway.room import actor, room
from app.services.tend_work import discard_work, retry_work

desk = Area("desk")


class WorkQuery(Query):
    """Which rows."""

    kind: Literal["turn", "memory", "record", "tool_call"] | None = None
    state: Literal["owed", "waiting", "leased", "dead"] | None = None
    after: str = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50

    def filter(self) -> WorkFilter:
        """As the desk takes it."""
        return WorkFilter(WorkName(self.kind) if self.kind else None, WorkState(self.state) if self.state else None)


class Counts(Answer):
    """How the rows of one kind stand; the age is that of the oldest which is not dead."""

    kind: str
    owed: int
    waiting: int
    leased: int
    dead: int
    oldest_age_seconds: float


class Work(Answer):
    """One row: owed, waiting for a peer's outage to end, leased to a worker, or dead; why, and when it is due."""

    kind: str
    id: str
    state: str
    tenant: str
    session_id: str | None
    topic: str | None
    attempts: int
    failures: int
    reason: str | None
    run_at: AwareDatetime
    created_at: AwareDatetime
    lease_owner: str | None


class WorkItems(Answer):
    """Counts of every kind, and a page of rows: the dead first, then the owed, each oldest first."""

    counts: list[Counts]
    items: list[Work]
    next_cursor: str | None


@desk.route(
    "GET",
    "/v1/admin/work",
    "Everything that is owed or dead, and why",
    query=WorkQuery,
    answer=WorkItems,
    errors=(422, 503),
)
def list_work(query: WorkQuery) -> WorkItems:
    """One page."""
    found = room().serving.tending.desk
    items = found.items(query.filter(), _place(query.after), query.limit + 1)
    page = items[: query.limit]
    return WorkItems(
        counts=[_counts(count) for count in found.counts()],
        items=[_work(item) for item in page],
        next_cursor=_cursor(page[-1]) if len(items) > query.limit else None,
    )


@desk.route(
    "POST",
    "/v1/admin/work/<kind>/<work_id>/retry",
    "Try this row now; a dead one that is no turn gets another life",
    answer=Work,
    errors=(404, 409, 503),
)
def retry(kind: str, work_id: str) -> Work:
    """The row as it stands then."""
    return _work(retry_work(kind, work_id, room().serving.tending, actor()))


@desk.route(
    "POST",
    "/v1/admin/work/<kind>/<work_id>/discard",
    "Put a dead row away for good",
    answer=Work,
    errors=(404, 409, 503),
)
def discard(kind: str, work_id: str) -> Work:
    """The row as it stands then."""
    return _work(discard_work(kind, work_id, room().serving.tending, actor()))


def _counts(count: WorkCount) -> Counts:
    return Counts(
        kind=count.kind,
        owed=count.owed,
        waiting=count.waiting,
        leased=count.leased,
        dead=count.dead,
        oldest_age_seconds=round(count.oldest_age_seconds, 3),
    )


def _work(item: WorkItem) -> Work:
    return Work(
        kind=item.kind,
        id=item.id,
        state=item.state,
        tenant=item.tenant,
        session_id=item.session_id,
        topic=item.topic,
        attempts=item.attempts,
        failures=item.failures,
        reason=item.reason,
        run_at=item.run_at,
        created_at=item.created_at,
        lease_owner=item.lease_owner,
    )


def _cursor(item: WorkItem) -> str:
    place = place_of_item(item)
    return encode(place.rank, place.listed_at.isoformat(), place.kind, place.id)


def _place(cursor: str) -> WorkPlace | None:
    found = decode(cursor, int, str, str, str)
    if found is None:
        return None
    rank, listed_at, kind, key = found
    try:
        when = datetime.fromisoformat(listed_at)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None or rank not in (0, 1):
        raise BadRequest(422, "this cursor is not one of ours", [{"loc": ["query", "after"], "msg": "unknown cursor"}])
    return WorkPlace(rank, when, kind, key)
