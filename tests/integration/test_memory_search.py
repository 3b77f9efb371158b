"""Filters find what they say, whatever signs they hold, and read as much of an index as they show."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from app.adapters.sql.browse import SqlBrowser
from app.adapters.sql.engine import create_engine
from app.adapters.sql.memory_search import Span, find_page, search_for
from app.adapters.sql.patience import UNHURRIED
from app.domain.browse import MemoryFilter, Position, search_words
from tests.integration.test_claim_plans import plans
from tests.memory_rows import crowd, put

ROWS = 100_000


@pytest.fixture
def browser(engine: Engine) -> SqlBrowser:
    return SqlBrowser(engine)


def found(browser: SqlBrowser, tenant: str, query: str) -> list[str]:
    rows = browser.memories(MemoryFilter(tenant=tenant, words=search_words(query)), None, 100)
    return [row["payload"]["content"] for row in rows][::-1]


TEXTS = (
    "The cat sat on the mat", "Concatenate all", "a discount of 50% on cats", "of 50 cats", "snake_case is a name",
    "snake case is two", "back\\slash", "ann@example.org wrote", "example.org of ann", "Käse für Jörg", "CAT!", "100%",
)  # fmt: skip
SEARCHES = {
    "a whole word": ("cat", ["The cat sat on the mat", "CAT!"]),
    "without case": ("CATS", ["a discount of 50% on cats", "of 50 cats"]),
    "all words in any order": ("mat the cat", ["The cat sat on the mat"]),
    "words that never meet": ("cat cats", []),
    "percent means percent": ("50%", ["a discount of 50% on cats"]),
    "percent alone": ("%", ["a discount of 50% on cats", "100%"]),
    "underscore means underscore": ("snake_case", ["snake_case is a name"]),
    "underscore alone": ("_", ["snake_case is a name"]),
    "backslash": ("\\", ["back\\slash"]),
    "backslash inside": ("back\\slash", ["back\\slash"]),
    "an address": ("ann@example.org", ["ann@example.org wrote"]),
    "part of an address": ("example.org", ["ann@example.org wrote", "example.org of ann"]),
    "other letters": ("käse JÖRG", ["Käse für Jörg"]),
    "a quote is no syntax": ("'cat", []),
    "operators are no syntax": ("cat & !mat", []),
    "nothing like it": ("unheard", []),
}


@pytest.fixture(scope="module")
def said(engine: Engine) -> str:
    return put(engine, *TEXTS)[0]


@pytest.mark.parametrize(("query", "expected"), SEARCHES.values(), ids=SEARCHES.keys())
def test_a_search_finds_its_words(browser: SqlBrowser, said: str, query: str, expected: Sequence[str]) -> None:
    assert found(browser, said, query) == list(expected)


@pytest.mark.parametrize(("query", "expected"), SEARCHES.values(), ids=SEARCHES.keys())
def test_beyond_the_newest_it_finds_the_same(
    browser: SqlBrowser, said: str, query: str, expected: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.adapters.sql.word_search.NEWEST_LOOKED_AT", 2)

    assert found(browser, said, query) == list(expected)


def test_a_walk_beyond_the_newest_finds_the_same(
    browser: SqlBrowser, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.adapters.sql.word_search.NEWEST_LOOKED_AT", 2)
    monkeypatch.setattr("app.adapters.sql.word_search.walking_is_cheaper", lambda *_: True)

    for query, expected in SEARCHES.values():
        assert found(browser, said, query) == list(expected)


def test_a_forgotten_memory_is_listed_and_not_found_by_its_words(browser: SqlBrowser, engine: Engine) -> None:
    tenant, (event_id,) = put(engine, "a secret")
    with engine.begin() as connection:
        forget = "UPDATE memory_replica SET payload = NULL, deleted_at = now() WHERE event_id = :id"
        connection.execute(text(forget), {"id": event_id})

    (row,) = browser.memories(MemoryFilter(tenant=tenant), None, 10)

    assert (row["payload"], row["deleted_at"] is not None) == ({}, True)
    assert found(browser, tenant, "secret") == []


def test_times_are_included_and_filters_combine(browser: SqlBrowser, engine: Engine) -> None:
    tenant, ids = put(engine, *(f"number {n}" for n in range(6)), persona_id="p-1", namespace="n-1")
    put(engine, "number 7", tenant=tenant, persona_id="p-2", wal_timestamp=1003.0)

    rows = browser.memories(
        MemoryFilter(tenant=tenant, persona_id="p-1", namespace="n-1", min_ts=1002.0, max_ts=1004.0, words=("number",)),
        None, 10,
    )  # fmt: skip

    assert [row["event_id"] for row in rows] == [ids[4], ids[3], ids[2]]


@pytest.fixture(scope="module")
def crowded(engine: Engine) -> Iterator[Connection]:
    """A hundred thousand memories in a transaction that is never kept."""
    patient = create_engine(engine.url.render_as_string(hide_password=False), 1, "crowd", UNHURRIED)
    with patient.connect() as connection:
        crowd(connection, ROWS)
        yield connection
        connection.rollback()
    patient.dispose()


FILTERS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "tenant, half of all": {"tenant": "tenant-0"},
    "tenant, one in a hundred": {"tenant": "tenant-7"},
    "tenant that is not there": {"tenant": "nobody"},
    "persona": {"persona_id": "p-7"},
    "role": {"role": "tool"},
    "role that is not there": {"role": "none"},
    "session": {"session_id": "s-7"},
    "universe": {"universe": "u-1"},
    "namespace": {"namespace": "n-2"},
    "from a time on": {"min_ts": 1700000000.0 + ROWS - 10},
    "up to a time": {"max_ts": 1700000005.0},
    "a time in the middle": {"min_ts": 1700050000.0, "max_ts": 1700050100.0},
    "a common word": {"words": ("every",)},
    "a word in a third": {"words": ("third",)},
    "a word in one of fifty": {"words": ("50%",)},
    "a rare word": {"words": ("unicorn",)},
    "an absent word": {"words": ("dragon",)},
    "a sign": {"words": ("%",)},
    "tenant and a common word": {"tenant": "tenant-8", "words": ("every",)},
    "tenant and a rare word": {"tenant": "tenant-8", "words": ("unicorn",)},
    "tenant and an absent word": {"tenant": "tenant-8", "words": ("dragon",)},
    "large tenant and a rare word": {"tenant": "tenant-0", "words": ("unicorn",)},
    "large tenant and a word that it never says": {"tenant": "tenant-0", "words": ("50%",)},
}


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS.keys())
@pytest.mark.parametrize("before", [None, Position(1700000000.0 + ROWS / 2, 10**9)], ids=["first page", "later page"])
def test_no_filter_reads_the_whole_replica(
    crowded: Connection, filters: dict[str, Any], before: Position | None
) -> None:
    plan = plans(crowded, lambda connection: find_page(connection, MemoryFilter(**filters), Span(before), 51))

    assert not re.search(r"Seq Scan on memory_replica", plan), plan


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1], ids=["above the window", "in it", "below it"])
def test_a_page_between_two_times_reads_little_wherever_the_last_one_ended(crowded: Connection, share: float) -> None:
    between = MemoryFilter(min_ts=1700000000.0 + ROWS * 0.3, max_ts=1700000000.0 + ROWS * 0.6)
    search = search_for(crowded, between, Span(Position(1700000000.0 + ROWS * share, 10**9)))

    explained = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {search.walk()}")
    plan = crowded.execute(explained, search.values | {"limit": 51}).scalar_one()

    found: dict[str, Any] = plan[0]["Plan"]
    assert found["Shared Hit Blocks"] + found["Shared Read Blocks"] < 120


def test_every_page_of_a_search_together_is_the_whole(crowded: Connection) -> None:
    recent = 1700000000.0 + ROWS - 30_000
    for words, min_ts in ((("third",), recent), (("50%",), recent), (("unicorn",), None)):
        wanted = MemoryFilter(words=words, min_ts=min_ts)
        seen: list[int] = []
        place = None
        while rows := find_page(crowded, wanted, Span(place), 700):
            seen += [row["id"] for row in rows]
            place = Position(rows[-1]["wal_timestamp"], rows[-1]["id"])
        expected = crowded.execute(
            text("SELECT id FROM memory_replica WHERE memory_text(payload) LIKE :like AND wal_timestamp >= :min_ts"
                 " ORDER BY wal_timestamp DESC, id DESC"),
            {"like": f"% {words[0].replace('%', chr(92) + '%')} %", "min_ts": wanted.min_ts or 0},
        ).scalars().all()  # fmt: skip
        assert seen == list(expected)
