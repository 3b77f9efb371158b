"""One message goes all the way through the real system, whatever is killed on its way."""

import json
import time
from collections.abc import Iterator

import pytest
from kafka import KafkaConsumer, TopicPartition

from devstack.stack import Stack
from tests.acceptance.following import Follower, call
from tests.conftest import eventually

pytestmark = pytest.mark.servers
STORY = "Write a long story about a boat and a lighthouse."


@pytest.fixture
def gateway(stack: Stack) -> str:
    return stack.url("gateway")


@pytest.fixture
def following(gateway: str) -> Iterator[list[Follower]]:
    followers: list[Follower] = []
    yield followers
    for follower in followers:
        follower.stop()


def test_a_message_is_answered_remembered_logged_and_replicated(stack: Stack, gateway: str) -> None:
    message = {"message": "hello", "metadata": {"tenant": "t1", "universe_id": "u-1"}}
    accepted = call(gateway, "/v1/session/message", message)
    assert accepted["accepted"] is True
    follower = Follower(gateway, accepted["session_id"], memories=0)
    follower.start()
    eventually(lambda: follower.endings)
    answered_at = time.monotonic()

    listing = f"/v1/admin/memory?tenant=t1&universe=u-1&namespace=wm&session_id={accepted['session_id']}&limit=20"
    items = eventually(lambda: _both(call(gateway, listing)["items"]), 10)
    assert time.monotonic() - answered_at < 10
    assert {item["role"] for item in items} == {"user", "assistant"}
    assert all(len(item["coord"]) == 3 for item in items)
    assert call(gateway, f"/v1/admin/memory/{accepted['event_id']}")["payload"]["content"] == "hello"
    health = call(gateway, "/v1/health")
    assert health["components"]["memory_replicator"]["lag_seconds"] < 5
    assert _written_to_the_log(stack) >= {item["event_id"] for item in items}


def _both(items: list[dict[str, object]]) -> list[dict[str, object]] | None:
    return items if len(items) == 2 else None


def _written_to_the_log(stack: Stack) -> set[str]:
    """What a Kafka client of somebody else finds on the topic."""
    consumer = KafkaConsumer(bootstrap_servers=stack.environment["KAFKA_BOOTSTRAP_SERVERS"], enable_auto_commit=False)
    numbers = sorted(consumer.partitions_for_topic("memory.wal"))
    partitions = [TopicPartition("memory.wal", number) for number in numbers]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends, found = consumer.end_offsets(partitions), set()
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for records in consumer.poll(timeout_ms=500).values():
            found |= {json.loads(record.value)["event_id"] for record in records if _is_ours(record.value)}
    consumer.close()
    return found


def _is_ours(value: bytes) -> bool:
    """The stack is shared: other tests write to its log what no reader of it can use."""
    try:
        return "event_id" in json.loads(value)
    except ValueError:
        return False


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "part",
    [
        "worker-conversation",
        "gateway",
        "worker-delivery",
        "worker-replicator",
        "beat",
        "brain",
        "model",
        "redis",
        "postgres",
        "kafka",
    ],
)
def test_whatever_is_killed_in_the_middle_of_an_answer_the_answer_comes_whole_and_once(
    stack: Stack, gateway: str, following: list[Follower], part: str
) -> None:
    accepted = call(gateway, "/v1/session/message", {"message": STORY, "metadata": {"tenant": "killed"}})
    follower = Follower(gateway, accepted["session_id"])
    following.append(follower)
    follower.start()
    eventually(lambda: follower.pieces > 5 or follower.endings)
    assert not follower.endings, "the answer was over before anything could be killed"

    stack.kill(part)

    eventually(lambda: follower.done, 200)
    assert follower.wrong == []
    assert [ending["type"] for ending in follower.endings] == ["assistant.final"]
    assert follower.endings[0]["message"].startswith(follower.text)
    events = call(gateway, f"/v1/sessions/{accepted['session_id']}/events?limit=500")["events"]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert sum(event["payload"]["type"] == "assistant.final" for event in events) == 1
    listing = f"/v1/admin/memory?tenant=killed&session_id={accepted['session_id']}"
    assert sorted(item["role"] for item in call(gateway, listing)["items"]) == ["assistant", "user"]
