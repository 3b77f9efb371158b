"""A line to Postgres that hangs, resets or breaks at COMMIT: every wait ends in time, and the truth is found out."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.engine import make_url

from app.adapters.sql.engine import create_engine, transaction
from app.adapters.sql.export_desk import SqlExportDesk
from app.adapters.sql.inbox import MemoryDefaults, SqlInbox
from app.adapters.sql.ledger import SqlLedger
from app.adapters.sql.outboxes import SqlMemoryOutbox, SqlMessageOutbox
from app.adapters.sql.patience import SERVING, WORKING, Patience
from app.adapters.sql.presence import Presence
from app.adapters.sql.proof_desk import SqlProofDesk
from app.adapters.sql.proofs import SqlProofs
from app.adapters.sql.replica import SqlReplica
from app.adapters.sql.turns import SqlTurns
from app.domain.browse import MemoryFilter
from app.domain.conversation import Receipt, Turn
from app.domain.errors import CommitUnheard, StoreUnavailable
from app.domain.events import EventType, NewEvent
from app.domain.exports import ExportRequest
from app.domain.ledger import Standing
from app.domain.log import WalPartition
from app.domain.memory import Place
from app.domain.ports import Sent
from app.domain.proof_ports import ProofWish
from drills.proxy import Mode, Proxy
from tests.builders import a_batch, a_key, a_memory, a_message, a_receipt, a_step, an_id
from tests.conftest import ROOT, eventually
from tests.contracts.store_rig import CALL_SECONDS, TOPIC, PostgresRig

UNHURRIED_SECONDS = 3.0
"""What a busy machine may add."""


@pytest.fixture
def link(engine: Engine) -> Iterator[Proxy]:
    with Proxy(engine.url.host or "", engine.url.port or 0) as proxy:
        yield proxy


@pytest.fixture
def through(engine: Engine, link: Proxy) -> Iterator[Callable[..., Engine]]:
    """Makes pools on the link."""
    made: list[Engine] = []

    def make(patience: Patience = SERVING, size: int = 4) -> Engine:
        dsn = make_url(engine.url).set(port=link.port).render_as_string(hide_password=False)
        made.append(create_engine(dsn, size, "lied to", patience))
        return made[-1]

    yield make
    link.mode = Mode.PASS
    for pool in made:
        pool.dispose()


@pytest.fixture
def store(engine: Engine) -> Iterator[PostgresRig]:
    rig = PostgresRig(engine)
    yield rig
    rig.close()


def one(engine: Engine, statement: str, **values: object) -> object:
    with transaction(engine) as connection:
        return connection.execute(text(statement), values).scalar_one()


def answers(engine: Engine) -> bool:
    """Whether Postgres does, in the time that this engine gives it."""
    try:
        return one(engine, "SELECT 1") == 1
    except StoreUnavailable:
        return False


def timed(step: Callable[[], object]) -> float:
    """How long it takes until this says that Postgres is away."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        step()
    return time.monotonic() - began


@pytest.mark.parametrize(("patience", "bound"), [(SERVING, 1.2), (WORKING, 3.0)], ids=["serving", "working"])
@pytest.mark.parametrize("warm", [True, False], ids=["lent", "new"])
def test_a_black_hole_frees_whoever_wants_a_connection(
    link: Proxy,
    through: Callable[..., Engine],
    record_property: Callable[[str, object], None],
    patience: Patience,
    bound: float,
    warm: bool,
) -> None:
    pool = through(patience)
    if warm:
        eventually(lambda: answers(pool))
    link.mode = Mode.BLACK_HOLE

    seconds = timed(lambda: one(pool, "SELECT 1"))

    record_property("freed_after_seconds", round(seconds, 2))
    assert bound - 0.1 < seconds < bound + UNHURRIED_SECONDS
    link.mode = Mode.PASS
    assert eventually(lambda: answers(pool))


