"""What seals secrets at rest."""

from app.adapters.key_vault import KeyVault
from app.settings import Settings


def vault_of(settings: Settings) -> KeyVault:
    """Under `GATEWAY_ENC_KEY`."""
    return KeyVault(settings.gateway_enc_key.get_secret_value())
