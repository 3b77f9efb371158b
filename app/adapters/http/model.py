"""The model: any OpenAI-compatible endpoint, through the official client, with every wait bounded by ourselves.

The client's own retries are off: a turn is retried by its row, in one place.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError, OpenAI, Stream

from app.adapters.http.deadline import Deadline
from app.domain.conversation import Answer, Usage, Utterance
from app.domain.errors import ModelRefused, ModelUnavailable
from app.domain.json_text import replace_unstorable
from app.domain.ports import Piece
from app.settings import Settings

LONGEST_ANSWER = 200_000
_LONGEST_PAUSE_SECONDS = 300.0
_REFUSED = {400, 401, 403, 404, 405, 413, 422}
# What reading an answer of the wrong shape raises: the client does not check what it was sent.
_BROKEN = (ModelUnavailable, APIError, httpx2.HTTPError, ValueError, TypeError, AttributeError, LookupError)


@dataclass
class _Heard:
    """What has come of an answer so far."""

    text: str = ""
    usage: Usage = field(default_factory=Usage)
    finished: bool = False


class OpenAIModel:
    """`Model` on one endpoint; the connection closes when the caller stops reading."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: OpenAI | None = None
        self._name = settings.llm_model
        self._calls = threading.local()

    def stream(self, lines: Sequence[Utterance], traceparent: str | None) -> Iterator[Piece]:
        """Pieces as they come; the last one carries the whole answer."""
        with Deadline(self._settings.llm_timeout_seconds) as deadline:
            try:
                with self._open(lines, traceparent, deadline) as chunks:
                    yield from self._read(chunks)
            except _BROKEN as error:
                if deadline.is_over:
                    raise ModelUnavailable("The model took too long and was cut off.") from error
                raise _translated(error) from error

    def _open(self, lines: Sequence[Utterance], traceparent: str | None, deadline: Deadline) -> Stream[Any]:
        self._calls.deadline = deadline
        client = self._connected()
        messages: Any = [{"role": line.role, "content": line.content} for line in lines]
        stream: Stream[Any] = client.chat.completions.create(
            model=self._model_name(client),
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
            temperature=self._settings.llm_temperature,
            max_tokens=self._settings.llm_max_output_tokens,
            extra_headers={"traceparent": traceparent} if traceparent else None,
        )
        return stream

    def _read(self, chunks: Stream[Any]) -> Iterator[Piece]:
        heard = _Heard()
        for chunk in chunks:
            text = _absorb(chunk, heard)
            if len(heard.text) > LONGEST_ANSWER:
                raise ModelUnavailable("The model's answer is too long to be kept.")
            if text:
                yield Piece(text)
        if not heard.finished:
            raise ModelUnavailable("The model broke off in the middle of its answer.")
        if not heard.text:
            raise ModelUnavailable("The model answered with nothing.")
        yield Piece("", Answer(heard.text, self._name, heard.usage))

    def _connected(self) -> OpenAI:
        if self._client is None:
            settings = self._settings
            settings.require("llm_base_url")
            self._client = OpenAI(
                base_url=settings.llm_base_url,
                api_key=settings.llm_api_key.get_secret_value() or "none",
                max_retries=0,
                timeout=httpx2.Timeout(settings.llm_idle_seconds, connect=3.0),
                http_client=httpx2.Client(
                    trust_env=False,
                    follow_redirects=False,
                    # Every call has a connection of its own: only one that is seen opening can be cut off in time.
                    limits=httpx2.Limits(max_keepalive_connections=0),
                    event_hooks={"request": [self._watch]},
                ),
            )
        return self._client

    def _watch(self, request: httpx2.Request) -> None:
        request.extensions["trace"] = self._calls.deadline.watch

    def _model_name(self, client: OpenAI) -> str:
        if not self._name:
            models = client.models.list().data
            if not models:
                raise ModelRefused("The model's endpoint lists no model; set LLM_MODEL.")
            self._name = str(models[0].id)
        return self._name


def _absorb(chunk: Any, heard: _Heard) -> str:
    """The new text in a chunk; one that is no chunk raises one of `_BROKEN`."""
    usage = getattr(chunk, "usage", None)
    if usage is not None:
        heard.usage = Usage(int(usage.prompt_tokens or 0), int(usage.completion_tokens or 0))
    if not getattr(chunk, "choices", None):
        return ""
    choice = chunk.choices[0]
    heard.finished = heard.finished or choice.finish_reason is not None
    text = replace_unstorable((choice.delta.content if choice.delta else None) or "")
    heard.text += text
    return text


def _translated(error: Exception) -> Exception:
    match error:
        case ModelUnavailable():
            return error
        case APIStatusError():
            return _status(error)
        case APITimeoutError():
            return ModelUnavailable("The model did not answer in time.")
        case APIConnectionError():
            return ModelUnavailable("The model's endpoint could not be reached.")
        case httpx2.TimeoutException():
            return ModelUnavailable("The model fell silent in the middle of its answer.")
    return ModelUnavailable("The model's endpoint sent something that is not an answer.")


def _status(error: APIStatusError) -> Exception:
    if error.status_code in (401, 403):
        return ModelRefused("The model's endpoint refused the key; check LLM_API_KEY.")
    if error.status_code in _REFUSED:
        return ModelRefused(f"The model's endpoint refused the request ({error.status_code}); check LLM_MODEL.")
    after = error.response.headers.get("Retry-After", "")
    seconds = min(float(after), _LONGEST_PAUSE_SECONDS) if re.fullmatch("[0-9]+", after) else None
    return ModelUnavailable(f"The model's endpoint answered {error.status_code}.", seconds)
