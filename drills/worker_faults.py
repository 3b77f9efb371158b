"""What can happen to workers: killed, stopped past their lease, killed by one message every time."""

import time

import psutil

from drills.ground import QUICK_PAUSE
from drills.trouble import Stage

CONVERSATION, SECOND = "worker-conversation", "worker-conversation-2"
FATAL = "m900005 this message kills whoever answers it"
FATAL_ATTEMPTS = 5
SHARED_DEATHS = 2
SETTLE_SECONDS = 150.0
ANSWERING_SECONDS = 30.0
LONG_SECONDS, LONG_EVERY_SECONDS = 9.0, 2.4
_HELD = """
    SELECT count(*) FROM turns t JOIN session_events e
      ON e.session_id = t.session_id AND e.turn_seq = t.seq AND e.type = 'assistant.thinking'
    WHERE t.tenant = %(tenant)s AND t.state = 'running' AND t.lease_owner LIKE '%%:{pid}:%%'
      AND e.created_at BETWEEN now() - interval '6 s' AND now() - interval '{seconds} s'
"""
_TURN = "SELECT state, attempts FROM turns WHERE tenant = %(tenant)s"


def kill_tree(stage: Stage) -> None:
    """SIGKILL the worker that answers, again and again."""
    for _ in range(stage.times(10)):
        _await_answering(stage, 0.2)
        stage.kill(CONVERSATION)
        stage.rest(2)


def zombie(stage: Stage) -> None:
    """Stop a worker past its lease beside a live one, then let it go on with what is no longer its own.

    Some answers take so long that the other worker still writes them anew when the first one brings its own.
    """
    with stage.joined_by(SECOND), stage.model.at_pace(_LongNowAndThen()):
        stage.rest(3)
        for _ in range(stage.times(2)):
            in_the_middle = _await_answering(stage, 2.0)
            with stage.frozen(CONVERSATION):
                stage.felt += in_the_middle and stage.stack.status()[CONVERSATION].state == "frozen"
                time.sleep(9)  # the lease is 5 s in this drill and is not scaled
            stage.rest(4)


class _LongNowAndThen:
    """A pace: answers are quick, and every few seconds one is long, each time that it is begun."""

    def __init__(self) -> None:
        self._next = time.monotonic()
        self._long: set[str] = set()

    def __call__(self, text: str) -> float:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LONG_EVERY_SECONDS
            self._long.add(text)
        return LONG_SECONDS / (len(text.split()) + 5) if text in self._long else QUICK_PAUSE


def _await_answering(stage: Stage, seconds: float) -> bool:
    """Wait, for a while, until the worker has been writing an answer for so long: what strikes it now strikes that."""
    question = _HELD.format(pid=stage.stack.status()[CONVERSATION].pid, seconds=seconds)
    deadline = time.monotonic() + ANSWERING_SECONDS
    while not (found := bool(stage.sql(question)[0][0])) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def fatal_message(stage: Stage) -> None:
    """Send one message that kills the process that asks the model about it, and wait until it is set aside."""
    send_a_killer(stage, "fatal", FATAL_ATTEMPTS + 1, "dead", FATAL_ATTEMPTS)


def one_child(stage: Stage) -> None:
    """Send one message that kills two workers, then once the process that it has for itself, and is answered then."""
    send_a_killer(stage, "child", SHARED_DEATHS + 1, "done", SHARED_DEATHS + 1)


def send_a_killer(stage: Stage, name: str, most: int, end: str, deaths: int) -> None:
    """A message that kills at most so many processes; how it has to end, and after how many deaths."""
    tenant = f"{stage.target.tenant}-{name}"
    killed: list[int] = []
    worker_lives = stage.stack.status()[CONVERSATION].restarts

    def strike(text: str, port: int) -> None:
        if text.startswith("m900005") and len(killed) < most:
            asker = _who_asks_by(port, stage)
            killed.append(asker.pid)
            asker.kill()
            stage.felt += 1

    with stage.model.heard_by(strike):
        stage.post(FATAL, tenant)
        deadline = time.monotonic() + SETTLE_SECONDS
        while not _is_over(stage, tenant) and time.monotonic() < deadline:
            time.sleep(0.5)
    stage.stack.wait_ready(CONVERSATION)
    lives = stage.stack.status()[CONVERSATION].restarts - worker_lives
    stage.later.append(lambda: [*_ended(stage, tenant, end), *_counted(len(killed), deaths, lives)])


def _who_asks_by(port: int, stage: Stage) -> psutil.Process:
    """The process whose end of a connection has this port: the worker, or one that a turn has for itself."""
    pid = stage.stack.status()[CONVERSATION].pid
    assert pid is not None
    worker = psutil.Process(pid)
    for process in (worker, *worker.children(recursive=True)):
        if any(connection.laddr.port == port for connection in process.net_connections("tcp")):
            return process
    raise RuntimeError(f"no process of {CONVERSATION} has a connection from port {port}")


def _is_over(stage: Stage, tenant: str) -> bool:
    rows = stage.sql(_TURN, tenant=tenant)
    return bool(rows) and rows[0][0] not in ("queued", "running")


def _ended(stage: Stage, tenant: str, wanted: str) -> list[str]:
    rows = stage.sql(_TURN, tenant=tenant)
    state = rows[0][0] if rows else "missing"
    return [] if state == wanted else [f"the message that kills is {state} instead of {wanted}"]


def _counted(killed: int, allowed: int, worker_deaths: int) -> list[str]:
    found = [] if killed == allowed else [f"it killed {killed} processes, exactly {allowed} are expected"]
    if worker_deaths > SHARED_DEATHS:
        found.append(f"it killed the shared worker {worker_deaths} times, at most {SHARED_DEATHS} are allowed")
    return found
