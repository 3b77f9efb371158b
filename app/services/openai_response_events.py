"""The events of a response's stream, from any place on, made of nothing but the turn and the parts of its answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.answer_parts import Anew, Ended, Part, Said, Seen
from app.domain.kept_turns import KeptTurn
from app.domain.response_place import (
    CALLS,
    CREATED,
    ENDED,
    IN_PROGRESS,
    ITEM_ADDED,
    ITEM_DONE,
    MOST_CALLS,
    PART_ADDED,
    PART_DONE,
    QUEUED,
    STEPS_OF_A_CALL,
    TEXT_DONE,
    ResponsePlace,
    place_at,
)
from app.services.openai_chat import calls_of
from app.services.openai_responses import (
    begun,
    call_item,
    ended,
    message_item,
    response_of,
    status_of,
    text_part,
    unbegun,
)

Event = dict[str, Any]
_LAST = {"completed": "response.completed", "failed": "response.failed"}


@dataclass
class ResponseStream:
    """One stream: `after` is the number of the last event that its reader has, negative for none.

    The whole stream is made again and what the reader has is left out. Only what cannot be made again, an item that
    an earlier attempt began, is taken from the number.
    """

    turn: KeptTurn
    after: int = -1
    _text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        place = place_at(self.after)
        self._attempt, self._item = place.attempt, place.item
        self._is_open = place.attempt > 0 and place.step < CALLS
        self._length = 0

    @property
    def seen(self) -> Seen:
        """How far its reader is in the answer."""
        place = place_at(self.after)
        return Seen(place.attempt, place.step if place.attempt else 0)

    def begin(self) -> Iterator[Event]:
        """The head of the stream."""
        yield from self._head(CREATED, "response.created", response_of(unbegun(self.turn)))
        if self.turn.request.echo.get("background"):
            yield from self._head(QUEUED, "response.queued", response_of(unbegun(self.turn)))
        yield from self._head(IN_PROGRESS, "response.in_progress", response_of(begun(self.turn)))

    def take(self, part: Part) -> Iterator[Event]:
        """The events that tell this part."""
        match part:
            case Said():
                yield from self._say(part)
            case Anew():
                yield from self._close("completed" if part.is_step else "incomplete")
            case Ended():
                yield from self._end(part)

    def _say(self, part: Said) -> Iterator[Event]:
        self._attempt = part.attempt
        if not self._text:
            yield from self._open()
        self._text.append(part.text)
        self._length += len(part.text)
        place = self._place(PART_ADDED + self._length)
        fresh = part.text[-(place.number - self.after) :] if place.number > self.after else ""
        if fresh:
            yield self._told(place, "response.output_text.delta", self._in_part() | {"delta": fresh, "logprobs": []})

    def _open(self) -> Iterator[Event]:
        self._is_open = True
        item = message_item(self.turn, self._item, None, "in_progress")
        added = {"output_index": self._item, "item": item}
        yield from self._tell(ITEM_ADDED, "response.output_item.added", added)
        yield from self._tell(PART_ADDED, "response.content_part.added", self._in_part() | {"part": text_part("")})

    def _close(self, status: str) -> Iterator[Event]:
        """End the item that is open, if one is; what comes next is another item."""
        if not self._is_open:
            return
        whole = "".join(self._text)
        if self._text and not self._is_behind():
            yield from self._text_done(whole)
        item = message_item(self.turn, self._item, whole, status)
        yield from self._tell(ITEM_DONE, "response.output_item.done", {"output_index": self._item, "item": item})
        self._item, self._text, self._length, self._is_open = self._item + 1, [], 0, False

    def _is_behind(self) -> bool:
        """Whether the reader has more of this item than we could make again."""
        reader = place_at(self.after)
        is_there = (reader.attempt, reader.item) == (self._attempt, self._item)
        return is_there and PART_ADDED + self._length < reader.step < TEXT_DONE

    def _text_done(self, whole: str) -> Iterator[Event]:
        done = {"text": whole, "logprobs": []}
        yield from self._tell(TEXT_DONE, "response.output_text.done", self._in_part() | done)
        yield from self._tell(PART_DONE, "response.content_part.done", self._in_part() | {"part": text_part(whole)})

    def _end(self, part: Ended) -> Iterator[Event]:
        turn = ended(self.turn, part.event)
        first, self._attempt = self._item, max(self._attempt, part.attempt, 1)
        status = status_of(turn)
        yield from self._close("completed" if status == "completed" else "incomplete")
        next_item, self._item = self._item, first
        for number, call in enumerate(calls_of(part.event)[:MOST_CALLS]):
            yield from self._call(number, next_item + number, call)
        last = {"response": response_of(turn, first)}
        yield from self._tell(ENDED, _LAST.get(status, "response.incomplete"), last)

    def _call(self, number: int, index: int, call: Mapping[str, Any]) -> Iterator[Event]:
        step, place = CALLS + number * STEPS_OF_A_CALL, {"output_index": index, "item_id": f"fc_{call['id']}"}
        added = {"output_index": index, "item": call_item(call, "", "in_progress")}
        yield from self._tell(step, "response.output_item.added", added)
        kind = "response.function_call_arguments"
        yield from self._tell(step + 1, f"{kind}.delta", place | {"delta": call["arguments"]})
        whole = {"arguments": call["arguments"], "name": call["name"]}
        yield from self._tell(step + 2, f"{kind}.done", place | whole)
        done = {"output_index": index, "item": call_item(call)}
        yield from self._tell(step + 3, "response.output_item.done", done)

    def _in_part(self) -> Event:
        item_id = message_item(self.turn, self._item, None, "")["id"]
        return {"item_id": item_id, "output_index": self._item, "content_index": 0}

    def _place(self, step: int) -> ResponsePlace:
        return ResponsePlace(self._attempt, self._item, step)

    def _tell(self, step: int, kind: str, fields: Event) -> Iterator[Event]:
        place = self._place(step)
        if place.number > self.after:
            yield self._told(place, kind, fields)

    def _head(self, step: int, kind: str, response: Event) -> Iterator[Event]:
        place = ResponsePlace(0, 0, step)
        if place.number > self.after:
            yield self._told(place, kind, {"response": response})

    def _told(self, place: ResponsePlace, kind: str, fields: Event) -> Event:
        return {"type": kind, "sequence_number": place.number, **fields}
