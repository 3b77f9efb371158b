"""How to reach Kafka, from the settings; no producer or consumer is made here, for they must not cross a fork."""

from typing import Any

from app.settings import Settings


def connection_options(settings: Settings) -> dict[str, Any]:
    """The arguments that kafka-python's producer and consumer share."""
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.kafka_bootstrap_servers.split(",")],
        "security_protocol": settings.kafka_security_protocol,
        "bootstrap_timeout_ms": 3000,
        "reconnect_backoff_ms": 100,
        "reconnect_backoff_max_ms": 1000,
        "client_id": settings.process_name or "soma",
    }
    if settings.kafka_sasl_mechanism:
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password.get_secret_value(),
        }
    return options
