"""A process knows one schema and refuses every other one, saying which command to run."""

from collections.abc import Callable

from tenacity import Retrying as Tenacious
from tenacity import retry_if_exception_type, stop_after_delay, wait_fixed

from app.domain.errors import Misconfigured, StoreUnavailable

HEAD_REVISION = "0021"
"""The newest revision in `migrations/versions`; a test holds the two together."""

_WAIT_SECONDS = 60


def check_schema(found: str | None) -> None:
    """Raise `Misconfigured` unless `found` is the schema that this version was written for."""
    if found == HEAD_REVISION:
        return
    if found is None or found < HEAD_REVISION:
        raise Misconfigured(
            f"the database has schema {found or 'none'}, this version needs {HEAD_REVISION}; run: alembic upgrade head"
        )
    raise Misconfigured(
        f"the database has schema {found}, newer than the {HEAD_REVISION} this version knows; install the newer version"
    )


def wait_for_schema(revision: Callable[[], str | None]) -> None:
    """Check the schema, waiting up to a minute for a Postgres that is still starting."""
    attempts = Tenacious(
        retry=retry_if_exception_type(StoreUnavailable),
        stop=stop_after_delay(_WAIT_SECONDS),
        wait=wait_fixed(0.5),
        reraise=True,
    )
    check_schema(attempts(revision))
