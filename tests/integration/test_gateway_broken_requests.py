"""What is no HTTP never reaches the application, and is answered in the form of every other error."""

import json
from email.parser import BytesHeaderParser

import pytest

from tests.integration.gateway_process import SAFE_HEADERS, Gateway

pytestmark = pytest.mark.servers
HEAD = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n"
BROKEN = {
    "no request at all": (b"secret\r\n\r\n", 400),
    "an unknown version": (b"GET /healthz HTTP/7.3\r\nHost: secret\r\n\r\n", 400),
    "a header with a space in its name": (HEAD + b"X secret: 1\r\n\r\n", 400),
    "a header without a colon": (HEAD + b"secret\r\n\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "an address too long": (b"GET /" + b"secret" * 2000 + b" HTTP/1.1\r\nHost: gateway\r\n\r\n", 414),
    "a header too long": (HEAD + b"X-Long: " + b"secret" * 2000 + b"\r\n\r\n", 431),
    "too many headers": (HEAD + b"X-Secret: 1\r\n" * 200 + b"\r\n", 431),
    "an unknown coding": (HEAD + b"Transfer-Encoding: secret\r\n\r\n", 501),
}


@pytest.mark.parametrize(("request_bytes", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_request_is_answered_with_a_problem(gateway: Gateway, request_bytes: bytes, status: int) -> None:
    head, _, body = gateway.raw(request_bytes).partition(b"\r\n\r\n")
    line, _, rest = head.partition(b"\r\n")
    headers, problem = BytesHeaderParser().parsebytes(rest), json.loads(body)

    assert line.startswith(f"HTTP/1.1 {status} ".encode())
    assert headers["Content-Type"] == "application/problem+json"
    assert (headers["Connection"], int(headers["Content-Length"])) == ("close", len(body))
    assert SAFE_HEADERS.items() <= dict(headers).items()
    assert problem.keys() == {"type", "title", "status", "detail", "request_id"}
    assert (problem["status"], problem["request_id"]) == (status, headers["X-Request-ID"])
    assert problem["detail"].endswith(".")
    assert b"secret" not in body.lower()
