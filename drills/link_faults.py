"""What can happen on the way: links that hang half-open, that break at COMMIT, answers that are lost or wrong."""

import time

from drills.brain_front import Manner
from drills.links import LinkedStack
from drills.proxy import Mode, Proxy
from drills.trouble import Stage

CUTS = 4


def links_of(stage: Stage) -> LinkedStack:
    """The stage's stack, which has to be one with links."""
    assert isinstance(stage.stack, LinkedStack), "this fault needs proxies between the processes and the servers"
    return stage.stack


def _half_open(stage: Stage, link: Proxy, seconds: float) -> None:
    stage.felt += link.open_connections > 0
    link.mode = Mode.BLACK_HOLE
    try:
        stage.rest(seconds)
    finally:
        link.drop_connections()
        link.mode = Mode.PASS


def redis_half_open(stage: Stage) -> None:
    """Connections to Redis stay open for 20 s and nothing comes through; then they are gone."""
    _half_open(stage, links_of(stage).redis, 20)


def postgres_half_open(stage: Stage) -> None:
    """The same for Postgres, for 15 s."""
    _half_open(stage, links_of(stage).postgres, 15)


def cut_at_commit(stage: Stage) -> None:
    """Commits whose answer is lost, and commits that never arrive, some every two seconds."""
    link = links_of(stage).postgres
    before = link.cuts
    for number in range(stage.times(8)):
        link.cut_at_commit(CUTS, delivered=number % 4 != 3)
        stage.rest(2)
    link.cut_at_commit(0)
    stage.felt += link.cuts - before
    stage.figures["commits that were cut"] = link.cuts - before


def bad_answers(stage: Stage) -> None:
    """500s, 429 with Retry-After 7, answers that drip, garbage, 10 MB, one after the other."""
    front = links_of(stage).front
    try:
        for manner in (Manner.ERROR, Manner.REFUSE, Manner.DRIP, Manner.GARBAGE, Manner.HUGE):
            before = front.answered[manner]
            front.manner = manner
            stage.rest(8)
            stage.felt += front.answered[manner] > before
    finally:
        front.manner = Manner.PASS


def reply_lost(stage: Stage) -> None:
    """SomaBrain does what it is asked and the reply is lost, again and again."""
    front = links_of(stage).front
    until = time.monotonic() + 15 * stage.scale
    try:
        while time.monotonic() < until:
            front.manner = Manner.APPLY_AND_DROP
            stage.rest(3)
            front.manner = Manner.PASS
            stage.rest(1)
    finally:
        front.manner = Manner.PASS
    stage.felt += front.answered[Manner.APPLY_AND_DROP]
