"""What can happen to workers: killed, stopped past their lease, killed by one message every time."""

import time
from contextlib import ExitStack

from drills.ground import QUICK_PAUSE
from drills.record import mark_of
from drills.trouble import Stage

CONVERSATION, SECOND = "worker-conversation", "worker-conversation-2"
FATAL = "m900005 this message kills whoever answers it"
FATAL_ATTEMPTS = 5
SETTLE_SECONDS = 150.0
ANSWERING_SECONDS = 30.0
LONG_SECONDS, LONG_EVERY = 9.0, 12
_HELD = """
    SELECT count(*) FROM turns t JOIN session_events e
      ON e.session_id = t.session_id AND e.turn_seq = t.seq AND e.type = 'assistant.thinking'
    WHERE t.tenant = %(tenant)s AND t.state = 'running' AND t.lease_owner LIKE '%%:{pid}:%%'
      AND e.created_at BETWEEN now() - interval '6 s' AND now() - interval '{seconds} s'
"""
_TURN = "SELECT state, attempts FROM turns WHERE tenant = '{tenant}'"


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
    with stage.joined_by(SECOND), stage.model.at_pace(_long_now_and_then):
        stage.rest(3)
        for _ in range(stage.times(2)):
            _await_answering(stage, 2.0)
            with stage.frozen(CONVERSATION):
                stage.feel(lambda: stage.stack.status()[CONVERSATION].state == "frozen")
                time.sleep(9)  # the lease is 5 s in this drill and is not scaled
            stage.rest(4)


def _long_now_and_then(text: str) -> float:
    if int(mark_of(text)[1:] or "1") % LONG_EVERY:
        return QUICK_PAUSE
    return LONG_SECONDS / (len(text.split()) + 5)


def _await_answering(stage: Stage, seconds: float) -> None:
    """Wait, for a while, until the worker has been writing an answer for so long: what strikes it now strikes that."""
    question = _HELD.format(pid=stage.stack.status()[CONVERSATION].pid, seconds=seconds)
    deadline = time.monotonic() + ANSWERING_SECONDS
    while not stage.sql(question)[0][0] and time.monotonic() < deadline:
        time.sleep(0.1)


def fatal_message(stage: Stage) -> None:
    """Send one message that kills its worker whenever the model is asked about it, and wait until it is set aside."""
    tenant = f"{stage.target.tenant}-fatal"
    deaths: list[float] = []

    def strike(text: str) -> None:
        if text.startswith("m900005"):
            deaths.append(time.time())
            stage.kill(CONVERSATION)

    with ExitStack() as undo:
        stage.model.listen_to(strike)
        undo.callback(stage.model.listen_to, lambda _text: None)
        stage.post(FATAL, tenant)
        deadline = time.monotonic() + SETTLE_SECONDS
        while not _is_over(stage, tenant) and time.monotonic() < deadline:
            time.sleep(0.5)
    stage.stack.wait_ready(CONVERSATION)
    stage.later.append(lambda: _set_aside(stage, tenant, len(deaths)))


def _is_over(stage: Stage, tenant: str) -> bool:
    rows = stage.sql(_TURN.format(tenant=tenant))
    return bool(rows) and rows[0][0] not in ("queued", "running")


def _set_aside(stage: Stage, tenant: str, deaths: int) -> list[str]:
    rows = stage.sql(_TURN.format(tenant=tenant))
    state = rows[0][0] if rows else "missing"
    found = [] if state == "dead" else [f"the fatal message is {state} instead of dead"]
    if deaths != FATAL_ATTEMPTS:
        found.append(f"the fatal message killed {deaths} workers, exactly {FATAL_ATTEMPTS} are allowed")
    return found
