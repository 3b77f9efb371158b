"""Token buckets as one number: what is allowed, what is left, when to come again; and what counts without Redis."""

import pytest

from app.adapters.local_rate_limit import LocalRateLimiter
from app.adapters.redis.rate_limit import RedisRateLimiter
from app.domain.rate_limit import OverLimit, Rate, take, within_rate
from tests.fakes import FakeClock

THREE = Rate(3, 60.0)
NOWHERE = "redis://127.0.0.1:1/0"


def test_a_full_bucket_gives_all_its_tokens_at_once() -> None:
    owed, left = 0.0, []
    for _ in range(3):
        verdict = take(owed, THREE)
        assert verdict.allowed
        owed = verdict.owed
        left.append(verdict.remaining)

    assert left == [2, 1, 0]
    refused = take(owed, THREE)
    assert (refused.allowed, refused.remaining, refused.owed) == (False, 0, owed)
    assert refused.retry_after == pytest.approx(20.0)


def test_tokens_come_back_one_by_one() -> None:
    clock = FakeClock()
    limiter = LocalRateLimiter(clock)
    for _ in range(3):
        assert limiter.take("a", THREE).allowed
    assert not limiter.take("a", THREE).allowed

    clock.advance(20)

    assert limiter.take("a", THREE).allowed
    assert not limiter.take("a", THREE).allowed
    clock.advance(minutes=10)
    assert limiter.take("a", THREE).remaining == 2


def test_over_the_limit_says_when_to_come_again() -> None:
    limiter = LocalRateLimiter(FakeClock())
    for _ in range(3):
        within_rate(limiter, "a", THREE)

    with pytest.raises(OverLimit, match="at most 3") as refused:
        within_rate(limiter, "a", THREE)

    assert refused.value.retry_after == pytest.approx(20.0)
    assert refused.value.verdict is not None


def test_without_redis_each_process_counts_for_itself_at_the_same_limit() -> None:
    clock = FakeClock()
    limiter = RedisRateLimiter(NOWHERE, LocalRateLimiter(clock), clock)

    assert [limiter.take("a", THREE).allowed for _ in range(4)] == [True, True, True, False]


def test_redis_is_asked_again_after_a_while() -> None:
    clock, asked = FakeClock(), []
    limiter = RedisRateLimiter(NOWHERE, LocalRateLimiter(clock), clock)
    limiter._script = lambda keys, args: asked.append(keys) or (_ for _ in ()).throw(OSError("away"))  # type: ignore[assignment]

    limiter.take("a", THREE)
    limiter.take("a", THREE)
    clock.advance(6)
    limiter.take("a", THREE)

    assert len(asked) == 2


def test_full_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.adapters.local_rate_limit._MOST_BUCKETS", 10)
    clock = FakeClock()
    limiter = LocalRateLimiter(clock)
    for number in range(10):
        limiter.take(f"old-{number}", THREE)
    clock.advance(minutes=2)

    limiter.take("new", THREE)

    assert list(limiter._full_at) == ["new"]
