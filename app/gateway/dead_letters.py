"""The dead letters, for administrators: what failed and why, again after a correction, or away for good."""

from urllib.parse import urlencode

from flask import Response, jsonify, request

from app.domain.dead_letters import Choice, StillPoison, TopicDepth
from app.domain.errors import NotFound
from app.gateway.api import Area
from app.gateway.letter_forms import (
    Discarded,
    DiscardQuery,
    LetterQuery,
    LetterReprocess,
    Letters,
    Reprocess,
    Reprocessed,
    Topic,
    Topics,
    refusal,
    shown_letter,
    shown_outcome,
)
from app.gateway.room import actor, room
from app.services.replay_dead_letters import (
    BATCH,
    LetterDesk,
    check_topic,
    discard_letters,
    replay_letter,
    replay_letters,
)

dead_letters = Area("dead letters")
_GROUPS = 100


@dead_letters.route("GET", "/v1/admin/dlq", "Dead letters by topic and reason", answer=Topics, errors=(503,))
def list_topics() -> Topics:
    """Counted, not read."""
    desk = _desk()
    found = {topic.topic: topic for topic in desk.letters.topics(_GROUPS)}
    found.setdefault(desk.own_topic, TopicDepth(desk.own_topic, 0, 0, ()))
    return Topics(topics=[Topic.model_validate(found[name]) for name in sorted(found)])


@dead_letters.route(
    "GET",
    "/v1/admin/dlq/<topic>",
    "One topic's dead letters, newest first",
    query=LetterQuery,
    answer=Letters,
    errors=(404, 422, 503),
)
def list_letters(topic: str, query: LetterQuery) -> Response:
    """One page."""
    desk = _desk()
    check_topic(topic, desk)
    found = desk.letters.page(topic, query.fingerprint, query.state, query.after, query.limit + 1)
    items = [shown_letter(letter).model_dump(mode="json") for letter in found[: query.limit]]
    answer = jsonify(items)
    if len(found) > query.limit:
        again = {**request.args.to_dict(), "after": str(items[-1]["id"])}
        answer.headers["Link"] = f'<?{urlencode(again)}>; rel="next"'
    return answer


@dead_letters.route(
    "POST",
    "/v1/admin/dlq/<topic>/<letter_id>/reprocess",
    "Replay one dead letter, corrected by a merge patch if it needs one",
    body=LetterReprocess,
    body_optional=True,
    answer=Reprocessed,
    errors=(400, 404, 409, 413, 415, 422, 503),
)
def reprocess_letter(topic: str, letter_id: str, body: LetterReprocess) -> Reprocessed:
    """All or nothing."""
    if not (letter_id.isascii() and letter_id.isdecimal() and int(letter_id) < 2**63):
        raise NotFound("there is no such letter")
    try:
        outcome = replay_letter(topic, int(letter_id), body.wish(), _desk(), actor())
    except StillPoison as error:
        raise refusal(error, body) from None
    return shown_outcome(topic, outcome, body)


@dead_letters.route(
    "POST",
    "/v1/admin/dlq/<topic>/reprocess",
    f"Replay up to {BATCH} of the chosen dead letters, all of them or none",
    body=Reprocess,
    answer=Reprocessed,
    errors=(400, 404, 413, 415, 422, 503),
)
def reprocess(topic: str, body: Reprocess) -> Reprocessed:
    """Call again while `remaining` is not 0."""
    ids = None if body.ids is None else tuple(dict.fromkeys(body.ids))
    choice = Choice(topic, body.fingerprint, ids, body.after)
    try:
        outcome = replay_letters(choice, body.wish(), _desk(), actor())
    except StillPoison as error:
        raise refusal(error, body) from None
    return shown_outcome(topic, outcome, body)


@dead_letters.route(
    "DELETE",
    "/v1/admin/dlq/<topic>",
    "Discard open dead letters; they are kept for 30 days and never replayed",
    query=DiscardQuery,
    answer=Discarded,
    errors=(404, 422, 503),
)
def discard(topic: str, query: DiscardQuery) -> Discarded:
    """Those that were there when this began."""
    discarded, remaining = discard_letters(Choice(topic, query.fingerprint), _desk(), actor())
    return Discarded(topic=topic, discarded=discarded, remaining=remaining)


def _desk() -> LetterDesk:
    return room().serving.letter_desk
