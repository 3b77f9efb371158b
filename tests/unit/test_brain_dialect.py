"""What one answer teaches, also when another thread has learnt something in the meantime."""

import pytest

from app.adapters.http.bounded import Answer
from app.adapters.http.brain_dialect import Dialect, Form, Way

OBJECT, TEXT, ADDRESS = (Way(form=form) for form in Form)
OLDER = Way(older=True)


def answer(status: int) -> Answer:
    return Answer(status, {}, b"")


def test_forms_are_tried_in_their_order_and_no_further() -> None:
    dialect = Dialect(allow_older=True)
    tried = [dialect.way_to_recall]
    while (other := dialect.next_way_to_recall(tried[-1], answer(422))) is not None:
        tried.append(other)
    assert tried == [OBJECT, TEXT, ADDRESS]


def test_a_known_way_has_no_alternative() -> None:
    dialect = Dialect(allow_older=True)
    dialect.recalls(TEXT)
    for status in (200, 400, 404, 422, 500):
        assert dialect.next_way_to_recall(TEXT, answer(status)) is None


@pytest.mark.parametrize("learnt", [TEXT, ADDRESS])
def test_who_asked_before_another_learnt_the_form_goes_on_with_what_it_learnt(learnt: Way) -> None:
    dialect = Dialect(allow_older=False)
    dialect.recalls(learnt)
    assert dialect.next_way_to_recall(OBJECT, answer(422)) == learnt


def test_who_asked_before_another_learnt_the_older_route_goes_there_too() -> None:
    dialect = Dialect(allow_older=True)
    dialect.recalls(OLDER)
    assert dialect.next_way_to_recall(OBJECT, answer(404)) == OLDER


def test_a_refusal_of_a_way_that_is_not_the_known_one_unteaches_nothing() -> None:
    dialect = Dialect(allow_older=False)
    dialect.recalls(TEXT)
    dialect.does_not_recall(OBJECT, answer(422))
    assert dialect.way_to_recall == TEXT
    dialect.does_not_recall(TEXT, answer(422))
    assert dialect.way_to_recall == OBJECT


@pytest.mark.parametrize("status", [200, 401, 429, 500, 503])
def test_an_answer_that_is_not_about_the_form_unteaches_nothing(status: int) -> None:
    dialect = Dialect(allow_older=False)
    dialect.recalls(TEXT)
    dialect.does_not_recall(TEXT, answer(status))
    assert dialect.way_to_recall == TEXT
