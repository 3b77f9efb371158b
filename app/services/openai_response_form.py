"""A response as callers of the OpenAI interface ask for it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from app.domain.dialogue import ToolAsk, Utterance
from app.domain.events import EventType
from app.domain.kept_turns import KeptTurn, TurnBook
from app.domain.transcript import Transcripts
from app.domain.turn_request import TurnRequest
from app.services.openai_chat import calls_of
from app.services.openai_form import LONGEST_MESSAGE, OpenAIForm, Tokens, choice_of, offers_in
from app.services.openai_lines import Told, messages_of, told_in
from app.services.openai_refusal import Refused

_ECHOED = ("model", "instructions", "previous_response_id", "background", "metadata", "user", "tools", "tool_choice")
_LONGEST_CHAIN = 200


class ResponseForm(OpenAIForm):
    """A response: the new input, what it goes on from, and how to answer it."""

    model_config = ConfigDict(title="ResponseRequest")

    input: str | list[Any]
    instructions: Annotated[str, Field(max_length=LONGEST_MESSAGE)] | None = None
    previous_response_id: Annotated[str, Field(max_length=255)] | None = None
    conversation: str | dict[str, Any] | None = None
    background: bool | None = None
    max_output_tokens: Tokens | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None

    def session_named(self) -> str | None:
        """The session that is to go on; here `conversation` may name it, too."""
        given = self.conversation
        named = given.get("id") if isinstance(given, dict) else given
        if named is None:
            return super().session_named()
        return self.model_copy(update={"metadata": {"session_id": named}, "conversation": None}).session_named()


def previous_turn(form: ResponseForm, book: TurnBook) -> KeptTurn | None:
    """The turn that this response goes on from; `Refused` where there is none, or it has no answer."""
    if form.previous_response_id is None:
        return None
    if form.session_named() is not None:
        raise Refused("Give `previous_response_id` or a conversation, not both.", "previous_response_id")
    found = book.find(turn_id(form.previous_response_id))
    if found is None:
        message = f"There is no response {form.previous_response_id!r} to go on from."
        raise Refused(message, "previous_response_id", "previous_response_not_found")
    if found.end is None:
        message = "That response is still being given; wait until it is completed."
        raise Refused(message, "previous_response_id", "response_not_finished")
    return found


def turn_id(response_id: str) -> str:
    """The id of the message that this response, or chat completion, answers."""
    for prefix in ("resp_", "chatcmpl-"):
        if response_id.startswith(prefix):
            return response_id.removeprefix(prefix)
    return response_id


def response_told(form: ResponseForm, previous: KeptTurn | None, transcripts: Transcripts) -> Told:
    """The conversation that the model is to answer."""
    before = _lines_until(previous, transcripts) if previous is not None else ()
    told = told_in(messages_of(form.input), "input", before)
    instructions = "\n\n".join(filter(None, (form.instructions, told.instructions)))
    return Told(instructions, told.lines)


def _lines_until(turn: KeptTurn, transcripts: Transcripts) -> Sequence[Utterance]:
    """What was said up to this turn's answer, which is the last line."""
    if not turn.request.lines:
        return [line.utterance for line in transcripts.newest(turn.session_id, turn.seq, _LONGEST_CHAIN)]
    answer = _answer_line(turn.end or {})
    return [*turn.request.lines, *answer][-_LONGEST_CHAIN:]


def _answer_line(end: Mapping[str, Any]) -> tuple[Utterance, ...]:
    if end.get("type") != EventType.FINAL:
        return ()
    asks = tuple(ToolAsk(call["id"], call["name"], call["arguments"]) for call in calls_of(end))
    return (Utterance("assistant", end["message"], asks),)


def goes_on(form: ResponseForm, told: Told) -> bool:
    """Whether the session's own history is the conversation: it was named, and all that is new is one short message."""
    alone = len(told.lines) == 1 and told.lines[0].role == "user"
    return form.session_named() is not None and alone and len(told.question) <= LONGEST_MESSAGE


def response_request(form: ResponseForm, told: Told) -> TurnRequest:
    """What the turn has to know beside its message."""
    offers = offers_in(form.tools, nested=False)
    return TurnRequest(
        lines=() if goes_on(form, told) else told.lines,
        tools=offers,
        tool_choice=choice_of(form.tool_choice, offers, nested=False),
        output_tokens=form.max_output_tokens,
        temperature=form.temperature,
        options=_options(form),
        instructions=told.instructions,
        echo=form.model_dump(include=set(_ECHOED), exclude_none=True),
    )


def _options(form: ResponseForm) -> dict[str, Any]:
    """Further wishes, as a chat completion names them."""
    found = {
        "top_p": form.top_p,
        "parallel_tool_calls": form.parallel_tool_calls,
        "reasoning_effort": (form.reasoning or {}).get("effort"),
        "response_format": _format((form.text or {}).get("format")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _format(wanted: Any) -> dict[str, Any] | None:
    if not isinstance(wanted, dict) or wanted.get("type") in (None, "text"):
        return None
    if wanted["type"] != "json_schema":
        return wanted
    return {"type": "json_schema", "json_schema": {name: value for name, value in wanted.items() if name != "type"}}
