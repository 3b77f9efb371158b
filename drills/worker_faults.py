"""What can happen to workers: killed, stopped past their lease, killed by one message every time."""

import time
from contextlib import ExitStack

import psutil

from drills.trouble import Stage

CONVERSATION, SECOND = "worker-conversation", "worker-conversation-2"
FATAL = "m900005 this message kills whoever answers it"
FATAL_ATTEMPTS = 5
SHARED_DEATHS = 2
SETTLE_SECONDS = 150.0
_TURN = "SELECT state, attempts FROM turns WHERE tenant = %(tenant)s"


def kill_tree(stage: Stage) -> None:
    """SIGKILL the worker that answers, again and again."""
    for _ in range(stage.times(10)):
        stage.kill(CONVERSATION)
        stage.rest(2)


def zombie(stage: Stage) -> None:
    """Stop a worker past its lease beside a live one, then let it go on with what is no longer its own."""
    with stage.joined_by(SECOND):
        stage.rest(3)
        for _ in range(stage.times(2)):
            with stage.frozen(CONVERSATION):
                stage.feel(lambda: stage.stack.status()[CONVERSATION].state == "frozen")
                time.sleep(9)  # the lease is 5 s in this drill and is not scaled
            stage.rest(4)


def fatal_message(stage: Stage) -> None:
    """Send one message that kills the process that asks the model about it, and wait until it is set aside."""
    tenant = f"{stage.target.tenant}-fatal"
    killed: list[int] = []
    worker_lives = stage.stack.status()[CONVERSATION].restarts

    def strike(text: str, port: int) -> None:
        if text.startswith("m900005"):
            asker = _who_asks_by(port, stage)
            killed.append(asker.pid)
            asker.kill()
            stage.felt += 1

    with ExitStack() as undo:
        stage.model.listen_to(strike)
        undo.callback(stage.model.listen_to, lambda _text, _port: None)
        stage.post(FATAL, tenant)
        deadline = time.monotonic() + SETTLE_SECONDS
        while not _is_over(stage, tenant) and time.monotonic() < deadline:
            time.sleep(0.5)
    stage.stack.wait_ready(CONVERSATION)
    lives = stage.stack.status()[CONVERSATION].restarts - worker_lives
    stage.later.append(lambda: _set_aside(stage, tenant, len(killed), lives))


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


def _set_aside(stage: Stage, tenant: str, deaths: int, worker_deaths: int) -> list[str]:
    rows = stage.sql(_TURN, tenant=tenant)
    state = rows[0][0] if rows else "missing"
    found = [] if state == "dead" else [f"the fatal message is {state} instead of dead"]
    if deaths != FATAL_ATTEMPTS:
        found.append(f"the fatal message killed {deaths} processes, exactly {FATAL_ATTEMPTS} are allowed")
    if worker_deaths > SHARED_DEATHS:
        found.append(f"it killed the shared worker {worker_deaths} times, at most {SHARED_DEATHS} are allowed")
    return found
