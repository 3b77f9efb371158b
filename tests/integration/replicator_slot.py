"""A replicator slot in a process of its own, for tests that kill or freeze it: `python -m ... TOPIC GROUP`.

It stores what it reads in the replica of `POSTGRES_DSN` and prints a line whenever it has stored a batch.
"""

import sys

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.reader import KafkaWalReader
from app.adapters.sql.engine import create_engine
from app.adapters.sql.replica import SqlReplica
from app.domain.errors import LeaseLost, StoreUnavailable, WalUnavailable
from app.domain.wal import parse_all
from app.settings import settings


def main(topic: str, group: str) -> None:
    """Read and store until the process is ended."""
    known = settings()
    replica = SqlReplica(create_engine(known.postgres_dsn.get_secret_value(), 2, "slot"))
    reader = KafkaWalReader(connection_options(known), topic, group, replica.take)
    while True:
        try:
            batches = reader.poll(0.5, 500)
        except (WalUnavailable, StoreUnavailable) as error:
            print("unavailable", error, flush=True)
            continue
        for batch in batches:
            good, bad = parse_all(((record.offset, record.value) for record in batch.records), 4e9)
            try:
                replica.store(batch, good, bad)
                print("stored", batch.partition.number, batch.end, flush=True)
            except (LeaseLost, StoreUnavailable):
                print("lost", batch.partition.number, flush=True)
                reader.rewind()


if __name__ == "__main__":
    main(*sys.argv[1:])
