"""The whole log read beside every group: what a rebuild and a proof each want of a log that has lost something."""

from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewTopic

from app.adapters.kafka.connection import connection_options
from app.adapters.kafka.history import KafkaWalHistory, KafkaWalScan
from app.adapters.kafka.writer import KafkaWalWriter
from app.domain.errors import WalUnavailable
from app.settings import Settings
from tests.builders import a_record, an_id
from tests.conftest import eventually

pytestmark = pytest.mark.servers
WRITTEN, LOST = 700, 5


@pytest.fixture(scope="module")
def topic(settings: Settings) -> Iterator[str]:
    """A log of one partition that has given its first records away."""
    name = an_id("log-")
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    admin.create_topics([NewTopic(name, 1, 1)])
    writer = KafkaWalWriter(connection_options(settings))
    writer.publish([a_record(name) for _ in range(WRITTEN)])
    writer.close()
    admin.delete_records({TopicPartition(name, 0): LOST})
    yield name
    admin.close()


def test_a_proof_reads_up_to_a_place_behind_what_the_log_has_given_away(topic: str, settings: Settings) -> None:
    scan = KafkaWalScan(connection_options(settings), topic)

    batches = list(scan.records(0, 0, WRITTEN - 1))

    assert scan.bounds() == {0: (LOST, WRITTEN)}
    assert all(batches)
    assert [record.offset for batch in batches for record in batch] == list(range(LOST, WRITTEN - 1))


def test_what_a_proof_looks_for_may_be_gone(topic: str, settings: Settings) -> None:
    scan = KafkaWalScan(connection_options(settings), topic)

    assert list(scan.records(0, 1, 2)) == []


def test_a_rebuild_is_told_of_a_place_that_the_log_no_longer_has(topic: str, settings: Settings) -> None:
    history = KafkaWalHistory(connection_options(settings), topic)

    with pytest.raises(WalUnavailable):
        eventually(lambda: history.read({0: 0}, {0: WRITTEN}, 0.5, 100))
    history.close()


def test_a_topic_that_does_not_exist_is_an_empty_log_for_a_rebuild_and_an_outage_for_a_proof(
    settings: Settings,
) -> None:
    options, nowhere = connection_options(settings), an_id("nowhere-")
    history = KafkaWalHistory(options, nowhere)

    assert history.bounds() == {}
    with pytest.raises(WalUnavailable, match="does not exist"):
        KafkaWalScan(options, nowhere).bounds()
    history.close()