@pytest.mark.parametrize(("patience", "bound"), [(SERVING, 4.5), (WORKING, 6.0)], ids=["serving", "working"])
def test_a_black_hole_in_the_middle_of_a_transaction_frees_its_owner(
    link: Proxy, through: Callable[..., Engine], patience: Patience, bound: float
) -> None:
    pool = through(patience)

    def work() -> None:
        with transaction(pool) as connection:
            connection.execute(text("SELECT 1"))
            link.mode = Mode.BLACK_HOLE
            connection.execute(text("SELECT 1"))

    assert bound - 0.1 < timed(work) < bound + UNHURRIED_SECONDS


def test_a_busy_postgres_may_take_longer_than_a_dead_one(through: Callable[..., Engine]) -> None:
    pool = through(SERVING)

    assert one(pool, "SELECT pg_sleep(1.6) IS NULL") is False


def test_a_full_house_of_waiters_is_freed_together(link: Proxy, through: Callable[..., Engine]) -> None:
    pool = through(SERVING, 4)
    link.mode = Mode.BLACK_HOLE
    took: list[float] = []
    waiters = [threading.Thread(target=lambda: took.append(timed(lambda: one(pool, "SELECT 1")))) for _ in range(12)]

    for waiter in waiters:
        waiter.start()
    for waiter in waiters:
        waiter.join(10)

    assert len(took) == 12
    # Half of them got a place in the pool when its first holders had given up.
    assert max(took) < 2 * SERVING.greeting_seconds + UNHURRIED_SECONDS


def test_a_reset_in_the_middle_of_a_transaction_means_that_nothing_was_kept(
    link: Proxy, through: Callable[..., Engine]
) -> None:
    pool = through()

    def work() -> None:
        with transaction(pool) as connection:
            connection.execute(text("SELECT 1"))
            link.drop_connections()
            connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable) as caught:
        work()

    assert not isinstance(caught.value, CommitUnheard)
    assert one(pool, "SELECT 1") == 1


def test_a_commit_without_an_answer_is_neither_done_nor_undone(link: Proxy, through: Callable[..., Engine]) -> None:
    pool = through()
    link.cut_at_commit()

    with pytest.raises(CommitUnheard):
        one(pool, "SELECT 1")

    assert link.cuts == 1


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "without"])
def test_a_message_whose_commit_lost_its_answer_is_kept_once_and_said_to_be(
    link: Proxy, through: Callable[..., Engine], store: PostgresRig, keyed: bool, delivered: bool
) -> None:
    inbox, key = SqlInbox(through(), MemoryDefaults("", "wm")), a_key() if keyed else None
    session_id = an_id("s-")
    inbox.accept(a_message("before", session_id=session_id), None)
    message = a_message("hello", session_id=session_id)
    link.cut_at_commit(delivered=delivered)
    began = time.monotonic()

    receipt, _ = inbox.accept(message, key)

    assert time.monotonic() - began < 2
    assert (receipt.event_id, receipt.replayed) == (message.event_id, False)
    assert link.cuts == 1
    assert store.types(session_id) == ["user", "assistant.started"] * 2
    assert store.row("memory", message.event_id).state == "pending"
    if key is not None:
        again, _ = inbox.accept(a_message("hello", session_id=session_id), key)
        assert (again.event_id, again.replayed) == (message.event_id, True)


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "without"])
def test_memories_whose_commit_lost_its_answer_are_kept_once_and_said_to_be_new(
    link: Proxy, through: Callable[..., Engine], store: PostgresRig, keyed: bool, delivered: bool
) -> None:
    ledger, key = SqlLedger(through(), TOPIC, CALL_SECONDS), a_key() if keyed else None
    known, memory = a_memory("before"), a_memory("hello")
    ledger.accept([known])
    link.cut_at_commit(delivered=delivered)

    accepted = ledger.accept([known, memory, memory], key)

    assert [each.standing for each in accepted.memories] == [Standing.WAITING, Standing.NEW, Standing.WAITING]
    assert (accepted.replayed, link.cuts) == (False, 1)
    assert store.row("memory", memory.event_id).state == "pending"
    if key is not None:
        again = ledger.accept([known, memory, memory], key)
        assert again.replayed
        assert [each.standing for each in again.memories] == [Standing.WAITING] * 3


