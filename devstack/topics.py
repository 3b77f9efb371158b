"""`python -m devstack.topics`: make the Kafka topics that are missing; those that exist stay as they are.

A program of its own, so that the launcher does not carry a Kafka client, and so that a Kafka of one's own gets its
topics the same way: the settings come from the environment, as for every other process.
"""

import sys
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from app.routing import dead_letter_topic
from app.settings import Misconfigured, Settings, settings

_FOR_EVER = {"retention.ms": "-1"}


def wanted(chosen: Settings) -> dict[str, int]:
    """The topics and their numbers of partitions."""
    topic = chosen.memory_wal_topic
    return {topic: chosen.memory_wal_partitions, dead_letter_topic(topic): 1}


def connection(chosen: Settings) -> dict[str, Any]:
    """How to reach Kafka, in the client's words."""
    found: dict[str, Any] = {
        "bootstrap_servers": chosen.kafka_bootstrap_servers.split(","),
        "security_protocol": chosen.kafka_security_protocol,
        "bootstrap_timeout_ms": 20_000,
        "request_timeout_ms": 10_000,
        "client_id": "devstack",
    }
    if chosen.kafka_sasl_mechanism:
        found |= {
            "sasl_mechanism": chosen.kafka_sasl_mechanism,
            "sasl_plain_username": chosen.kafka_sasl_username,
            "sasl_plain_password": chosen.kafka_sasl_password.get_secret_value(),
        }
    return found


def make(admin: KafkaAdminClient, topics: dict[str, int]) -> None:
    """Make what is missing and wait until each partition has a leader."""
    for name in topics.keys() - set(admin.list_topics()):
        try:
            admin.create_topics(
                {name: {"num_partitions": topics[name], "configs": _FOR_EVER}},
                timeout_ms=10_000,
                wait_for_metadata=True,
            )
        except TopicAlreadyExistsError:
            continue


def main() -> int:
    """The exit status; a failure is one line."""
    try:
        chosen = settings()
        chosen.require("kafka_bootstrap_servers")
        admin = KafkaAdminClient(**connection(chosen))
        make(admin, wanted(chosen))
        admin.close()
    except Misconfigured as error:
        sys.stderr.write(f"{error}\n")
    except KafkaError as error:
        sys.stderr.write(f"Kafka at KAFKA_BOOTSTRAP_SERVERS does not make the topics: {error}\n")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
