"""The proxy of the drills breaks exactly what it says, and heals it again."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from drills.proxy import Mode, Proxy
from tests.conftest import eventually

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
BEGIN = b"Q\x00\x00\x00\x0aBEGIN\x00"


class Echo:
    """A server that says everything back and remembers what it heard."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(65_536):
                    self.heard += piece
                    connection.sendall(piece)
            except OSError:
                pass
        self.ended += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo.port) as running:
        yield running


@pytest.fixture
def dial(proxy: Proxy) -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", proxy.port), timeout=5))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def says_back(connection: socket.socket, words: bytes) -> bool:
    connection.sendall(words)
    heard = b""
    while len(heard) < len(words):
        piece = connection.recv(65_536)
        if not piece:
            return False
        heard += piece
    return heard == words


def is_silent(connection: socket.socket, seconds: float = 0.3) -> bool:
    connection.settimeout(seconds)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)
    return False


def test_everything_passes_in_both_directions(dial: Callable[[], socket.socket]) -> None:
    assert says_back(dial(), bytes(range(256)) * 4000)


def test_many_connections_need_one_thread(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    before = threading.active_count()
    proxied = [dial() for _ in range(20)]

    assert all(says_back(connection, b"hello") for connection in proxied)
    assert proxy.accepted == proxy.open_connections == 20
    # The other twenty are the echo server's.
    assert threading.active_count() <= before + 20


def test_a_client_that_leaves_is_seen_to_leave(proxy: Proxy, echo: Echo, dial: Callable[[], socket.socket]) -> None:
    connection = dial()
    assert says_back(connection, b"hello")

    connection.close()

    eventually(lambda: echo.ended == 1 and proxy.open_connections == 0, 5)


def test_refused_is_refused_at_once_and_the_port_stays_ours(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    connection = dial()
    assert says_back(connection, b"hello")

    proxy.mode = Mode.REFUSE

    with pytest.raises(ConnectionRefusedError):
        dial()
    assert connection.recv(1) == b""
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", proxy.port))
    proxy.mode = Mode.PASS
    assert says_back(dial(), b"hello again")


def test_a_black_hole_takes_everything_and_gives_it_up_when_it_closes(
    proxy: Proxy, echo: Echo, dial: Callable[[], socket.socket]
) -> None:
    old = dial()
    assert says_back(old, b"one")
    proxy.mode = Mode.BLACK_HOLE
    new = dial()

    old.sendall(b"two")
    new.sendall(b"three")

    assert is_silent(old)
    assert is_silent(new)
    assert echo.heard == b"one"
    proxy.mode = Mode.PASS
    assert (old.recv(10), new.recv(10)) == (b"two", b"three")


def test_an_end_does_not_come_out_of_a_black_hole(proxy: Proxy, echo: Echo, dial: Callable[[], socket.socket]) -> None:
    connection = dial()
    assert says_back(connection, b"one")
    proxy.mode = Mode.BLACK_HOLE

    connection.close()

    assert is_silent(dial())
    assert echo.ended == 0
    proxy.mode = Mode.PASS
    eventually(lambda: echo.ended == 1, 5)


def test_reset_breaks_old_connections_and_new_ones(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    connection = dial()
    assert says_back(connection, b"hello")

    proxy.mode = Mode.RESET

    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    with pytest.raises(ConnectionResetError):
        dial().recv(1)


def test_dropped_connections_are_reset_and_new_ones_welcome(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    connection = dial()
    assert says_back(connection, b"hello")

    proxy.drop_connections()

    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert says_back(dial(), b"hello")


def test_connections_that_are_dropped_in_a_black_hole_end_without_a_complaint(
    proxy: Proxy, dial: Callable[[], socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    old = dial()
    assert says_back(old, b"hello")
    proxy.mode = Mode.BLACK_HOLE
    dial().sendall(b"never answered")
    eventually(lambda: proxy.open_connections == 2, 5)

    proxy.drop_connections()

    eventually(lambda: proxy.open_connections == 0, 5)
    proxy.mode = Mode.PASS
    assert says_back(dial(), b"hello")
    assert caplog.text == ""


def test_delay_makes_everything_slow_and_nothing_wrong(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    proxy.delay_seconds = 0.1
    connection = dial()
    proxy.mode = Mode.DELAY

    began = time.monotonic()
    assert says_back(connection, b"hello")

    assert time.monotonic() - began >= 0.2


def test_a_drip_comes_byte_by_byte_until_it_is_healed(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    proxy.drip_seconds = 0.02
    connection = dial()
    proxy.mode = Mode.DRIP
    connection.sendall(b"hello, how are you?" * 1000)

    assert [connection.recv(100) for _ in range(3)] == [b"h", b"e", b"l"]
    proxy.mode = Mode.PASS
    rest = b""
    while len(rest) < 19_000 - 3:
        rest += connection.recv(65_536)
    assert rest.endswith(b"you?")


@pytest.mark.parametrize("count", [0, 1, 7])
def test_an_answer_is_cut_after_exactly_so_many_bytes(
    proxy: Proxy, dial: Callable[[], socket.socket], count: int
) -> None:
    proxy.cut_at_bytes(count)
    connection = dial()
    connection.sendall(b"hello, how are you?")

    heard = b""
    while piece := connection.recv(100):
        heard += piece

    assert heard == b"hello, how are you?"[:count]
    assert proxy.cuts == 1
    proxy.cut_at_bytes(None)
    assert says_back(dial(), b"hello, how are you?")


def test_a_commit_arrives_and_its_answer_does_not(proxy: Proxy, echo: Echo, dial: Callable[[], socket.socket]) -> None:
    connection = dial()
    proxy.cut_at_commit()
    assert says_back(connection, BEGIN)

    connection.sendall(COMMIT)

    with pytest.raises(ConnectionResetError):
        connection.recv(100)
    assert echo.heard == BEGIN + COMMIT
    assert proxy.cuts == 1
    assert says_back(dial(), COMMIT)


def test_a_commit_may_be_kept_from_the_server(proxy: Proxy, echo: Echo, dial: Callable[[], socket.socket]) -> None:
    connection = dial()
    proxy.cut_at_commit(delivered=False)
    assert says_back(connection, BEGIN)

    connection.sendall(COMMIT)

    with pytest.raises(ConnectionResetError):
        connection.recv(100)
    assert echo.heard == BEGIN


def test_only_the_transaction_with_the_named_statement_is_cut(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    other, named = dial(), dial()
    proxy.cut_at_commit(containing=b"INTO turns")
    assert says_back(other, BEGIN)
    assert says_back(other, b"UPDATE sessions")
    assert says_back(other, COMMIT)
    assert says_back(named, BEGIN)
    assert says_back(named, b"INSERT IN")
    assert says_back(named, b"TO turns")

    named.sendall(COMMIT)

    with pytest.raises(ConnectionResetError):
        named.recv(100)
    assert says_back(other, COMMIT)


def test_a_statement_of_an_earlier_transaction_does_not_count(proxy: Proxy, dial: Callable[[], socket.socket]) -> None:
    connection = dial()
    proxy.cut_at_commit(containing=b"INTO turns")
    assert says_back(connection, BEGIN + b"INSERT INTO turns")

    assert says_back(connection, b"Q\x00\x00\x00\x0dROLLBACK\x00")
    assert says_back(connection, BEGIN)
    assert says_back(connection, COMMIT)
    assert proxy.cuts == 0
