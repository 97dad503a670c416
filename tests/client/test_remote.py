"""The same classes on a store that a server process serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import logstore
import logstore.aio
from logstore import Store
from logstore.errors import BatchTooLargeError, UnknownPartitionError, UnknownTopicError
from tests.client import patterns
from tests.client.test_consumer import SECONDS_MAX, T0, T1, committed, offsets, produce, until
from tests.support.server_process import ServerProcess


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as started:
        yield started


@pytest.fixture
def store(server: ServerProcess) -> Iterator[Store]:
    with logstore.connect(server.address) as connected:
        yield connected


@pytest.mark.parametrize(
    "pattern", [patterns.point_to_point, patterns.publish_subscribe, patterns.work_queue]
)
def test_pattern(store: Store, pattern: Callable[[Store], None]) -> None:
    pattern(store)


def test_producing(store: Store) -> None:
    store.create_topic("t", partitions=2)
    with store.producer(compression="lz4") as producer:
        deliveries = [producer.send("t", b"%d" % n, partition=1) for n in range(100)]
        assert [item.result(SECONDS_MAX).offset for item in deliveries] == list(range(100))
        assert producer.send_many("t", [b"x"] * 50, partition=1).result(SECONDS_MAX) == [
            ("t", 1, 100, 50)
        ]
        with pytest.raises(UnknownTopicError):
            producer.send("nowhere", b"x")
        with pytest.raises(UnknownPartitionError):
            producer.send("t", b"x", partition=2)
    with store.producer() as producer, pytest.raises(BatchTooLargeError):
        producer.send("t", bytes(9 << 20))


def test_consuming(store: Store) -> None:
    store.create_topic("t", partitions=2)
    produce(store, range(10))
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        assert [record.offset for record in consumer.records(idle_timeout=1.0)] == list(range(10))
        consumer.seek("t", 0, 6)
        (found,) = consumer.poll_columns(SECONDS_MAX)
        assert list(found.columns.offsets) == [6, 7, 8, 9]
        consumer.seek_to_timestamp(1008, [T0])
        consumer.pause(T0)
        assert consumer.poll(0.1) == []
        consumer.resume(T0)
        assert offsets(consumer) == [8, 9]
        store.delete_records("t", 0, before_offset=4)
        consumer.seek("t", 0, 1)
        assert offsets(consumer)[0] == 4


def test_a_group_commits_and_goes_on(store: Store) -> None:
    store.create_topic("t", partitions=2)
    produce(store, range(10))
    options = {"group": "g", "auto_offset_reset": "earliest"}
    with store.consumer("t", enable_auto_commit=False, **options) as consumer:
        assert offsets(consumer, max_records=4) == [0, 1, 2, 3]
        consumer.commit()
        assert committed(store)[0] == 4
    first, second = store.consumer("t", **options), store.consumer("t", **options)
    until(lambda: len(first.assignment()) == len(second.assignment()) == 1, first, second)
    assert first.assignment() | second.assignment() == {T0, T1}
    first.close()
    until(lambda: second.assignment() == {T0, T1}, second)
    second.close()
    assert committed(store)[0] == 10


def test_producer_and_consumer_outlive_a_killed_server(server: ServerProcess, store: Store) -> None:
    store.create_topic("t", partitions=2)
    with (
        store.producer() as producer,
        store.consumer("t", auto_offset_reset="earliest") as consumer,
    ):
        producer.send("t", b"before", partition=0).result(SECONDS_MAX)
        assert [record.value for record in consumer.poll(SECONDS_MAX)] == [b"before"]
        server.kill()
        during = producer.send("t", b"during", partition=0)
        server.start()
        assert during.result(SECONDS_MAX).offset == 1
        assert [record.value for record in consumer.poll(SECONDS_MAX)] == [b"during"]


def test_asyncio(server: ServerProcess) -> None:
    async def main() -> None:
        async with logstore.aio.connect(server.address) as store:
            await store.create_topic("t")
            async with store.producer() as producer:
                deliveries = [await producer.send("t", b"%d" % n) for n in range(20)]
                assert [(await item).offset for item in deliveries] == list(range(20))
            options = {"group": "g", "auto_offset_reset": "earliest"}
            async with store.consumer("t", **options) as consumer:
                seen = []
                async for record in consumer:
                    seen.append(record.value)
                    if len(seen) == 20:
                        break
            assert seen == [b"%d" % n for n in range(20)]
            assert (await store.committed_offsets("g"))[0].offset == 20

    asyncio.run(main())
