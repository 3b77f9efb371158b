"""Webhooks and their deliveries as those see them who ask for them: kept, changed, removed, looked at, replayed."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, RowMapping, text

from app.adapters.sql.acceptance import accept
from app.adapters.sql.engine import all_rows, resolved, transaction
from app.adapters.sql.leases import hurry, revive
from app.adapters.sql.webhook_secrets import WebhookSecrets
from app.adapters.sql.work_kinds import WEBHOOKS, WorkKind
from app.domain.conversation import Receipt, RequestKey
from app.domain.events import SessionEvent
from app.domain.vault import Vault
from app.domain.webhook_ports import Place
from app.domain.webhooks import Delivery, DeliveryState, NewWebhook, Webhook, WebhookChange, WebhookEvent

_SHOWN = "webhook_id, tenant, url, events, enabled, last_error, created_at, updated_at"
_KEEP = text("""
    INSERT INTO webhooks (webhook_id, tenant, url, events, secret, enabled)
    VALUES (:webhook_id, :tenant, :url, :events, :secret, :enabled)
""")
_FIND = text(f"SELECT {_SHOWN} FROM webhooks WHERE webhook_id = :webhook_id")  # noqa: S608
_SECRET = text("SELECT secret FROM webhooks WHERE webhook_id = :webhook_id")
# A COMMIT whose answer was lost is said again: the secret that it brought must not become the old one, too.
_CHANGE = text(f"""
    UPDATE webhooks
    SET url = coalesce(:url, url), events = coalesce(CAST(:events AS text[]), events),
        enabled = coalesce(:enabled, enabled), last_error = CASE WHEN :enabled THEN NULL ELSE last_error END,
        secret = coalesce(:secret, secret),
        old_secret = CASE WHEN :secret <> secret THEN secret ELSE old_secret END,
        old_until = CASE WHEN :secret <> secret THEN now() + interval '24 hours' ELSE old_until END,
        updated_at = now()
    WHERE webhook_id = :webhook_id RETURNING {_SHOWN}
