"""Redis connections whose every wait is bounded; an error of any kind here loses only a hint."""

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

REDIS_ERRORS: tuple[type[Exception], ...] = (RedisError, OSError)


def connect(url: str, read_seconds: float = 2.0) -> Redis:
    """A lazy client without retries: connecting ends within 1 s, any answer within `read_seconds`."""
    return Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="replace",
        socket_connect_timeout=1,
        socket_timeout=read_seconds,
        socket_keepalive=True,
        health_check_interval=5,
        retry=Retry(NoBackoff(), 0),
    )


def ping(url: str) -> bool:
    """Whether Redis answers, within a second; on a connection of its own, so that no pool hides the truth."""
    try:
        with connect(url, read_seconds=0.8) as client:
            return bool(client.ping())
    except REDIS_ERRORS:
        return False
