"""Health gates: small questions that are answered only by a part that can really work."""

import contextlib
import http.client
import socket
import struct

import psycopg2

from devstack.part import Gate

_SECONDS = 2.0
_METADATA_REQUEST = struct.pack(">ihhihi", 14, 3, 0, 1, -1, 0)


def http_status(port: int, path: str) -> int:
    """The status of a GET on loopback; 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def http_200(port: int, path: str) -> Gate:
    """Open once the path answers 200."""
    return lambda: http_status(port, path) == 200


def http_any(port: int, path: str = "/") -> Gate:
    """Open once the path answers at all."""
    return lambda: http_status(port, path) > 0


def redis(port: int, password: str) -> Gate:
    """Open once commands are served, which is after the append-only file is loaded."""

    def ask() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), _SECONDS) as link:
            link.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            heard = b""
            while heard.count(b"\r\n") < 2 and (more := link.recv(256)):
                heard += more
            return heard.endswith(b"+PONG\r\n")
        return False

    return ask


def kafka(port: int) -> Gate:
    """Open once the broker names a broker that may be used: itself, after it has joined its controller."""

    def ask() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), _SECONDS) as link:
            link.sendall(_METADATA_REQUEST)
            heard = b""
            while len(heard) < 12 and (more := link.recv(4096)):
                heard += more
            return len(heard) >= 12 and struct.unpack(">iii", heard[:12])[2] > 0
        return False

    return ask


def postgres(dsn: str) -> Gate:
    """Open once a session can be opened."""

    def ask() -> bool:
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(dsn, connect_timeout=2).close()
            return True
        return False

    return ask
