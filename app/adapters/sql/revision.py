"""Which version of the schema a database has. Apart from everything else, because servers ask before they may load
anything that counts metrics (`app.gateway.server`).
"""

from sqlalchemy import Engine, text

from app.adapters.sql.engine import transaction

_HAS_REVISION = text("SELECT to_regclass('alembic_version')::text")
_REVISION = text("SELECT version_num FROM alembic_version")


def schema_revision(engine: Engine) -> str | None:
    """The schema's revision; None in an empty database."""
    with transaction(engine) as connection:
        if connection.execute(_HAS_REVISION).scalar_one() is None:
            return None
        return connection.execute(_REVISION).scalar_one_or_none()
