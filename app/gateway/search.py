"""Looking for words in one's conversations."""

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from app.domain.browse import search_words
from app.domain.utterances import SearchHit, UtteranceFilter, UtterancePlace, snippet
from app.gateway.api import Answer, Area, Query
from app.gateway.paging import another_list, cut, decode
from app.gateway.room import room
from app.services.memory_filter_form import Words

search = Area("search")


class SearchQuery(Query):
    """What to look for. `q`: words that must all occur, whole and without case; a word with other signs in it (50%,
    snake_case, ann@example.org) must also stand there as it is written.
    """

    q: Words
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: str = ""
    tenant: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class FoundUtterance(Answer):
    """A message or an answer that has the words; `seq` is its place in its session, `snippet` what stands around the
    first of them. An answer that was stopped has the type `assistant.cancelled`.
    """

    session_id: str
    tenant: str
    subject: str
    title: str | None
    seq: int
    type: str
    role: str
    snippet: str
    created_at: AwareDatetime


class FoundUtterances(Answer):
    """A page of what was said, newest first."""

    items: list[FoundUtterance]
    next_cursor: str | None


@search.route(
    "GET",
    "/v1/sessions/search",
    "Messages and answers in which words occur, newest first",
    query=SearchQuery,
    answer=FoundUtterances,
    errors=(422, 503),
)
def search_sessions(query: SearchQuery) -> FoundUtterances:
    """One page."""
    return found_utterances(UtteranceFilter(search_words(query.q), query.tenant), query.after, query.limit)


def found_utterances(wanted: UtteranceFilter, after: str, limit: int) -> FoundUtterances:
    """The page behind the cursor `after`; 422 where that belongs to another search."""
    found = room().serving.utterances.search(wanted, _place(after, wanted), limit + 1)
    page, cursor = cut(found, limit, lambda each: _position(each.place, wanted))
    return FoundUtterances(items=[_item(each, wanted) for each in page], next_cursor=cursor)


def _item(found: SearchHit, wanted: UtteranceFilter) -> FoundUtterance:
    return FoundUtterance(
        session_id=found.place.session_id,
        tenant=found.tenant,
        subject=found.subject,
        title=found.title,
        seq=found.place.seq,
        type=found.type,
        role=found.role,
        snippet=snippet(found.text, wanted.words),
        created_at=found.place.created_at,
    )


def _position(place: UtterancePlace, wanted: UtteranceFilter) -> tuple[object, ...]:
    return place.created_at.isoformat(), place.session_id, place.seq, wanted.seal(place)


def _place(cursor: str, wanted: UtteranceFilter) -> UtterancePlace | None:
    found = decode(cursor, str, str, int, str)
    if found is None:
        return None
    try:
        place = UtterancePlace(datetime.fromisoformat(found[0]), *found[1:3])
    except ValueError:
        raise another_list() from None
    if wanted.seal(place) != found[3]:
        raise another_list()
    return place
