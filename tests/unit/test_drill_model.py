"""The bad manners of the drills' model are what they say, and the judges of F41 to F45 find what they look for."""

from collections.abc import Iterator

import pytest
import requests

from app.adapters.http.model import Limits, OpenAIModel
from app.adapters.stop_watch import Wish
from app.domain.dialogue import Answer
from app.domain.errors import ModelUnavailable
from app.domain.profiles import Profile
from drills import model_manners
from drills.model_faults import BAD_ANSWERS, FOLLOWED, HOPELESS, Chooser, unexplained
from drills.model_peer import MODEL, Manner, ModelPeer, answer_to
from drills.response_faults import wrongly_told
from tests.unit.model_rig import ORDINARY

FAILING = [manner for manner in (*model_manners.SLOW, *model_manners.CUT, *model_manners.GARBAGE)
           if manner is not model_manners.unknown_tool]  # fmt: skip


@pytest.fixture
def peer() -> Iterator[ModelPeer]:
    with ModelPeer() as peer:
        yield peer


PATIENT, IMPATIENT = Limits(30, 30, 30), Limits(total_seconds=1.0, first_seconds=0.3, idle_seconds=0.3)


def heard(peer: ModelPeer, limits: Limits = PATIENT) -> Answer:
    """What the product makes of the answer."""
    model = OpenAIModel(limits)
    pieces = list(model.stream(Profile("drill", peer.url, model=MODEL), ORDINARY, Wish()))
    assert pieces[-1].answer is not None
    return pieces[-1].answer


@pytest.mark.parametrize("manner", FAILING, ids=lambda manner: manner.__name__)
def test_a_bad_manner_is_a_failure_of_the_model(peer: ModelPeer, manner: Manner) -> None:
    with peer.in_manner(lambda _text: manner), pytest.raises(ModelUnavailable):
        heard(peer, IMPATIENT if manner in model_manners.SLOW else PATIENT)

    assert heard(peer).text == answer_to("hello")


def test_an_unknown_tool_is_asked_for(peer: ModelPeer) -> None:
    with peer.in_manner(lambda _text: model_manners.unknown_tool):
        asks = heard(peer).asks

    assert [ask.tool for ask in asks] == ["launch_the_rocket"]


def test_a_model_that_is_away_refuses_connections_and_comes_back(peer: ModelPeer) -> None:
    with peer.away(), pytest.raises(requests.ConnectionError):
        requests.get(f"{peer.url}/models", timeout=2)

    assert requests.get(f"{peer.url}/models", timeout=2).ok


def test_the_load_is_answered_badly_for_a_while_and_the_hopeless_for_ever() -> None:
    chooser = Chooser(model_manners.CUT)
    even, odd, hopeless, followed = ("m000002 a", "m000003 b", f"m{HOPELESS + 1} c", f"m{FOLLOWED} d")

    assert [chooser(even) is None for _ in range(BAD_ANSWERS + 1)] == [False] * BAD_ANSWERS + [True]
    assert [chooser(followed) is None for _ in range(BAD_ANSWERS + 1)] == [False] * BAD_ANSWERS + [True]
    assert chooser(odd) is None
    assert all(chooser(hopeless) is model_manners.CUT[1] for _ in range(9))

    chooser.relent()
    assert chooser("m000004 e") is None
    assert chooser(hopeless) is not None


def test_an_end_without_a_reason_is_found() -> None:
    good = ("m1", "failed", "The model answered with nothing.")

    assert unexplained([good, good], 2) == []
    assert unexplained([good, ("m2", "failed", "")], 2)
    assert unexplained([good, ("m2", "done", "a reason")], 2)
    assert unexplained([good], 2) == ["1 of 2 hopeless messages are there"]


def delta(number: int, text: str, item_id: str = "msg_1") -> dict[str, object]:
    return {"type": "response.output_text.delta", "sequence_number": number, "item_id": item_id, "delta": text}


def completed(number: int, text: str) -> dict[str, object]:
    output = [{"content": [{"type": "output_text", "text": text}]}]
    return {"type": "response.completed", "sequence_number": number, "response": {"output": output}}


def test_pieces_that_join_to_the_answer_are_right() -> None:
    assert wrongly_told([delta(3, "Noted "), delta(9, "this."), completed(20, "Noted this.")], "Noted this.") == []


def test_what_was_taken_back_does_not_count() -> None:
    events = [delta(3, "No"), delta(30, "Noted.", "msg_2"), completed(90, "Noted.")]

    assert wrongly_told(events, "Noted.") == []


@pytest.mark.parametrize(
    "events",
    [
        [delta(3, "Noted "), completed(20, "Noted this.")],
        [delta(3, "Noted "), delta(9, "this."), delta(9, "this."), completed(20, "Noted this.")],
        [delta(3, "Noted "), delta(9, "this.")],
        [delta(3, "Noted "), delta(9, "that."), completed(20, "Noted that.")],
        [],
    ],
    ids=["a gap", "a repeat", "no end", "another answer", "nothing"],
)
def test_a_response_that_was_told_wrongly_is_found(events: list[dict[str, object]]) -> None:
    assert wrongly_told(events, "Noted this.")
