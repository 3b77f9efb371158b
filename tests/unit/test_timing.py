"""When a schedule is due: moments, cron on people's clocks, clocks that are set forward and back."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.timing import BadTiming, Timing, check_cron, check_zone, first_time

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BERLIN = "Europe/Berlin"
FORWARD = datetime(2026, 3, 29, tzinfo=UTC)
"""An hour before Berlin's clocks go from 2:00 to 3:00."""
BACK = datetime(2026, 10, 25, tzinfo=UTC)
"""An hour before Berlin's clocks go from 3:00 to 2:00."""


def times(cron: str, start: datetime, count: int, time_zone: str = BERLIN) -> list[str]:
    """The next so many, as UTC shows them."""
    timing, found = Timing(cron=cron, time_zone=time_zone), []
    for _ in range(count):
        following = timing.after(start)
        assert following is not None
        assert following > start
        found.append(f"{following:%d %H:%M}")
        start = following
    return found


def test_a_moment_is_due_once() -> None:
    timing = Timing(at=NOW)

    assert timing.after(NOW - timedelta(seconds=1)) == NOW
    assert timing.after(NOW) is None


def test_cron_goes_by_the_clock_of_its_zone() -> None:
    assert times("30 8 * * 1-5", datetime(2026, 1, 2, 9, tzinfo=UTC), 2) == ["05 07:30", "06 07:30"]
    assert times("30 8 * * *", datetime(2026, 7, 1, tzinfo=UTC), 1) == ["01 06:30"]
    assert times("0 0 * * *", NOW, 1, "Asia/Kathmandu") == ["01 18:15"]


@pytest.mark.parametrize(
    ("cron", "found"),
    [
        ("30 2 * * *", ["29 01:00", "30 00:30"]),
        ("0,30 2 * * *", ["29 01:00", "30 00:00", "30 00:30"]),
        ("*/30 * * * *", ["29 00:30", "29 01:00", "29 01:30", "29 02:00"]),
        ("0 1-3 * * *", ["29 01:00", "29 23:00"]),
    ],
)
def test_what_the_clock_leaves_out_runs_once_when_it_goes_on(cron: str, found: list[str]) -> None:
    assert times(cron, FORWARD, len(found)) == found


@pytest.mark.parametrize(
    ("cron", "found"),
    [
        ("30 2 * * *", ["25 00:30", "26 01:30"]),
        ("*/30 * * * *", ["25 00:30", "25 01:00", "25 01:30", "25 02:00"]),
        ("0 1-3 * * *", ["25 02:00", "26 00:00"]),
    ],
)
def test_an_hour_that_is_shown_twice_runs_once_unless_every_hour_is_meant(cron: str, found: list[str]) -> None:
    assert times(cron, BACK, len(found)) == found


def test_who_looks_within_the_second_showing_does_not_go_back_to_the_first() -> None:
    in_the_second_showing = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)

    assert times("30 2 * * *", in_the_second_showing, 1) == ["26 01:30"]


@pytest.mark.parametrize("time_zone", ["Australia/Lord_Howe", "Asia/Beirut", "America/Santiago", BERLIN])
@pytest.mark.parametrize("cron", ["*/30 * * * *", "0 0 * * *", "15 2 * * *", "30 0-3 * * 0"])
def test_times_only_ever_grow_through_a_year_of_odd_clocks(cron: str, time_zone: str) -> None:
    start = datetime(2026, 3, 20, tzinfo=UTC)

    assert len(times(cron, start, 600, time_zone)) == 600


def test_what_was_missed_is_counted_up_to_a_limit() -> None:
    hourly = Timing(cron="0 * * * *")

    assert hourly.count(NOW, NOW + timedelta(hours=3, minutes=5), 1000) == 4
    assert hourly.count(NOW, NOW, 1000) == 1
    assert Timing(cron="* * * * *").count(NOW, NOW + timedelta(days=900), 1000) == 1000
    assert Timing(at=NOW).count(NOW, NOW + timedelta(days=1), 1000) == 1


@pytest.mark.parametrize(
    ("cron", "word"),
    [
        ("0 0 31 2 *", "day-of-month"),
        ("0 0 30 2 */2", "day-of-month"),
        ("61 * * * *", "minute"),
        ("* 25 * * *", "hour"),
        ("* * * 13 *", "month"),
        ("* * * * 9", "day-of-week"),
        ("5-1 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("* * * * * *", "seconds are finer"),
        ("* * * *", "five fields"),
        ("@daily", "five fields"),
        ("", "five fields"),
        ("0 0 * * 1L/2", "signs"),
        ("0 0 * * 1#2/2", "signs"),
        ("0 0 * * \N{ARABIC-INDIC DIGIT ONE}", "signs"),
    ],
)
def test_an_expression_that_can_never_be_due_is_refused(cron: str, word: str) -> None:
    with pytest.raises(BadTiming, match=word):
        check_cron(cron)


@given(st.lists(st.text("0123456789*/,-#LWMONJAX", max_size=8), min_size=5, max_size=5))
def test_any_five_fields_are_an_expression_or_refused(fields: list[str]) -> None:
    expression = " ".join(fields)

    with suppress(BadTiming):
        check_cron(expression)
        assert first_time(Timing(cron=expression, time_zone=BERLIN), NOW) > NOW


@pytest.mark.parametrize("name", ["Mars/Phobos", "America", "../../etc/passwd", "", "europe/berlin", "UTC\x00"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadTiming, match="no such time zone"):
        check_zone(name)


def test_the_first_time_is_in_the_future_or_refused() -> None:
    assert first_time(Timing(cron="* * * * *"), NOW) == NOW + timedelta(minutes=1)
    with pytest.raises(BadTiming, match="over"):
        first_time(Timing(at=NOW), NOW)
