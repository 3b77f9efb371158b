"""How a delivery is signed and what an answer means."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

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