@pytest.fixture
def overtaken(link: Proxy, through: Callable[..., Engine]) -> Callable[[Callable[[], object]], SqlLedger]:
    """Makes a ledger whose next COMMIT does not happen, and lets somebody else act before it tries again."""

    def make(act: Callable[[], object]) -> SqlLedger:
        pool, begun = through(), iter([lambda: None, act])
        event.listen(pool, "begin", lambda _: next(begun)())
        link.cut_at_commit(delivered=False)
        return SqlLedger(pool, TOPIC, CALL_SECONDS)

    return make


def test_an_offer_that_was_overtaken_at_its_commit_does_not_claim_what_another_wrote(
    overtaken: Callable[[Callable[[], object]], SqlLedger], store: PostgresRig
) -> None:
    memory = a_memory("hello")
    ledger = overtaken(lambda: store.ledger.accept([a_memory("another", event_id=memory.event_id)]))

    (found,) = ledger.accept([memory]).memories

    assert found.standing is Standing.OTHER_CONTENT


def test_a_request_that_was_overtaken_at_its_commit_by_its_own_repetition_is_a_replay(
    overtaken: Callable[[Callable[[], object]], SqlLedger], store: PostgresRig
) -> None:
    memory, key = a_memory(), a_key()
    ledger = overtaken(lambda: store.ledger.accept([memory], key))

    accepted = ledger.accept([memory], key)

    assert accepted.replayed
    assert [each.standing for each in accepted.memories] == [Standing.WAITING]


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "without"])
def test_an_export_whose_commit_lost_its_answer_is_kept_once_and_is_no_replay(
    link: Proxy, through: Callable[..., Engine], keyed: bool, delivered: bool
) -> None:
    desk, key = SqlExportDesk(through(), 2**31), a_key() if keyed else None
    request = ExportRequest(an_id(), "t1", MemoryFilter(tenant="t1"), 10, gzip=False)
    link.cut_at_commit(delivered=delivered)

    receipt = desk.accept(request, key)

    assert (receipt, link.cuts) == (Receipt("", request.job_id), 1)
    assert desk.find(request.job_id) is not None
    if key is not None:
        assert desk.accept(replace(request, job_id=an_id()), key) == replace(receipt, replayed=True)


def test_a_message_whose_fate_cannot_be_read_in_time_is_no_promise(
    link: Proxy, through: Callable[..., Engine], record_property: Callable[[str, object], None]
) -> None:
    inbox = SqlInbox(through(), None)
    inbox.accept(a_message(), None)
    link.cut_at_commit(times=2)

    assert timed(lambda: inbox.accept(a_message(), a_key())) < 2

    link.mode = Mode.BLACK_HOLE
    seconds = timed(lambda: inbox.accept(a_message(), a_key()))
    record_property("answered_after_seconds", round(seconds, 2))
    assert seconds < 2


@pytest.fixture
def worker(link: Proxy, through: Callable[..., Engine], store: PostgresRig) -> SqlTurns:
    pool = through(WORKING)
    return SqlTurns(pool, Presence(pool, "lied to", 30), 30)


