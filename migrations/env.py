"""How Alembic reaches the database: `POSTGRES_DSN`, one revision per transaction, one migrator at a time."""

from alembic import context
from sqlalchemy import text

from app.adapters.sql.engine import create_engine
from app.adapters.sql.patience import UNHURRIED
from app.settings import settings

_LOCK = 7_526_110_001


def _migrate() -> None:
    settings().require("postgres_dsn")
    dsn = settings().postgres_dsn.get_secret_value()
    engine = create_engine(dsn, pool_size=1, application_name="migrate", patience=UNHURRIED)
    with engine.connect() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.commit()
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()  # and with its session the lock


_migrate()
