"""Who did what at the desk: written in the transaction of the deed, so that neither is there without the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, and with which request."""

    name: str
    request_id: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One deed: `action` is `<area>.<verb>`, `subject` what it was done to, `detail` what else a reader will ask."""

    actor: Actor
    action: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    def having(self, **detail: Any) -> "AuditEntry":
        """The same deed with what only its transaction knows."""
        return replace(self, detail={**self.detail, **detail})
