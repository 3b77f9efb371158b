"""A search finds what was said, whatever signs it holds, and reads as much of an index as it shows."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from app.adapters.sql.engine import create_engine
from app.adapters.sql.patience import UNHURRIED
from app.adapters.sql.utterances import SqlUtterances, find_utterances
from app.domain.browse import search_words
from app.domain.utterances import UtteranceFilter, UtterancePlace
from tests.integration.test_claim_plans import plans
from tests.integration.test_memory_search import SEARCHES, TEXTS
from tests.utterance_rows import crowd, say

ROWS = 100_000
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def utterances(engine: Engine) -> SqlUtterances:
    return SqlUtterances(engine)


def found(utterances: SqlUtterances, query: str, tenant: str | None) -> list[str]:
    return [each.text for each in utterances.search(UtteranceFilter(search_words(query), tenant), None, 100)][::-1]


@pytest.fixture(scope="module")
def said(engine: Engine) -> str:
    return say(engine, *TEXTS)[0]


@pytest.mark.parametrize(("query", "expected"), SEARCHES.values(), ids=SEARCHES.keys())
@pytest.mark.parametrize("newest", [1000, 2], ids=["among the newest", "beyond the newest"])
def test_a_search_finds_its_words(
    utterances: SqlUtterances, said: str, query: str, expected: Sequence[str], newest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("app.adapters.sql.word_search.NEWEST_LOOKED_AT", newest)

    assert found(utterances, query, said) == list(expected)


@pytest.mark.parametrize(
    ("kind", "there"),
    [
        ("user", True), ("assistant.final", True), ("assistant.cancelled", True), ("assistant.error", False),
        ("tool.result", False),
    ],
)  # fmt: skip
def test_only_messages_and_answers_are_searched(
    engine: Engine, utterances: SqlUtterances, kind: str, there: bool
) -> None:
    tenant, _ = say(engine, "an otter", kind=kind)

    assert found(utterances, "otter", tenant) == ["an otter"] * there


def test_a_tenant_sees_its_own_words_and_without_one_all_are_searched(
    engine: Engine, utterances: SqlUtterances
) -> None:
    word = f"otter{datetime.now(UTC).timestamp():.6f}".replace(".", "")
    ann, _ = say(engine, f"{word} of ann")
    ben, _ = say(engine, f"{word} of ben")

    assert found(utterances, word, ann) == [f"{word} of ann"]
    assert found(utterances, word, ben) == [f"{word} of ben"]
    assert set(found(utterances, word, None)) == {f"{word} of ann", f"{word} of ben"}


def test_what_was_said_says_where_and_whose_it_is(engine: Engine, utterances: SqlUtterances) -> None:
    tenant, session_id = say(engine, "hello", "an otter", kind="assistant.final", role="assistant")

    (each,) = utterances.search(UtteranceFilter(("otter",), tenant), None, 10)

    assert each.place == UtterancePlace(BEGINNING + timedelta(seconds=2), session_id, 2)
    assert (each.tenant, each.subject, each.type, each.role) == (tenant, "ann", "assistant.final", "assistant")


@pytest.fixture(scope="module")
def crowded(engine: Engine) -> Iterator[Connection]:
    """A hundred thousand events in a transaction that is never kept."""
    patient = create_engine(engine.url.render_as_string(hide_password=False), 1, "crowd", UNHURRIED)
    with patient.connect() as connection:
        crowd(connection, ROWS)
        yield connection
        connection.rollback()
    patient.dispose()


WANTED: dict[str, dict[str, Any]] = {
    "a common word": {"words": ("every",)},
    "a word in a third": {"words": ("third",)},
    "a word in one of fifty": {"words": ("50%",)},
    "a rare word": {"words": ("unicorn",)},
    "an absent word": {"words": ("dragon",)},
    "a sign": {"words": ("%",)},
    "tenant and a common word": {"tenant": "tenant-8", "words": ("every",)},
    "tenant and a rare word": {"tenant": "tenant-8", "words": ("unicorn",)},
    "large tenant and a rare word": {"tenant": "tenant-0", "words": ("unicorn",)},
    "tenant that is not there": {"tenant": "nobody", "words": ("every",)},
}


@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED.keys())
@pytest.mark.parametrize("share", [1.0, 0.5], ids=["first page", "later page"])
def test_no_search_reads_every_event(crowded: Connection, wanted: dict[str, Any], share: float) -> None:
    before = UtterancePlace(BEGINNING + timedelta(seconds=ROWS * share), "", 0)

    plan = plans(crowded, lambda connection: find_utterances(connection, UtteranceFilter(**wanted), before, 51))

    assert not re.search(r"Seq Scan on session_events", plan), plan


@pytest.mark.parametrize("word", ["third", "50%", "unicorn"])
def test_every_page_of_a_search_together_is_the_whole(crowded: Connection, word: str) -> None:
    wanted = UtteranceFilter((word,))
    seen: list[tuple[str, int]] = []
    before = None
    while page := find_utterances(crowded, wanted, before, 700):
        seen += [(each.place.session_id, each.place.seq) for each in page]
        before = page[-1].place

    expected = crowded.execute(
        text("SELECT session_id, seq FROM session_events WHERE session_id LIKE 'crowd-%'"
             " AND payload ->> 'message' LIKE :like ORDER BY created_at DESC"),
        {"like": f"% {word.replace('%', chr(92) + '%')} %"},
    )  # fmt: skip
    assert [place for place in seen if place[0].startswith("crowd-")] == list(map(tuple, expected))


def test_moments_that_are_the_same_are_paged_without_gap_or_repeat(engine: Engine, utterances: SqlUtterances) -> None:
    tenant, _ = say(engine, "an otter", "an otter", "an otter")
    for _ in range(3):
        say(engine, "an otter", "an otter", tenant=tenant)
    wanted = UtteranceFilter(("otter",), tenant)
    whole = utterances.search(wanted, None, 100)
    seen: list[UtterancePlace] = []
    before = None
    while page := utterances.search(wanted, before, 2):
        seen += [each.place for each in page]
        before = seen[-1]

    assert seen == [each.place for each in whole]
    assert len(set(seen)) == 9
