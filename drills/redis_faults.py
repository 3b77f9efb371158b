"""What can happen to Redis: killed, emptied, stopped. Everything in it may be lost at any moment."""

import redis

from drills.trouble import Stage

NAME = "redis"


def _client(stage: Stage) -> redis.Redis:
    return redis.Redis.from_url(stage.stack.environment["REDIS_URL"], socket_timeout=1, socket_connect_timeout=1)


def silent(stage: Stage) -> bool:
    """Whether Redis does not answer now."""
    try:
        _client(stage).ping()
    except (redis.RedisError, OSError):
        return True
    return False


def kill(stage: Stage) -> None:
    """SIGKILL, three times."""
    for _ in range(stage.times(3)):
        stage.kill(NAME)
        stage.rest(5)


def empty(stage: Stage) -> None:
    """FLUSHALL under load, then a restart, then once more."""
    for _ in range(2):
        client = _client(stage)
        client.set("drill:here", 1)
        client.flushall()
        stage.felt += not client.exists("drill:here")
        stage.rest(3)
        stage.stack.restart(NAME)
        stage.rest(3)


def freeze(stage: Stage) -> None:
    """SIGSTOP for 20 s: connections stay open and nobody answers."""
    with stage.frozen(NAME):
        stage.feel(lambda: silent(stage))
        stage.rest(20)
