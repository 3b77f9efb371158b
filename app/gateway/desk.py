"""The desk, for administrators: every row that is owed or dead, with its reason, and what can be done about it."""

from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from app.domain.desk import WorkFilter, WorkItem, WorkName, WorkPlace, WorkState, place_of_item
from app.gateway.api import Answer, Area, Query
from app.gateway.paging import decode, decode_moment, encode
from app.gateway.problems import BadRequest
from app.gateway.room import actor, room
from app.services.tend_work import discard_work, retry_work

desk = Area("desk")
_Seconds = Annotated[float, AfterValidator(lambda seconds: round(seconds, 3))]


class WorkQuery(Query):
    """Which rows."""

    kind: WorkName | None = None
    state: WorkState | None = None
    after: str = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50

    def filter(self) -> WorkFilter:
        """As the desk takes it."""
        return WorkFilter(self.kind, self.state)


class Counts(Answer):
    """How the rows of one kind stand; the age is that of the oldest which is not dead."""

    kind: str
    owed: int
    waiting: int
    leased: int
    dead: int
    oldest_age_seconds: _Seconds


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
    """A page of rows: the dead first, then the owed, each oldest first. With the first page, counts of every kind."""

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
    """One page. Counting reads all that is owed, however long the list, so it is done once for all pages."""
    found = room().serving.tending.desk
    items = found.items(query.filter(), _place(query.after), query.limit + 1)
    page = items[: query.limit]
    counts = [] if query.after else found.counts()
    return WorkItems(
        counts=[Counts.model_validate(count) for count in counts],
        items=[Work.model_validate(item) for item in page],
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
    return Work.model_validate(retry_work(kind, work_id, room().serving.tending, actor()))


@desk.route(
    "POST",
    "/v1/admin/work/<kind>/<work_id>/discard",
    "Put a dead row away for good",
    answer=Work,
    errors=(404, 409, 503),
)
def discard(kind: str, work_id: str) -> Work:
    """The row as it stands then."""
    return Work.model_validate(discard_work(kind, work_id, room().serving.tending, actor()))


def _cursor(item: WorkItem) -> str:
    place = place_of_item(item)
    return encode(place.rank, place.listed_at.isoformat(), place.kind, place.id)


def _place(cursor: str) -> WorkPlace | None:
    found = decode(cursor, int, str, str, str)
    if found is None:
        return None
    rank, listed_at, kind, key = found
    if rank not in (0, 1):
        raise BadRequest(422, "this cursor is not one of ours", [{"loc": ["query", "after"], "msg": "unknown cursor"}])
    return WorkPlace(rank, decode_moment(listed_at), kind, key)
