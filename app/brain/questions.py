"""Vectors of questions, in bounded time: asked aside while the words are searched, and kept for a while."""

import threading
from collections import OrderedDict
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate

from app.brain.embeddings import NoVector, QuestionModel, Vector

_AT_ONCE = 2
_KEPT = 256
PATIENCE_SECONDS = 0.6
"""A question takes 20 ms, and a machine may be busy."""


class Questions:
    """Asks the model in threads of its own; more questions than it can answer in time are not answered."""

    def __init__(self, model: QuestionModel, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._model = model
        self._patience = patience_seconds
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="question")
        self._known: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, text: str) -> "Future[Vector]":
        """Begin with this question; a known one is answered already."""
        with self._lock:
            known = self._known.get(text)
            if known is not None:
                self._known.move_to_end(text)
                done: Future[Vector] = Future()
                done.set_result(known)
                return done
        return self._pool.submit(self._work_out, text)

    def answer(self, asked: "Future[Vector]") -> Vector:
        """The vector; raises `NoVector` where it does not come in time.

        Whoever waits for an answer has less time than a model takes to load: the first question only begins with that.
        """
        try:
            return asked.result(self._patience if self._model.ready else 0)
        except (TooLate, CancelledError):
            asked.cancel()
            raise NoVector("the question's meaning was not worked out in time") from None

    def _work_out(self, text: str) -> Vector:
        vector = self._model.question(text)
        with self._lock:
            self._known[text] = vector
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return vector
