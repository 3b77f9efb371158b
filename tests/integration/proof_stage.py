"""Stores with memories in them, delivered by hand: whoever tests a proof may lose, double and alter what is in them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from sqlalchemy import Engine, text

from app.adapters.http.brain import HttpBrain
from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.history import KafkaWalScan
from app.adapters.kafka.writer import KafkaWalWriter
from app.adapters.sql.ledger import SqlLedger
from app.adapters.sql.outboxes import SqlMemoryOutbox, SqlMessageOutbox
from app.adapters.sql.proof_books import SqlProofBooks
from app.adapters.sql.proof_desk import SqlProofDesk
from app.adapters.sql.proof_repair import SqlProofRepair
from app.adapters.sql.proofs import SqlProofs
from app.adapters.sql.replica import SqlReplica
from app.domain.log import WalBatch, WalPartition
from app.domain.memory import Memory, WalRecord
from app.domain.ports import Sent
from app.domain.proof_ports import ProofReport, ProofWish
from app.domain.wal import parse_all
from app.services.prove_memories import Proving, prove_slice
from app.services.repair_memories import Repairing, repair_next
from app.settings import Settings
from app.wiring.alone import ParentsPresence
from app.wiring.process import SystemClock
from tests.builders import an_id, wal_bytes
from tests.contracts.brain_rig import ServedBrain
from tests.fakes_parts import RecordingDoorbell

Tamper = Callable[[WalRecord], Sequence[WalRecord]]


def unchanged(record: WalRecord) -> Sequence[WalRecord]:
    """What the log is given is what is owed to it."""
    return [record]


@dataclass
class Stage:
    """Ledger, SomaBrain, log and replica; `deliver` carries everything that is owed to where it belongs."""

    engine: Engine
    settings: Settings
    topic: str
    served: ServedBrain
    fed: int = 0
    doorbell: RecordingDoorbell = field(default_factory=RecordingDoorbell)

    def __post_init__(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.settings.kafka_bootstrap_servers)
        admin.create_topics([NewTopic(self.topic, 3, 1)])
        admin.close()
        presence = ParentsPresence("stage")
        self.brain = HttpBrain.from_settings(self.settings.model_copy(update={"soma_base_url": self.served.url}))
        self.ledger = SqlLedger(self.engine, self.topic, 0)
        self.memories = SqlMemoryOutbox(self.engine, presence, 30, self.topic)
        self.records = SqlMessageOutbox(self.engine, presence, 30)
        self.replica = SqlReplica(self.engine)
        self.writer = KafkaWalWriter(connection_options(self.settings))
        self.wal = KafkaWalScan(connection_options(self.settings), self.topic)

    def close(self) -> None:
        self.writer.close()
        self.served.close()

    def sql(self, statement: str, **values: Any) -> int:
        """Rows that were changed."""
        with self.engine.begin() as connection:
            return connection.execute(text(statement), values).rowcount

    def ask(self, statement: str, **values: Any) -> Any:
        with self.engine.begin() as connection:
            return connection.execute(text(statement), values).scalar_one()

    def accept(self, *memories: Memory) -> None:
        self.ledger.accept(memories)

    def deliver(self, tamper: Tamper = unchanged) -> None:
        """To SomaBrain, to the log as `tamper` changes it, into the replica as it is owed."""
        self.sync()
        owed = self.records.claim_due(1000)
        sent: list[Any] = []
        for one in owed:
            outcomes = self.writer.publish(list(tamper(one.record))) or [Sent(0, -1)]
            assert isinstance(outcomes[0], Sent), outcomes
            sent.append((one, outcomes[0]))
        self.records.sent(sent)
        self.replicate([json.dumps(dict(one.record.payload)).encode() for one in owed])

    def sync(self) -> None:
        for owed in self.memories.claim_due(1000):
            memory = owed.memory
            if owed.forget:
                self.brain.forget(memory.event_id, memory.place, "r-1")
                self.memories.forgotten(owed)
            else:
                self.memories.synced([(owed, self.brain.remember(memory))])

    def replicate(self, values: Sequence[bytes]) -> None:
        """Store these records; every place in the log counts as replicated then."""
        feed = WalPartition(f"{self.topic}.feed", 0)
        place = self.replica.take(feed)
        records = list(enumerate(values, place.offset))
        good, bad = parse_all(records, SystemClock().now().timestamp())
        end = place.offset + len(values)
        self.replica.store(WalBatch(feed, place.offset, end, (), place.generation), good, bad)
        for number, (_, behind) in self.wal.bounds().items():
            self.replica.take(WalPartition(self.topic, number))
            self.sql(
                "UPDATE replicator_offsets SET next_offset = :behind WHERE topic = :topic AND partition = :number",
                behind=behind, topic=self.topic, number=number,
            )  # fmt: skip

    def publish(self, **fields: Any) -> None:
        """Another program's record in the log."""
        value = json.loads(wal_bytes(**fields))
        record = WalRecord(self.topic, value["event_id"], an_id(), value, {}, "", None)
        assert isinstance(self.writer.publish([record])[0], Sent)

    def proving(self, **changes: Any) -> Proving:
        desk = SqlProofDesk(self.engine, ParentsPresence(an_id("worker-")), 30, self.topic)
        repair = SqlProofRepair(self.engine, self.topic, 0)
        repairing = Repairing(desk, repair, self.wal, self.brain, SystemClock(), self.topic)
        made = Proving(
            desk=desk,
            books=SqlProofBooks(self.engine, self.topic),
            wal=self.wal,
            brain=self.brain,
            repair=partial(repair_next, repairing),
            clock=SystemClock(),
            doorbell=self.doorbell,
        )
        return replace(made, **changes)

    def prove(self, repair: bool = False, tenant: str | None = None, **changes: Any) -> ProofReport:
        """A whole proof, by as many slices and workers as it takes."""
        proofs = SqlProofs(self.engine)
        job_id = proofs.ask(ProofWish(tenant, repair))
        for _ in range(500):
            prove_slice(self.proving(**changes), job_id)
            report = proofs.report(job_id)
            assert report is not None
            if report.status in ("completed", "failed"):
                return report
        raise AssertionError("the proof does not end")


def told(report: ProofReport) -> set[tuple[str, str, str, str]]:
    """(tenant, event id, store, kind) of everything that was found; there may be no more than are shown."""
    return {
        (name, example["event_id"], example["store"], example["kind"])
        for name, tenant in report.tenants.items()
        for example in tenant.examples
    }


def faults(report: ProofReport) -> int:
    return sum(tenant.faults for tenant in report.tenants.values())
