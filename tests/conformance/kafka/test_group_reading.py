"""What members do besides sharing: commit by hand and by themselves, seek, follow a pattern."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka
import kafka
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError as AiokafkaCommitFailedError
from kafka.errors import CommitFailedError

import logstore
from logstore.api import ClassicLeave, LeavingMember, TopicPartition
from logstore.client.facade import Store
from tests.server.in_process import InProcessServer

WAIT_S = 30.0
PROTOCOLS = ["classic", "consumer"]


@pytest.fixture
def local(server: InProcessServer) -> Iterator[Store]:
    with logstore.connect(server.address) as store:
        yield store


def fill(store: Store, topic: str, count: int, partitions: int = 1) -> None:
    store.create_topic(topic, partitions=partitions)
    with store.producer() as producer:
        for number in range(count):
            producer.send(topic, b"%d" % number, partition=number % partitions)


def until(is_so: Callable[[], Any], turn: Callable[[], Any] = lambda: None) -> None:
    """Each turn polls, so no time is lost by sleeping."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        turn()
        assert time.monotonic() < deadline


def committed(server: InProcessServer, topic: str = "t", group: str = "g") -> int:
    (found,) = server.store.committed_offsets(group, [TopicPartition(topic, 0)])
    return int(found.offset)


def confluent(address: str, protocol: str, **more: Any) -> confluent_kafka.Consumer:
    config = {
        "bootstrap.servers": address,
        "group.id": "g",
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "topic.metadata.refresh.interval.ms": 300,
    }
    return confluent_kafka.Consumer(config | more)


def read(consumer: confluent_kafka.Consumer, count: int) -> list[tuple[str | None, bytes | None]]:
    found: list[tuple[str | None, bytes | None]] = []

    def turn() -> None:
        for message in consumer.consume(count - len(found), 0.2):
            assert message.error() is None, message.error()
            found.append((message.topic(), message.value()))

    until(lambda: len(found) >= count, turn)
    return found


# --- commits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_confluent_commits_by_hand_with_metadata(server, address, local, protocol):
    fill(local, "t", 10)
    consumer = confluent(address, protocol, **{"enable.auto.commit": False})
    consumer.subscribe(["t"])
    read(consumer, 4)
    part = confluent_kafka.TopicPartition("t", 0, 4, "why")
    consumer.commit(offsets=[part], asynchronous=False)
    (found,) = consumer.committed([part], timeout=10)
    assert (found.offset, found.metadata) == (4, "why")
    assert committed(server) == 4
    consumer.close()
    again = confluent(address, protocol)
    again.subscribe(["t"])
    assert read(again, 1) == [("t", b"4")]
    again.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_confluent_commits_by_itself(server, address, local, protocol):
    fill(local, "t", 10)
    consumer = confluent(address, protocol, **{"auto.commit.interval.ms": 100})
    consumer.subscribe(["t"])
    read(consumer, 10)
    until(lambda: committed(server) == 10, lambda: consumer.poll(0.1))
    consumer.close()
    assert server.store.describe_group("g").state == "empty"


def test_kafka_python_commits_by_hand_and_by_itself(server, address, local):
    fill(local, "t", 10)
    options = {"bootstrap_servers": address, "group_id": "g", "auto_offset_reset": "earliest"}
    consumer = kafka.KafkaConsumer("t", enable_auto_commit=False, **options)
    assert next(consumer).value == b"0"
    part = kafka.TopicPartition("t", 0)
    consumer.commit({part: kafka.structs.OffsetAndMetadata(1, "why", -1)})
    assert consumer.committed(part) == 1
    assert consumer.committed(part, metadata=True).metadata == "why"
    consumer.close()
    again = kafka.KafkaConsumer("t", auto_commit_interval_ms=100, **options)
    assert next(again).value == b"1"
    until(lambda: committed(server) > 1, lambda: again.poll(timeout_ms=100))
    again.close()


