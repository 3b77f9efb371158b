"""A burst does not pay for new connections every time, and who has nothing to do holds none for long."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.adapters.sql.engine import create_engine, transaction
from app.settings import Settings
from tests.conftest import eventually

AT_ONCE = 6
_ME = text("SELECT pg_backend_pid()")


@pytest.fixture
def pool(settings: Settings) -> Iterator[Engine]:
    engine = create_engine(settings.postgres_dsn.get_secret_value(), AT_ONCE, "pool test")
    yield engine
    engine.dispose()


def burst(engine: Engine) -> set[int]:
    """The backends of as many transactions as there are places, all open at one time."""
    all_in, pids = threading.Barrier(AT_ONCE), set[int]()

    def work() -> None:
        with transaction(engine) as connection:
            pids.add(connection.execute(_ME).scalar_one())
            all_in.wait(10)

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return pids


def test_the_next_burst_finds_the_connections_of_the_last(pool: Engine) -> None:
    first = burst(pool)

    assert len(first) == AT_ONCE
    assert burst(pool) == first


def test_connections_that_nobody_used_for_a_minute_are_let_go_and_nobody_meets_a_dead_one(
    pool: Engine, engine: Engine
) -> None:
    with transaction(pool) as connection:
        assert connection.execute(text("SHOW idle_session_timeout")).scalar_one() == "1min"
    for _ in range(AT_ONCE):
        _hurry(pool)

    eventually(lambda: not _alive(engine), 10)

    assert len(burst(pool)) == AT_ONCE


def _hurry(pool: Engine) -> None:
    with pool.connect() as connection:
        connection.exec_driver_sql("SET idle_session_timeout = '50ms'")
        connection.commit()


def _alive(engine: Engine) -> int:
    counted = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool test'")
    with engine.connect() as connection:
        return int(connection.execute(counted).scalar_one())


def test_who_comes_right_after_the_server_was_away_meets_no_dead_connection(pool: Engine, engine: Engine) -> None:
    first = burst(pool)

    with engine.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM unnest(:pids) pid"), {"pids": list(first)})
    eventually(lambda: not _alive(engine), 10)

    assert not burst(pool) & first


def test_a_connection_in_use_a_moment_ago_is_lent_again_without_a_question(
    pool: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(pool.dialect, "do_ping", lambda line: asked.append(line) or True)
    for _ in range(3):
        with transaction(pool) as connection:
            connection.execute(_ME)
    assert not asked

    monkeypatch.setattr("app.adapters.sql.lending._FRESH_SECONDS", 0.0)
    with transaction(pool) as connection:
        connection.execute(_ME)
    assert len(asked) == 1
