"""The secrets of webhooks as they lie in Postgres: sealed, each for its webhook."""

import base64
from dataclasses import dataclass

from app.domain.vault import Unreadable, Vault
from app.domain.webhooks import secret_use

_SEALED = "sealed:"


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """In and out of their column."""

    vault: Vault

    def sealed(self, secret: str, webhook_id: str) -> str:
        """What is kept; `Rejected` where there is no key to seal with."""
        return _SEALED + base64.b64encode(self.vault.seal(secret, secret_use(webhook_id))).decode()

    def opened(self, kept: str, webhook_id: str) -> str | None:
        """The secret; None where it was sealed with a key that is not ours."""
        if not kept.startswith(_SEALED):
            return kept  # of a version that did not seal them
        try:
            return self.vault.open(base64.b64decode(kept.removeprefix(_SEALED)), secret_use(webhook_id))
        except Unreadable:
            return None
