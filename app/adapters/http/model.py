"""The model: any OpenAI-compatible endpoint, through the official client, with every wait bounded by ourselves.

The client's own retries are off: a turn is retried by its row, in one place.
"""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError, OpenAI, Stream

from app.domain.conversation import Answer, Usage, Utterance
from app.domain.errors import ModelRefused, ModelUnavailable
from app.domain.ports import Piece
from app.settings import Settings

_REFUSED = {400, 401, 403, 404, 405, 413, 422}


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

    def stream(self, lines: Sequence[Utterance], traceparent: str | None) -> Iterator[Piece]:
        """Pieces as they come; the last one carries the whole answer."""
        deadline = time.monotonic() + self._settings.llm_timeout_seconds
        try:
            with self._open(lines, traceparent) as chunks, _cut_off_at(deadline, chunks):
                yield from self._read(chunks, deadline)
        except APIStatusError as error:
            raise _status(error) from error
        except APITimeoutError as error:
            raise ModelUnavailable("The model did not answer in time.") from error
        except APIConnectionError as error:
            raise ModelUnavailable("The model's endpoint could not be reached.") from error
        except (APIError, httpx2.HTTPError, ValueError) as error:
            raise ModelUnavailable("The model's endpoint sent something that is not an answer.") from error

    def _open(self, lines: Sequence[Utterance], traceparent: str | None) -> Stream[Any]:
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

    def _read(self, chunks: Stream[Any], deadline: float) -> Iterator[Piece]:
        heard = _Heard()
        for chunk in chunks:
            if time.monotonic() > deadline:
                raise ModelUnavailable("The model took too long and was cut off.")
            text = _absorb(chunk, heard)
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
                http_client=httpx2.Client(trust_env=False, follow_redirects=False),
            )
        return self._client

    def _model_name(self, client: OpenAI) -> str:
        if not self._name:
            models = client.models.list().data
            if not models:
                raise ModelRefused("The model's endpoint lists no model; set LLM_MODEL.")
            self._name = models[0].id
        return self._name


@contextmanager
def _cut_off_at(deadline: float, chunks: Stream[Any]) -> Iterator[None]:
    """End the connection at the deadline: a server that only drips would never trip a timeout of single reads."""
    connection = chunks.response.extensions["network_stream"].get_extra_info("socket")
    timer = threading.Timer(max(deadline - time.monotonic(), 0), _shut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _absorb(chunk: Any, heard: _Heard) -> str:
    usage = getattr(chunk, "usage", None)
    if usage is not None:
        heard.usage = Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0)
    if not getattr(chunk, "choices", None):
        return ""
    choice = chunk.choices[0]
    heard.finished = heard.finished or choice.finish_reason is not None
    text = (choice.delta.content if choice.delta else None) or ""
    heard.text += text
    return text


def _status(error: APIStatusError) -> Exception:
    if error.status_code in (401, 403):
        return ModelRefused("The model's endpoint refused the key; check LLM_API_KEY.")
    if error.status_code in _REFUSED:
        return ModelRefused(f"The model's endpoint refused the request ({error.status_code}); check LLM_MODEL.")
    after = error.response.headers.get("Retry-After", "")
    seconds = float(after) if after.isdigit() else None
    return ModelUnavailable(f"The model's endpoint answered {error.status_code}.", seconds)