def test_aiokafka_commits_by_hand_and_by_itself(server, address, local):
    fill(local, "t", 10)
    options = {"bootstrap_servers": address, "group_id": "g", "auto_offset_reset": "earliest"}

    async def by_hand() -> None:
        async with AIOKafkaConsumer("t", enable_auto_commit=False, **options) as consumer:
            assert (await consumer.getone()).value == b"0"
            await consumer.commit()

    async def by_itself() -> None:
        async with AIOKafkaConsumer("t", auto_commit_interval_ms=100, **options) as consumer:
            for number in range(1, 10):
                assert (await consumer.getone()).value == b"%d" % number

    asyncio.run(by_hand())
    assert committed(server) == 1
    asyncio.run(by_itself())
    assert committed(server) == 10


# --- seeking ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_confluent_seeks(address, local, protocol):
    fill(local, "t", 10)
    consumer = confluent(address, protocol)
    consumer.subscribe(["t"])
    read(consumer, 10)
    consumer.seek(confluent_kafka.TopicPartition("t", 0, 7))
    assert [value for _, value in read(consumer, 3)] == [b"7", b"8", b"9"]
    consumer.close()


def test_kafka_python_seeks(address, local):
    fill(local, "t", 10)
    consumer = kafka.KafkaConsumer(
        "t", bootstrap_servers=address, group_id="g", auto_offset_reset="earliest"
    )
    assert next(consumer).value == b"0"
    part = kafka.TopicPartition("t", 0)
    consumer.seek(part, 7)
    assert next(consumer).value == b"7"
    consumer.seek_to_beginning(part)
    assert next(consumer).value == b"0"
    assert consumer.position(part) == 1
    consumer.close()


# --- patterns ---------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_confluent_follows_a_pattern(address, local, protocol):
    fill(local, "events.a", 1)
    fill(local, "other", 1)
    consumer = confluent(address, protocol)
    consumer.subscribe(["^events[.].*"])
    assert read(consumer, 1) == [("events.a", b"0")]
    fill(local, "events.b", 1)
    assert read(consumer, 1) == [("events.b", b"0")]
    consumer.close()


def test_kafka_python_follows_a_pattern(address, local):
    fill(local, "events.a", 1)
    fill(local, "other", 1)
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=address,
        group_id="g",
        auto_offset_reset="earliest",
        metadata_max_age_ms=300,
    )
    consumer.subscribe(pattern="^events[.].*")
    assert next(consumer).topic == "events.a"
    fill(local, "events.b", 1)
    assert next(consumer).topic == "events.b"
    consumer.close()


# --- who was replaced -------------------------------------------------------------------------


def expel(server: InProcessServer) -> None:
    """All members leave without knowing it."""
    verbs = server.store.coordination
    members = tuple(LeavingMember(m.member_id) for m in verbs.describe("g").members)
    assert verbs.leave(ClassicLeave("g", members)) == [None]


def test_a_commit_of_a_member_that_is_none_any_more_is_refused(server, address, local):
    fill(local, "t", 10)
    consumer = kafka.KafkaConsumer(
        "t",
        bootstrap_servers=address,
        group_id="g",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    assert next(consumer).value == b"0"
    expel(server)
    with pytest.raises(CommitFailedError):
        consumer.commit()
    assert committed(server) == -1
    consumer.close()


def test_confluent_is_told_that_its_generation_is_old(server, address, local):
    fill(local, "t", 10)
    consumer = confluent(address, "classic", **{"enable.auto.commit": False})
    consumer.subscribe(["t"])
    read(consumer, 1)
    expel(server)
    with pytest.raises(confluent_kafka.KafkaException) as caught:
        consumer.commit(asynchronous=False)
    assert caught.value.args[0].code() == confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID
    assert committed(server) == -1
    consumer.close()


def test_aiokafka_is_told_that_its_generation_is_old(server, address, local):
    fill(local, "t", 10)

    async def run() -> None:
        async with AIOKafkaConsumer(
            "t",
            bootstrap_servers=address,
            group_id="g",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        ) as consumer:
            await consumer.getone()
            expel(server)
            with pytest.raises(AiokafkaCommitFailedError):
                await consumer.commit()

    asyncio.run(run())
    assert committed(server) == -1
