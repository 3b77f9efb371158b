"""Audit entries, written on the connection of the deed that they are about."""

from sqlalchemy import Connection, text

from app.adapters.sql.rows import as_json
from app.domain.audit import AuditEntry

_WRITE = text("""
    INSERT INTO audit_events (actor, action, subject, request_id, detail)
    VALUES (:actor, :action, :subject, :request_id, CAST(:detail AS jsonb))
""")


def write_audit(connection: Connection, entry: AuditEntry) -> None:
    """Note the deed; it is undone with the transaction that does it."""
    connection.execute(
        _WRITE,
        {
            "actor": entry.actor.name,
            "action": entry.action,
            "subject": entry.subject,
            "request_id": entry.actor.request_id,
            "detail": as_json(dict(entry.detail)),
        },
    )
