"""How dead letters look from outside: what a request may say about them, and what is answered."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel

from app.domain.dead_letters import DeadLetter, StillPoison, Unfit
from app.domain.json_text import BadJson, parse_json
from app.gateway.api import Answer, Query
from app.gateway.problems import BadRequest
from app.services.replay_dead_letters import BATCH, Outcome, Wish

_SHOWN_ERRORS = 20
_Id = Annotated[int, Field(ge=1, lt=2**63)]
_Fingerprint = Annotated[str, Field(min_length=1, max_length=64)] | None


class Group(Answer):
    """Open letters that failed for the same reason."""

    fingerprint: str
    kind: str
    error: str
    count: int
    oldest: AwareDatetime
    newest: AwareDatetime


class Topic(Answer):
    """One topic's open letters; `groups` are the largest of `group_count`."""

    topic: str
    depth: int
    group_count: int
    groups: list[Group]


class Topics(Answer):
    """Every topic with open letters, and the log's own."""

    topics: list[Topic]


class LetterQuery(Query):
    """Which letters; `after` is the id of the last one seen."""

    fingerprint: _Fingerprint = None
    state: Literal["open", "replayed", "discarded"] | None = None
    after: _Id | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Letter(Answer):
    """One letter; `event` is the record, as text where it is not JSON that can be kept, or longer than 64 KiB."""

    id: int
    topic: str
    event: Any
    size: int
    error: str
    error_kind: str
    fingerprint: str
    state: str
    created_at: AwareDatetime


class Letters(RootModel[list[Letter]]):
    """A page of letters, newest first; the header `Link` leads to the next one."""


class LetterReprocess(BaseModel):
    """How to replay one letter; `patch` is a JSON merge patch of the record (RFC 7386)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    patch: dict[str, Any] | None = None
    dry_run: bool = False
    per_second: Annotated[float, Field(gt=0, le=100_000)] | None = None

    def wish(self) -> Wish:
        """As the service takes it."""
        return Wish(self.patch, self.dry_run, self.per_second)


class Reprocess(LetterReprocess):
    """Which open letters to replay, and how; without `fingerprint` and `ids` it is every one."""

    fingerprint: _Fingerprint = None
    ids: Annotated[list[_Id], Field(min_length=1, max_length=BATCH)] | None = None
    after: Annotated[int, Field(ge=0, lt=2**63)] = 0


class Replayed(Answer):
    """A letter that went back to its topic, or would."""

    id: int
    event_id: str


class Hindered(Answer):
    """A letter that would be poison again."""

    id: int
    loc: list[str]
    msg: str


class Reprocessed(Answer):
    """What one request did, or would do. `remaining` open letters are left: ask again, with `after` in a dry run."""

    topic: str
    dry_run: bool
    count: int
    items: list[Replayed]
    failed: list[Hindered]
    skipped: list[int]
    remaining: int
    next_after: int | None


class DiscardQuery(Query):
    """Which open letters; without a fingerprint every one of the topic."""

    fingerprint: _Fingerprint = None


class Discarded(Answer):
    """How many letters were discarded, and how many of those chosen are left to ask for."""

    topic: str
    discarded: int
    remaining: int


def shown_letter(letter: DeadLetter) -> Letter:
    """One letter; its record as JSON where that is possible."""
    return Letter.model_validate(asdict(letter) | {"event": _event(letter)})


def _event(letter: DeadLetter) -> Any:
    try:
        return parse_json(letter.raw)
    except BadJson:
        return letter.raw.decode("utf-8", "replace")


def shown_outcome(topic: str, outcome: Outcome, body: LetterReprocess) -> Reprocessed:
    """What became of a request."""
    return Reprocessed(
        topic=topic,
        dry_run=body.dry_run,
        count=len(outcome.replayed),
        items=[Replayed(id=replay.letter_id, event_id=replay.row.event_id) for replay in outcome.replayed],
        failed=[Hindered(id=item.letter_id, loc=_loc(item, body), msg=item.reason) for item in outcome.unfit],
        skipped=list(outcome.skipped),
        remaining=outcome.remaining,
        next_after=outcome.last_id if outcome.remaining else None,
    )


def refusal(error: StillPoison, body: LetterReprocess) -> BadRequest:
    """422 that leads to the fields at fault."""
    errors = [
        {"loc": _loc(item, body), "msg": f"letter {item.letter_id}: {item.reason}"}
        for item in error.unfit[:_SHOWN_ERRORS]
    ]
    return BadRequest(422, str(error), errors)


def _loc(item: Unfit, body: LetterReprocess) -> list[str]:
    """Where to look: in the patch, or in the letter itself where there is none."""
    place = ["letter", str(item.letter_id)] if body.patch is None else ["body", "patch"]
    return [*place, *item.where]
