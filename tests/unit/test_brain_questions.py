"""Vectors of questions: in time or not at all."""

import threading

import pytest

from app.brain.embeddings import NoVector, Vector
from app.brain.questions import Questions

FOREVER = 100.0


class SlowlyLoaded:
    """`QuestionModel` that is loaded when the test says so."""

    def __init__(self) -> None:
        self.trouble = ""
        self.asked: list[str] = []
        self.may_load = threading.Event()
        self._loaded = threading.Event()

    @property
    def ready(self) -> bool:
        return self._loaded.is_set()

    def question(self, text: str) -> Vector:
        self.asked.append(text)
        self.may_load.wait(FOREVER)
        self._loaded.set()
        return [float(len(text))]


def test_a_question_does_not_wait_until_the_model_is_loaded_but_has_it_loaded() -> None:
    model = SlowlyLoaded()
    questions = Questions(model, patience_seconds=FOREVER)
    first = questions.ask("otter")

    with pytest.raises(NoVector, match="not worked out in time"):
        questions.answer(first)
    model.may_load.set()
    assert first.result(FOREVER) == [5.0]

    assert questions.answer(questions.ask("badger")) == [6.0]
    assert questions.answer(questions.ask("otter")) == [5.0]
    assert model.asked == ["otter", "badger"]
