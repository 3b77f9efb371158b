"""What every `Audience` promises: so many in each crowd, and a place that was given back is free."""

from collections.abc import Callable

import pytest

from app.adapters.local_audience import LocalAudience
from app.adapters.redis.audience import RedisAudience
from app.adapters.redis.connection import connect
from app.domain.audience import Audience, Crowd, Leave, crowds_of
from app.domain.rate_limit import OverLimit
from app.wiring.process import SystemClock
from tests.builders import an_id
from tests.conftest import eventually

LEASE_SECONDS = 1.0


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("settings").redis_url.get_secret_value()
    return url


@pytest.fixture(params=["memory", "redis"])
def audience(request: pytest.FixtureRequest) -> Audience:
    return LocalAudience() if request.param == "memory" else on_redis(request.getfixturevalue("redis_url"))


def on_redis(url: str) -> RedisAudience:
    return RedisAudience(url, LocalAudience(), SystemClock(), LEASE_SECONDS)


def two_readers() -> tuple[Crowd, Crowd]:
    return crowds_of(an_id("s-"), an_id("t-"), 2, 10)


def refused(audience: Audience, *crowds: Crowd) -> str:
    with pytest.raises(OverLimit) as error:
        audience.enter(crowds)
    assert error.value.retry_after
    return str(error.value)


def entered(audience: Audience, *crowds: Crowd) -> Leave | None:
    try:
        return audience.enter(crowds)
    except OverLimit:
        return None


def test_the_first_full_crowd_is_named(audience: Audience) -> None:
    session, tenant = two_readers()
    audience.enter([session, tenant])
    audience.enter([session, tenant])

    assert "this session has 2 open streams" in refused(audience, session, tenant)
    assert "this tenant has 2 open streams" in refused(audience, Crowd(tenant.key, 2, tenant.name))


def test_a_refusal_takes_no_place_anywhere(audience: Audience) -> None:
    one, other = Crowd(an_id(), 1, "one"), Crowd(an_id(), 1, "other")
    audience.enter([other])
    for _ in range(3):
        refused(audience, one, other)

    audience.enter([one])


def test_a_place_is_given_back_once(audience: Audience) -> None:
    crowd = Crowd(an_id(), 2, "it")
    leave, _ = audience.enter([crowd]), audience.enter([crowd])

    leave()
    leave()
    audience.enter([crowd])

    refused(audience, crowd)


def test_processes_count_together(redis_url: str) -> None:
    crowd = Crowd(an_id(), 2, "it")
    leave = on_redis(redis_url).enter([crowd])
    on_redis(redis_url).enter([crowd])

    refused(on_redis(redis_url), crowd)
    leave()
    on_redis(redis_url).enter([crowd])


def test_a_place_is_held_for_longer_than_its_lease(redis_url: str) -> None:
    crowd, clock = Crowd(an_id(), 1, "it"), SystemClock()
    on_redis(redis_url).enter([crowd])
    until = clock.monotonic() + 2.5 * LEASE_SECONDS

    eventually(lambda: refused(on_redis(redis_url), crowd) and clock.monotonic() > until)


def test_the_places_of_a_process_that_is_gone_come_free(redis_url: str) -> None:
    crowd, client = Crowd(an_id(), 1, "it"), connect(redis_url)
    client.zadd(f"readers:{crowd.key}", {"somebody": float(client.time()[0]) + 2})
    refused(on_redis(redis_url), crowd)

    assert eventually(lambda: entered(on_redis(redis_url), crowd), 10)


def test_a_redis_that_forgot_everything_knows_it_again(redis_url: str) -> None:
    crowd, client = Crowd(an_id(), 1, "it"), connect(redis_url)
    on_redis(redis_url).enter([crowd])

    client.delete(f"readers:{crowd.key}")

    eventually(lambda: client.exists(f"readers:{crowd.key}"), 10)
    refused(on_redis(redis_url), crowd)


def test_without_redis_each_process_counts_for_itself() -> None:
    crowd, alone = Crowd(an_id(), 1, "it"), on_redis("redis://127.0.0.1:1/0")
    leave: Callable[[], None] = alone.enter([crowd])

    refused(alone, crowd)
    leave()
    alone.enter([crowd])
