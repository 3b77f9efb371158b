"""A rebuilder in a process of its own, for tests that kill it: `python -m ... TOPIC BATCH`.

It works on the rebuild of `POSTGRES_DSN` until none is left, and prints a line whenever it has stored a batch.
"""

import sys
from collections.abc import Sequence

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.history import KafkaWalHistory
from app.adapters.sql.engine import create_engine
from app.adapters.sql.rebuilds import SqlRebuilds
from app.domain.errors import StoreUnavailable, WalUnavailable
from app.domain.log import WalBatch
from app.domain.rebuild import Rebuild
from app.domain.wal import ReplicaRow
from app.services.rebuild_replica import Rebuilding, rebuild_slice
from app.settings import settings
from app.wiring.process import SystemClock
from tests.conftest import PATIENT
from tests.fakes import RecordingDoorbell


class Talking(SqlRebuilds):
    """Says what it has stored."""

    def store(self, rebuild: Rebuild, batch: WalBatch, good: Sequence[ReplicaRow], to_read: int) -> None:
        super().store(rebuild, batch, good, to_read)
        print("stored", batch.partition.number, batch.end, flush=True)


def main(topic: str, batch: str) -> None:
    """Slice after slice; an outage is waited out."""
    known = settings()
    engine = create_engine(known.postgres_dsn.get_secret_value(), 2, "rebuild")
    patient = create_engine(known.postgres_dsn.get_secret_value(), 1, "rebuild", PATIENT)
    history = KafkaWalHistory(connection_options(known), topic)
    rebuilding = Rebuilding(
        history, Talking(engine, patient, topic), SystemClock(), RecordingDoorbell(), 2.0, int(batch)
    )
    while rebuilding.store.current() is not None:
        try:
            rebuild_slice(rebuilding)
        except (WalUnavailable, StoreUnavailable) as error:
            print("unavailable", error, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