""")  # noqa: S608
_REMOVE = text("DELETE FROM webhooks WHERE webhook_id = :webhook_id")
_DELIVERIES = """
    SELECT delivery_id, webhook_id, tenant, type, session_id, state, attempts, failures, last_error, run_at,
           created_at, finished_at FROM webhook_deliveries d"""
_SENDABLE = text(f"""{_DELIVERIES}
    WHERE delivery_id = :delivery_id AND EXISTS (SELECT 1 FROM webhooks w WHERE w.webhook_id = d.webhook_id)""")  # noqa: S608


class SqlWebhookDesk:
    """`WebhookDesk` on Postgres."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self._engine = engine
        self._secrets = WebhookSecrets(vault)

    def accept(self, webhook: NewWebhook, key: RequestKey | None) -> Receipt:
        """Keep it, once."""
        sealed = self._secrets.sealed(webhook.secret, webhook.webhook_id)
        receipt, _ = accept(self._engine, Receipt("", webhook.webhook_id), key, lambda tx: _keep(tx, webhook, sealed))
        return receipt

    def find(self, webhook_id: str) -> Webhook | None:
        """As it stands now."""
        rows = all_rows(self._engine, _FIND, {"webhook_id": webhook_id})
        return _webhook(rows[0]) if rows else None

    def secret(self, webhook_id: str) -> str | None:
        """The newest one; None also where it cannot be read."""
        rows = all_rows(self._engine, _SECRET, {"webhook_id": webhook_id})
        return self._secrets.opened(rows[0]["secret"], webhook_id) if rows else None

    def page(self, tenant: str | None, before: Place | None, limit: int) -> Sequence[Webhook]:
        """Newest first."""
        conditions = ["true"] if tenant is None else ["tenant = :tenant"]
        if before is not None:
            conditions.append("(created_at, webhook_id) < (:made_at, :webhook_id)")
        made_at, webhook_id = before or (None, None)
        statement = f"""
            SELECT {_SHOWN} FROM webhooks WHERE {" AND ".join(conditions)}
            ORDER BY created_at DESC, webhook_id DESC LIMIT :limit"""  # noqa: S608
        asked = {"tenant": tenant, "made_at": made_at, "webhook_id": webhook_id, "limit": limit}
        return [_webhook(row) for row in all_rows(self._engine, text(statement), asked)]

    def change(self, webhook_id: str, change: WebhookChange) -> Webhook | None:
        """Said twice it changes nothing more."""
        values = {
            "webhook_id": webhook_id,
            "url": change.url,
            "events": None if change.events is None else [event.value for event in change.events],
            "enabled": change.enabled,
            "secret": change.secret and self._secrets.sealed(change.secret, webhook_id),
        }
        rows = resolved(lambda _: all_rows(self._engine, _CHANGE, values))
        return _webhook(rows[0]) if rows else None

    def remove(self, webhook_id: str) -> bool:
        """The pruning discards what it is still owed."""
        return resolved(lambda again: self._remove(webhook_id) or again)

    def _remove(self, webhook_id: str) -> bool:
        with transaction(self._engine) as connection:
            return bool(connection.execute(_REMOVE, {"webhook_id": webhook_id}).rowcount)

    def deliveries(
        self, webhook_id: str, state: DeliveryState | None, before: Place | None, limit: int
    ) -> Sequence[Delivery]:
        """Newest first."""
        conditions = ["webhook_id = :webhook_id"] if state is None else ["webhook_id = :webhook_id", "state = :state"]
        if before is not None:
            conditions.append("(created_at, delivery_id) < (:made_at, :delivery_id)")
        made_at, delivery_id = before or (None, None)
        statement = f"""{_DELIVERIES} WHERE {" AND ".join(conditions)}
            ORDER BY created_at DESC, delivery_id DESC LIMIT :limit"""
        asked = {"webhook_id": webhook_id, "state": state, "made_at": made_at, "delivery_id": delivery_id}
        return [_delivery(row) for row in all_rows(self._engine, text(statement), asked | {"limit": limit})]

    def replay(self, delivery_id: str) -> Delivery | None:
        """One that is owed is hurried, one that has ended gets another life."""
        return resolved(lambda _: self._replay(delivery_id))

    def _replay(self, delivery_id: str) -> Delivery | None:
        with transaction(self._engine) as connection:
            for deed in (hurry, revive, _send_again):
                if deed(connection, WEBHOOKS, delivery_id):
                    break
            row = connection.execute(_SENDABLE, {"delivery_id": delivery_id}).mappings().one_or_none()
            return None if row is None else _delivery(row)


def _send_again(connection: Connection, kind: WorkKind, key: str) -> bool:
    return revive(connection, kind, key, ended="delivered")


def _keep(connection: Connection, webhook: NewWebhook, sealed: str) -> Sequence[SessionEvent]:
    """A webhook is no part of a session: nothing is shown there."""
    values = {
        "webhook_id": webhook.webhook_id,
        "tenant": webhook.tenant,
        "url": webhook.url,
        "events": [event.value for event in webhook.events],
        "secret": sealed,
        "enabled": webhook.enabled,
    }
    connection.execute(_KEEP, values)
    return ()


def _webhook(row: RowMapping) -> Webhook:
    return Webhook(
        id=row["webhook_id"],
        tenant=row["tenant"],
        url=row["url"],
        events=tuple(map(WebhookEvent, row["events"])),
        enabled=row["enabled"],
        reason=row["last_error"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(
        id=row["delivery_id"],
        webhook_id=row["webhook_id"],
        tenant=row["tenant"],
        type=WebhookEvent(row["type"]),
        session_id=row["session_id"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        failures=row["failures"],
        reason=row["last_error"],
        run_at=row["run_at"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
