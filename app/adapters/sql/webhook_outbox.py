"""Deliveries on their way to their receivers, endpoint by endpoint.

An endpoint whose delivery failed waits as a whole until that one is due again, and that one goes first: so a receiver
that is away is asked once per pause, however much it is owed, and its pauses grow.
"""

from collections.abc import Mapping
from itertools import groupby

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.engine import transaction
from app.adapters.sql.outboxes import Outbox
from app.adapters.sql.presence import Holder
from app.adapters.sql.webhook_secrets import WebhookSecrets
from app.adapters.sql.work_kinds import WEBHOOKS
from app.domain.vault import Vault
from app.domain.webhooks import Batch, Endpoint, OwedDelivery

_OF_THIS = f"w.webhook_id = h.webhook_id AND {WEBHOOKS.due_sql}"
_FIRST = "ORDER BY w.outage DESC, w.run_at"
_CHOOSE = text(f"""
    WITH free AS (
        SELECT h.webhook_id, h.url, h.secret, CASE WHEN h.old_until > now() THEN h.old_secret END AS old_secret
        FROM webhooks h
        CROSS JOIN LATERAL (SELECT w.run_at FROM webhook_deliveries w WHERE {_OF_THIS} {_FIRST} LIMIT 1) first
        WHERE h.enabled
          AND NOT EXISTS (SELECT 1 FROM webhook_deliveries w WHERE w.webhook_id = h.webhook_id
                          AND w.lease_owner IS NOT NULL AND w.lease_until > now())
          AND NOT EXISTS (SELECT 1 FROM webhook_deliveries w WHERE w.webhook_id = h.webhook_id
                          AND w.state = 'pending' AND w.outage AND w.run_at > now())
        ORDER BY first.run_at LIMIT :endpoints)
    SELECT h.*, due.delivery_id, due.last_try FROM free h
    CROSS JOIN LATERAL (
        SELECT w.delivery_id, w.created_at < now() - make_interval(secs => :keep_seconds) AS last_try
        FROM webhook_deliveries w WHERE {_OF_THIS} {_FIRST} LIMIT :each) due
""")  # noqa: S608
_SWITCH_OFF = text("""
    UPDATE webhooks SET enabled = false, last_error = :reason, updated_at = now() WHERE webhook_id = :webhook_id
""")


class SqlWebhookOutbox(Outbox):
    """`WebhookOutbox` on Postgres; what fails after `keep_seconds` fails for the last time."""

    def __init__(
        self, engine: Engine, presence: Holder, lease_seconds: float, keep_seconds: float, vault: Vault
    ) -> None:
        super().__init__(engine, WEBHOOKS, presence, lease_seconds)
        self._secrets = WebhookSecrets(vault)
        self._keep_seconds = keep_seconds

    def claim_batches(self, endpoints: int, each: int) -> list[Batch]:
        """A batch for each endpoint that may be asked now, those first that have waited longest."""
        chosen = self._choose(endpoints, each)
        rows = self._claim(len(chosen), list(chosen)) if chosen else []
        rows.sort(key=lambda row: (row["webhook_id"], not row["outage"], row["run_at"], row["created_at"]))
        return [self._batch(list(group), chosen) for _, group in groupby(rows, lambda row: row["webhook_id"])]

    def _batch(self, rows: list[RowMapping], chosen: Mapping[str, RowMapping]) -> Batch:
        place = chosen[rows[0]["delivery_id"]]
        kept = (place["secret"], place["old_secret"])
        opened = [self._secrets.opened(each, place["webhook_id"]) for each in kept if each]
        owed = [
            OwedDelivery(self._leases.lease_of(row), row["payload"], chosen[row["delivery_id"]]["last_try"])
            for row in rows
        ]
        return Batch(Endpoint(place["webhook_id"], place["url"], tuple(filter(None, opened))), owed)

    def _choose(self, endpoints: int, each: int) -> Mapping[str, RowMapping]:
        asked = {"endpoints": endpoints, "each": each, "keep_seconds": self._keep_seconds}
        with transaction(self._engine) as connection:
            return {row["delivery_id"]: row for row in connection.execute(_CHOOSE, asked).mappings()}

    def delivered(self, owed: OwedDelivery) -> None:
        """Its receiver has it."""
        self._end([owed.lease], lambda connection: self._leases.settle(connection, [owed.lease], "delivered"))

    def switch_off(self, owed: OwedDelivery, webhook_id: str, reason: str) -> None:
        """In one transaction, if the claim is still ours."""
        self._end([owed.lease], lambda connection: self._switch_off(connection, owed, webhook_id, reason))

    def _switch_off(self, connection: Connection, owed: OwedDelivery, webhook_id: str, reason: str) -> set[str]:
        ours = self._leases.settle(connection, [owed.lease], "dead", reason)
        if ours:
            connection.execute(_SWITCH_OFF, {"webhook_id": webhook_id, "reason": reason})
        return ours
