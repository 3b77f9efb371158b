"""How to reach Kafka, from the settings; no producer or consumer is made at import, for they must not cross a fork."""

from typing import Any

from kafka.errors import KafkaError

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


def made_whole(kind: Any, **options: Any) -> Any:
    """A `KafkaConsumer` or `KafkaProducer`; when the brokers do not answer it, nothing of it stays behind.

    kafka-python 3.0.12 forgets the client of a constructor that failed, with its thread and three open files.
    """
    begun: list[Any] = []

    def begin(**given: Any) -> Any:
        begun.append(kind.DEFAULT_CONFIG["kafka_client"](**given))
        return begun[-1]

    try:
        return kind(kafka_client=begin, **options)
    except (KafkaError, OSError):
        for client in begun:
            client.close()
        raise
