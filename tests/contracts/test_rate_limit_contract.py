"""What every `RateLimiter` promises: so many in so long, each key for itself, whoever asks."""

import pytest

from app.adapters.local_rate_limit import LocalRateLimiter
from app.adapters.redis.rate_limit import RedisRateLimiter
from app.domain.rate_limit import Rate, RateLimiter, Verdict
from app.wiring.process import SystemClock
from tests.builders import an_id
from tests.conftest import eventually

THREE = Rate(3, 60.0)


class _Never:
    def take(self, key: str, rate: Rate) -> Verdict:
        raise AssertionError("Redis is there")


@pytest.fixture(params=["memory", "redis"])
def limiter(request: pytest.FixtureRequest) -> RateLimiter:
    if request.param == "memory":
        return LocalRateLimiter(SystemClock())
    url = request.getfixturevalue("settings").redis_url.get_secret_value()
    return RedisRateLimiter(url, _Never(), SystemClock())


def test_so_many_are_allowed_and_the_next_is_told_when_to_come(limiter: RateLimiter) -> None:
    key = an_id()

    verdicts = [limiter.take(key, THREE) for _ in range(4)]

    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0]
    assert 0 < verdicts[-1].retry_after <= 20


def test_a_refusal_costs_nothing(limiter: RateLimiter) -> None:
    key = an_id()
    for _ in range(3):
        limiter.take(key, THREE)
    waits = [limiter.take(key, THREE).retry_after for _ in range(5)]

    assert waits == sorted(waits, reverse=True)


def test_keys_do_not_know_each_other(limiter: RateLimiter) -> None:
    one, other = an_id(), an_id()
    for _ in range(4):
        limiter.take(one, THREE)

    assert limiter.take(other, THREE).remaining == 2


def test_a_token_comes_back(limiter: RateLimiter) -> None:
    key, quick = an_id(), Rate(2, 0.5)
    while limiter.take(key, quick).allowed:
        pass

    eventually(lambda: limiter.take(key, quick).allowed, 5)


def test_all_processes_share_one_bucket_in_redis(request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("settings").redis_url.get_secret_value()
    key, first, second = an_id(), *(RedisRateLimiter(url, _Never(), SystemClock()) for _ in range(2))

    assert [limiter.take(key, THREE).remaining for limiter in (first, second, first, second)] == [2, 1, 0, 0]