def claimed(store: PostgresRig, worker: SqlTurns) -> Turn:
    message = a_message()
    store.inbox.accept(message, None)
    turn = worker.claim(message.event_id)
    assert turn is not None
    return turn


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
def test_a_claim_whose_commit_lost_its_answer_is_held_or_free_and_its_owner_knows(
    link: Proxy, store: PostgresRig, worker: SqlTurns, delivered: bool
) -> None:
    message = a_message()
    store.inbox.accept(message, None)
    link.cut_at_commit(containing=b"UPDATE turns", delivered=delivered)

    turn = worker.claim(message.event_id)

    assert link.cuts == 1
    assert (turn is not None) == delivered
    assert store.row("turn", message.event_id).attempts == int(delivered)


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
def test_a_proof_whose_claims_commit_lost_its_answer_is_held_or_due_again(
    link: Proxy, through: Callable[..., Engine], engine: Engine, delivered: bool
) -> None:
    with transaction(engine) as connection:
        connection.execute(text("DELETE FROM reconcile_jobs"))
    job_id = SqlProofs(engine).ask(ProofWish(an_id("t-"), repair=False))
    pool = through(WORKING)
    desk = SqlProofDesk(pool, Presence(pool, "lied to", 30), 30, TOPIC)
    link.cut_at_commit(containing=b"UPDATE reconcile_jobs", delivered=delivered)

    job = desk.claim(job_id)

    assert link.cuts == 1
    assert (job is not None) == delivered
    assert desk.due(1) == ([] if delivered else [job_id])


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
def test_an_event_whose_commit_lost_its_answer_is_there_once(
    link: Proxy, store: PostgresRig, worker: SqlTurns, delivered: bool
) -> None:
    turn = claimed(store, worker)
    link.cut_at_commit(delivered=delivered)

    noted = worker.note(turn, NewEvent(f"{turn.event_id}:thinking:1", EventType.THINKING, "assistant", "", {}))

    assert (link.cuts, noted.seq) == (1, 3)
    assert store.types(turn.session_id) == ["user", "assistant.started", "assistant.thinking"]


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
def test_an_ending_whose_commit_lost_its_answer_is_kept_once_and_known(
    link: Proxy, store: PostgresRig, worker: SqlTurns, delivered: bool
) -> None:
    turn = claimed(store, worker)
    final = NewEvent(f"{turn.event_id}:answer", EventType.FINAL, "assistant", "hi", {"status": "completed"})
    link.cut_at_commit(delivered=delivered)

    ended = worker.finish(turn, final, "done", Place("t1", "wm", ""))

    assert (ended.seq, ended.message, link.cuts) == (3, "hi", 1)
    assert store.types(turn.session_id) == ["user", "assistant.started", "assistant.final"]
    assert store.row("memory", f"{turn.event_id}:answer").state == "pending"


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
def test_a_step_whose_commit_lost_its_answer_is_kept_once_with_its_calls(
    link: Proxy, store: PostgresRig, worker: SqlTurns, delivered: bool
) -> None:
    turn = claimed(store, worker)
    plan = a_step(turn, calls=2)
    link.cut_at_commit(delivered=delivered)

    events = worker.take_step(turn, plan)

    assert ([event.seq for event in events], link.cuts) == ([3, 4], 1)
    assert store.types(turn.session_id)[2:] == ["tool.start", "tool.start"]
    assert {store.row("tool_call", call.call_id).state for call in plan.calls} == {"queued"}
    assert store.row("turn", turn.event_id).state == "queued"


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
def test_deliveries_whose_commits_lost_their_answers_are_noted_once(
    link: Proxy, through: Callable[..., Engine], store: PostgresRig, delivered: bool
) -> None:
    pool, message = through(WORKING), a_message()
    store.inbox.accept(message, None)
    memories = SqlMemoryOutbox(pool, Presence(pool, "lied to", 30), 30, "memory.wal")
    (item,) = memories.claim_due(10)
    link.cut_at_commit(delivered=delivered)

    assert memories.synced([(item, a_receipt())]) == [message.event_id]

    records = SqlMessageOutbox(pool, Presence(pool, "lied to", 30), 30)
    (record,) = records.claim_due(10)
    link.cut_at_commit(delivered=delivered)
    records.sent([(record, Sent(0, 7))])
    ((state, _, sent),) = store.records_of("memory.wal", f"{message.event_id}:1")
    assert (state, sent, link.cuts) == ("sent", Sent(0, 7), 2)


