"""The breaker: when it opens, whom it lets through, and that no lock is held during a call."""

import threading
from dataclasses import dataclass, field

import pytest

from app.adapters.http.breaker import Breaker, BreakerOpen


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    clock: Clock = field(default_factory=Clock)
    states: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.breaker = Breaker(
            failures=5, reset_seconds=10, slow_seconds=2, on_change=self.states.append, clock=self.clock
        )

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(ZeroDivisionError), self.breaker.attempt():
                raise ZeroDivisionError

    def be_refused(self) -> None:
        with self.breaker.attempt() as attempt:
            attempt.blameless = True
            raise ZeroDivisionError

    def give_up_early(self) -> None:
        with self.breaker.attempt() as attempt:
            attempt.inconclusive = True
            raise ZeroDivisionError

    def succeed(self, seconds: float = 0.0) -> None:
        with self.breaker.attempt():
            self.clock.now += seconds


def test_the_fifth_failure_in_a_row_opens_it() -> None:
    rig = Rig()
    rig.fail(4)
    rig.succeed()
    rig.fail(4)
    assert not rig.breaker.is_open
    rig.fail()
    assert rig.breaker.is_open
    assert rig.states == ["open"]


def test_an_open_breaker_says_how_long_to_wait() -> None:
    rig = Rig()
    rig.fail(5)
    rig.clock.now += 4
    with pytest.raises(BreakerOpen) as caught, rig.breaker.attempt():
        pass
    assert caught.value.retry_after == 6


def test_a_blameless_failure_does_not_count() -> None:
    rig = Rig()
    for _ in range(9):
        with pytest.raises(ZeroDivisionError):
            rig.be_refused()
    assert not rig.breaker.is_open


def test_a_call_that_ended_too_early_to_tell_neither_counts_nor_makes_good() -> None:
    rig = Rig()
    rig.fail(4)
    for _ in range(9):
        with pytest.raises(ZeroDivisionError):
            rig.give_up_early()
    assert not rig.breaker.is_open
    rig.fail()
    assert rig.breaker.is_open


def test_a_probe_that_ended_too_early_to_tell_has_failed() -> None:
    rig = Rig()
    rig.fail(5)
    rig.clock.now += 10
    with pytest.raises(ZeroDivisionError):
        rig.give_up_early()
    assert rig.states == ["open", "half-open", "open"]
    rig.clock.now += 10
    rig.succeed()
    assert not rig.breaker.is_open


def test_slow_calls_count_as_failures() -> None:
    rig = Rig()
    for _ in range(5):
        rig.succeed(seconds=2.1)
    assert rig.breaker.is_open


def test_after_its_time_one_call_tries_and_closes_it() -> None:
    rig = Rig()
    rig.fail(5)
    rig.clock.now += 10
    with rig.breaker.attempt():
        assert rig.breaker.is_open
        with pytest.raises(BreakerOpen), rig.breaker.attempt():
            pass
    assert not rig.breaker.is_open
    assert rig.states == ["open", "half-open", "closed"]


def test_a_failed_trial_opens_it_for_another_period() -> None:
    rig = Rig()
    rig.fail(5)
    rig.clock.now += 10
    rig.fail()
    assert rig.breaker.is_open
    rig.clock.now += 9
    assert rig.breaker.is_open
    rig.clock.now += 1
    rig.succeed()
    assert not rig.breaker.is_open


def test_closing_it_lets_calls_through_and_forgets_the_failures() -> None:
    rig = Rig()
    rig.fail(5)
    rig.breaker.close()
    rig.fail(4)
    assert not rig.breaker.is_open
    assert rig.states == ["open", "closed"]


def test_a_call_from_before_it_opened_proves_nothing() -> None:
    rig = Rig()
    with rig.breaker.attempt():
        rig.fail(5)
    assert rig.breaker.is_open


def test_a_call_from_before_it_opened_does_not_open_it_again() -> None:
    rig = Rig()
    straggler = rig.breaker.attempt()
    straggler.__enter__()
    rig.fail(5)
    rig.clock.now += 10
    rig.succeed()
    error = ZeroDivisionError()
    assert not straggler.__exit__(ZeroDivisionError, error, None)
    assert not rig.breaker.is_open


def test_calls_run_side_by_side() -> None:
    rig = Rig()
    together = threading.Barrier(3, timeout=5)

    def call() -> None:
        with rig.breaker.attempt():
            together.wait()

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not together.broken
