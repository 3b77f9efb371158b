"""A worker inside the test that answers whatever comes, as a model would that understands what it is told."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Engine, text

from app.domain.conversation_control import Stop
from app.domain.dialogue import Answer, ModelCall, Piece, ToolAsk, Usage
from app.domain.profiles import Profile
from tests.integration.gateway_process import Answerer

_QUEUED = text("""
    SELECT event_id FROM turns
    WHERE state = 'queued' AND created_at >= :since AND run_at <= now() AND metadata ->> 'hold' IS NULL
""")


class TalkingModel:
    """`Model` that repeats the conversation line by line, calls a tool that it is offered, and tells its result."""

    def stream(self, _profile: Profile, call: ModelCall, _stop: Stop) -> Iterator[Piece]:
        last = call.lines[-1]
        if call.tools and last.role == "user" and call.tool_choice != "none":
            ask = ToolAsk("call_1", call.tools[0].name, '{"city": "Oslo"}')
            yield Piece("", Answer("", "talking", Usage(5, 2), (ask,), "tool_calls"))
            return
        said = " | ".join(line.content for line in call.lines if line.content)
        whole = f"It is {last.content}." if last.role == "tool" else f"You said: {said}"
        for word in re.findall(r"\S+\s*|\s+", whole):
            yield Piece(word)
        yield Piece("", Answer(whole, "talking", Usage(7, len(whole))))


@dataclass
class Worker:
    """Answers every turn that is queued and not held, until it is told to stop."""

    answerer: Answerer
    engine: Engine
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        with self.engine.connect() as connection:
            self._since = connection.execute(text("SELECT now()")).scalar_one()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> "Worker":
        self._thread.start()
        return self

    def stop(self) -> None:
        self.stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.stopped.wait(0.05):
            with self.engine.connect() as connection:
                queued = list(connection.execute(_QUEUED, {"since": self._since}).scalars())
            for event_id in queued:
                self.answerer.answer_with(event_id, TalkingModel())