def test_claimed_deliveries_whose_commit_lost_its_answer_are_worked_on(
    link: Proxy, through: Callable[..., Engine], store: PostgresRig
) -> None:
    message = a_message()
    store.inbox.accept(message, None)
    pool = through(WORKING)
    memories = SqlMemoryOutbox(pool, Presence(pool, "lied to", 30), 30, "memory.wal")
    link.cut_at_commit(delivered=False)
    assert memories.claim_due(10) == []
    link.cut_at_commit()

    (item,) = memories.claim_due(10)

    assert (item.memory.event_id, item.lease.attempts, link.cuts) == (message.event_id, 1, 2)


@pytest.mark.parametrize("delivered", [True, False], ids=["it happened", "it did not"])
def test_the_place_in_the_log_after_a_lost_commit_is_what_postgres_says(
    link: Proxy, through: Callable[..., Engine], delivered: bool
) -> None:
    replica, partition = SqlReplica(through(WORKING)), WalPartition(an_id("log-"), 0)
    place = replica.take(partition)
    batch = a_batch(partition, place.offset, b"not json", generation=place.generation)
    link.cut_at_commit(delivered=delivered)
    with pytest.raises(CommitUnheard):
        replica.store(batch, [], [])

    assert replica.take(partition).offset == int(delivered)


COPYING = """
import io, sys
import psycopg2
from app.adapters.sql import patience
from app.adapters.sql.engine import create_engine

connection, out = create_engine(sys.argv[1], 1).raw_connection(), io.StringIO()
try:
    connection.cursor().copy_expert("COPY (SELECT 7) TO STDOUT", out)
except psycopg2.ProgrammingError:
    print("refused")
patience.give_back()
connection.cursor().copy_expert("COPY (SELECT 7) TO STDOUT", out)
print(out.getvalue().strip())
"""


def test_what_a_frozen_process_held_in_a_transaction_is_free_before_its_slot_is_given_away(
    engine: Engine, record_property: Callable[[str, object], None]
) -> None:
    here = WalPartition(an_id("frozen-"), 0)
    replica = SqlReplica(engine)
    replica.take(here)

    def is_taken() -> bool:
        try:
            return replica.take(here).generation > 1
        except StoreUnavailable:
            return False

    def hold() -> None:
        """Like a process that is stopped between two statements: its connection lives and says nothing."""
        with transaction(engine) as connection:
            connection.execute(text("SELECT 1 FROM replicator_offsets WHERE topic = :t FOR UPDATE"), {"t": here.topic})
            eventually(is_taken)
            connection.execute(text("SELECT 1"))

    seconds = timed(hold)

    record_property("freed_after_seconds", round(seconds, 2))
    assert seconds < 6 + UNHURRIED_SECONDS


def test_a_process_that_has_to_copy_may_have_the_usual_waiting_back(engine: Engine) -> None:
    dsn = engine.url.render_as_string(hide_password=False)
    argv = [sys.executable, "-c", COPYING, dsn]

    done = subprocess.run(argv, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["refused", "7"], done.stderr


def test_a_heartbeat_that_was_cut_off_beats_again(
    link: Proxy, through: Callable[..., Engine], engine: Engine, record_property: Callable[[str, object], None]
) -> None:
    presence = Presence(through(WORKING, 1), "cut off", 30)
    age = "SELECT coalesce(max(extract(epoch FROM now() - seen_at)), 99)::float FROM processes WHERE owner = :owner"
    presence.start()
    eventually(lambda: one(engine, age, owner=presence.owner) < 1)  # type: ignore[operator]
    link.mode = Mode.BLACK_HOLE
    eventually(lambda: one(engine, age, owner=presence.owner) > 7)  # type: ignore[operator]

    link.mode = Mode.PASS
    began = time.monotonic()

    eventually(lambda: one(engine, age, owner=presence.owner) < 1)  # type: ignore[operator]
    record_property("beats_again_after_seconds", round(time.monotonic() - began, 2))
    # Also while the server still keeps the lock of the dead line: that one speaks for us.
    eventually(presence.is_known, 5)
    held = "SELECT pg_try_advisory_xact_lock(hashtextextended(:owner, 0))"
    eventually(lambda: one(engine, held, owner=presence.owner) is False)
    presence.stop()
