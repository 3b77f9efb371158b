"""What may be lost is sent in the background: callers never wait, and a peer that is away is left alone for a while."""

import threading
import time
from collections.abc import Sequence

from app.adapters.background import Background
from tests.conftest import eventually


class Peer:
    """Takes items, or is away, or is stuck."""

    def __init__(self) -> None:
        self.taken: list[object] = []
        self.tried = 0
        self.away = False
        self.gate = threading.Event()
        self.gate.set()

    def take(self, items: Sequence[object]) -> None:
        self.tried += 1
        self.gate.wait(10)
        if self.away:
            raise ConnectionError
        self.taken.extend(items)


def background(peer: Peer, **options: float) -> "Background[object]":
    return Background("test", peer.take, (OSError,), **options)  # type: ignore[arg-type]


def test_items_go_out_in_order() -> None:
    peer = Peer()
    line = background(peer)
    for number in range(100):
        line.put(number, number)

    eventually(lambda: len(peer.taken) == 100)
    assert peer.taken == list(range(100))


def test_a_caller_never_waits_for_a_stuck_peer() -> None:
    peer = Peer()
    peer.gate.clear()
    line = background(peer)
    began = time.monotonic()
    for number in range(1000):
        line.put(number, number)

    assert time.monotonic() - began < 10  # the gate opens only afterwards: waiting for the peer would never end
    peer.gate.set()


def test_equal_hints_that_wait_are_sent_once() -> None:
    peer = Peer()
    peer.gate.clear()
    line = background(peer)
    line.put("first", "first")
    eventually(lambda: peer.tried == 1)
    for number in range(50):
        line.put("again", number)
    peer.gate.set()

    eventually(lambda: len(peer.taken) == 2)
    assert peer.taken == ["first", 49]


def test_a_full_line_drops_what_comes_last() -> None:
    peer = Peer()
    peer.gate.clear()
    line = background(peer, capacity=3)
    line.put("stuck", "stuck")
    eventually(lambda: peer.tried == 1)
    for number in range(10):
        line.put(number, number)
    peer.gate.set()

    eventually(lambda: len(peer.taken) == 4)
    assert peer.taken == ["stuck", 0, 1, 2]


def test_a_peer_that_is_away_is_not_tried_for_every_item_and_heard_again_later() -> None:
    peer = Peer()
    peer.away = True
    line = background(peer, latch_seconds=0.2)
    for number in range(100):
        line.put(number, number)
    eventually(lambda: not line._waiting)
    assert peer.tried < 10

    peer.away = False

    def heard() -> bool:
        line.put("back", "back")
        return "back" in peer.taken

    assert eventually(heard)


def test_a_hint_that_rests_is_sent_at_once_and_then_once_for_all_that_came_meanwhile() -> None:
    peer = Peer()
    line = background(peer)
    line.put("look", 0, rest_seconds=0.3)
    eventually(lambda: peer.taken == [0])
    for number in range(1, 50):
        line.put("look", number, rest_seconds=0.3)
    line.put("other", "other")

    eventually(lambda: len(peer.taken) == 3)
    assert peer.taken == [0, "other", 49]


def test_what_waits_together_is_sent_together() -> None:
    peer = Peer()
    peer.gate.clear()
    line = background(peer)
    line.put("first", "first")
    eventually(lambda: peer.tried == 1)
    for number in range(50):
        line.put(number, number)
    peer.gate.set()

    eventually(lambda: len(peer.taken) == 51)
    assert peer.tried == 2
