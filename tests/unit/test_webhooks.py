"""How a delivery is signed, what an answer means, which addresses are public."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.domain.egress import is_public
from app.domain.webhooks import Reply, Verdict, new_secret, signed

BODY = '{"type":"assistant.final","data":{"message":"grüße"}}'.encode()
SECRET, OTHER = new_secret(bytes(range(32))), new_secret(b"x" * 32)


def test_the_official_package_takes_our_signature() -> None:
    headers = signed("msg_1", BODY, datetime.now(UTC), [SECRET])

    assert Webhook(SECRET).verify(BODY, headers)["data"]["message"] == "grüße"
    for wrong in (BODY + b" ", b"{}"):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(wrong, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(BODY, headers)


def test_every_secret_that_is_valid_signs() -> None:
    headers = signed("msg_1", BODY, datetime.now(UTC), [OTHER, SECRET])

    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(BODY, headers)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.TAKEN), (204, Verdict.TAKEN), (299, Verdict.TAKEN),
        (400, Verdict.WRONG), (413, Verdict.WRONG), (415, Verdict.WRONG), (422, Verdict.WRONG),
        (410, Verdict.GONE),
        (301, Verdict.LATER), (401, Verdict.LATER), (404, Verdict.LATER), (408, Verdict.LATER), (429, Verdict.LATER),
        (500, Verdict.LATER), (503, Verdict.LATER),
    ],
)  # fmt: skip
def test_an_answer_means(status: int, verdict: Verdict) -> None:
    assert Reply(status).verdict is verdict


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "64:ff9b::7f00:1", "localhost", "",
    ],
)  # fmt: skip
def test_every_other_address_is_not(address: str) -> None:
    assert not is_public(address)
