"""Callers' `Idempotency-Key`s: taken in the transaction that keeps what was asked for, and answered from it again."""

from sqlalchemy import Connection, text

from app.domain.conversation import Receipt, RequestKey
from app.domain.errors import Conflict, KeyReused

_TAKE_KEY = text("""
    INSERT INTO idempotency_keys (tenant, route, principal, key, body_digest)
    VALUES (:tenant, :route, :principal, :key, :body_digest)
    ON CONFLICT DO NOTHING
""")
_READ_KEY = text("""
    SELECT body_digest, session_id, event_id FROM idempotency_keys
    WHERE tenant = :tenant AND route = :route AND principal = :principal AND key = :key
""")
_ANSWER_KEY = text("""
    UPDATE idempotency_keys SET session_id = :session_id, event_id = :event_id
    WHERE tenant = :tenant AND route = :route AND principal = :principal AND key = :key
""")


def take_key(connection: Connection, key: RequestKey) -> Receipt | None:
    """None when the key is ours from now on; the first receipt when it was somebody's before, also if that
    somebody's transaction has just ended; `KeyReused` where it came with another body.
    """
    if connection.execute(_TAKE_KEY, _scope(key)).rowcount:
        return None
    row = connection.execute(_READ_KEY, _scope(key)).mappings().one_or_none()
    if row is None:
        raise Conflict("this Idempotency-Key has just expired; send the request again")
    if row["body_digest"] != key.body_digest:
        raise KeyReused("this Idempotency-Key was used with another body; use a new key for a new request")
    return Receipt(row["session_id"], row["event_id"], replayed=True)


def answer_key(connection: Connection, key: RequestKey, receipt: Receipt) -> None:
    """Remember what this key was answered with."""
    answer = {"session_id": receipt.session_id, "event_id": receipt.event_id}
    connection.execute(_ANSWER_KEY, _scope(key) | answer)


def _scope(key: RequestKey) -> dict[str, object]:
    return {
        "tenant": key.tenant,
        "route": key.route,
        "principal": key.principal,
        "key": key.key,
        "body_digest": key.body_digest,
    }
