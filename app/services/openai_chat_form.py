"""A chat completion as callers of the OpenAI interface ask for it."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from app.domain.turn_request import TurnRequest
from app.services.openai_form import OpenAIForm, Tokens, choice_of, offers_in
from app.services.openai_lines import Told, told_in
from app.services.openai_refusal import Refused

_PASSED_ON = (
    "top_p", "stop", "seed", "response_format", "frequency_penalty", "presence_penalty", "logit_bias",
    "reasoning_effort", "parallel_tool_calls",
)  # fmt: skip


class ChatForm(OpenAIForm):
    """A chat completion: the whole conversation, and how to answer it."""

    model_config = ConfigDict(title="ChatCompletionRequest")

    messages: Annotated[list[Any], Field(min_length=1, max_length=10_000)]
    stream_options: dict[str, Any] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n: int | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    functions: Any = None
    stop: str | list[str] | None = None
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream tells at its end what was spent."""
        return (self.stream_options or {}).get("include_usage") is True


def chat_told(form: ChatForm) -> Told:
    """The conversation; `Refused` for what no answer of ours can hold."""
    if form.n not in (None, 1):
        raise Refused("`n` must be 1: every request gets one answer here.", "n")
    if form.logprobs:
        raise Refused("`logprobs` are not possible here.", "logprobs")
    if form.modalities not in (None, ["text"]):
        raise Refused("`modalities` must be text: answers are words here.", "modalities")
    if form.functions is not None:
        raise Refused("`functions` are no more; use `tools`.", "functions")
    return told_in(form.messages, "messages")


def chat_request(form: ChatForm, told: Told) -> TurnRequest:
    """What the turn has to know beside its message."""
    offers = offers_in(form.tools, nested=True)
    given = form.model_dump(include=set(_PASSED_ON), exclude_none=True)
    return TurnRequest(
        lines=told.lines,
        tools=offers,
        tool_choice=choice_of(form.tool_choice, offers, nested=True),
        output_tokens=form.max_completion_tokens or form.max_tokens,
        temperature=form.temperature,
        options=given,
        instructions=told.instructions,
        echo={"model": form.model} if form.model else {},
    )
