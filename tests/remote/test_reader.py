from __future__ import annotations

import threading
import time

import pytest

from logstore.api import TopicSpec
from logstore.errors import (
    ClientClosedError,
    InvalidRequestError,
    OffsetOutOfRangeError,
    UnknownPartitionError,
    UnknownTopicError,
    WrongEndpointError,
)
from logstore.remote import RemoteLogStore, connect_store
from logstore.remote.reader import RemoteReader
from logstore.v1 import consume_service_pb2 as consume
from tests.remote.batches import batch, numbered, read_values, values_of
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore


def fill(store: RemoteLogStore, count: int, partition: int = 0) -> None:
    for pending in [store.append("t", partition, numbered(number)) for number in range(count)]:
        pending.result(10)


def open_reader(store: RemoteLogStore, *partitions: int, bytes_max: int = 1 << 20) -> RemoteReader:
    reader = store.open_reader(bytes_max=bytes_max, partition_bytes_max=bytes_max)
    for partition in partitions:
        reader.set_position("t", partition, 0)
    return reader


def test_partitions_are_read_each_in_its_order(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t", partitions=3))
    for partition in range(3):
        fill(store, 50, partition)
    reader = open_reader(store, 0, 1, 2, bytes_max=500)
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    while sum(map(len, seen.values())) < 150:
        for item in reader.poll(5):
            seen[item.partition] += [int(value or b"") for value in values_of([item])]
            assert item.high_watermark == 50
    assert all(numbers == list(range(50)) for numbers in seen.values())


def test_views_live_as_long_as_they_are_held(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    fill(store, 3)
    reader = open_reader(store, 0)
    (item,) = reader.poll(5)
    reader.close()
    store.close()
    assert values_of([item])[0] == b"0"


def test_a_new_position_drops_what_was_read_ahead(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    fill(store, 100)
    reader = open_reader(store, 0, bytes_max=1000)
    for offset in (90, 10, 95, 0, 50):
        time.sleep(0.02)  # something of the old position is in the buffer or on its way
        reader.set_position("t", 0, offset)
        seen = read_values(reader, 1)
        assert seen[0] == b"%d" % offset
    seen += read_values(reader, 50 - len(seen))
    assert seen == [b"%d" % number for number in range(50, 100)]


def test_what_was_sent_for_an_old_position_is_dropped(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    reader = open_reader(store, 0)
    reader.set_position("t", 0, 0)  # the second: epoch 2
    (lane,) = reader._lanes.values()
    for epoch in (1, 2):
        head = consume.PartitionData(topic="t", position_epoch=epoch, next_offset=1)
        reader.arrived(lane, head, memoryview(numbered(epoch)))
    assert values_of(reader.poll(1)) == [b"2"]


def test_removed_partitions_come_no_more_and_may_come_back(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t", partitions=2))
    reader = open_reader(store, 0, 1)
    assert reader.poll(0.1) == []
    fill(store, 1, 0)
    time.sleep(0.1)
    reader.remove("t", 0)
    fill(store, 1, 1)
    assert {item.partition for item in reader.poll(5)} == {1}
    reader.set_position("t", 0, 0)
    assert {item.partition for item in reader.poll(5)} == {0}
    reader.remove("t", 7)  # not read: nothing to do


@pytest.mark.parametrize(
    ("topic", "partition", "offset", "expected"),
    [
        ("t", 0, 99, OffsetOutOfRangeError),
        ("no", 0, 0, UnknownTopicError),
        ("t", 9, 0, UnknownPartitionError),
    ],
)
def test_a_position_that_cannot_be_read_is_told_once(
    store: RemoteLogStore, topic: str, partition: int, offset: int, expected: type
) -> None:
    store.create_topic(TopicSpec("t"))
    fill(store, 2)
    reader = open_reader(store)
    reader.set_position(topic, partition, offset)
    (item,) = reader.poll(5)
    assert isinstance(item.error, expected)
    assert (item.topic, item.partition, item.data.nbytes) == (topic, partition, 0)
    assert reader.poll(0.2) == []
    reader.set_position("t", 0, 1)
    assert read_values(reader, 1) == [b"1"]


def test_a_topic_that_goes_is_told(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    reader = open_reader(store, 0)
    assert reader.poll(0.1) == []
    store.delete_topic("t")
    (item,) = reader.poll(5)
    assert isinstance(item.error, UnknownTopicError)


def test_a_batch_larger_than_the_buffer_comes_all_the_same(store: RemoteLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    for _ in range(3):
        store.append("t", 0, batch(bytes(50_000))).result(5)
    reader = open_reader(store, 0, bytes_max=100)
    assert len(read_values(reader, 3)) == 3


def test_wake_ends_a_poll_from_another_thread(store: RemoteLogStore) -> None:
    reader = open_reader(store)
    threading.Timer(0.2, reader.wake).start()
    started = time.monotonic()
    assert reader.poll(10) == []
    assert time.monotonic() - started < 3


def test_a_closed_reader_says_so(store: RemoteLogStore) -> None:
    reader = open_reader(store)
    reader.close()
    reader.close()
    for call in (lambda: reader.poll(0), lambda: reader.set_position("t", 0, 0)):
        with pytest.raises(ClientClosedError):
            call()


def test_senseless_limits_are_refused(store: RemoteLogStore) -> None:
    with pytest.raises(InvalidRequestError):
        store.open_reader(bytes_max=0, partition_bytes_max=1)


def test_a_redirect_is_followed_without_a_gap() -> None:
    first, second = MemoryStore(), MemoryStore()
    with InProcessServer(first) as one, InProcessServer(second) as other:
        store = connect_store(one.address)
        for memory in (first, second):
            memory.create_topic(TopicSpec("t"))
            for number in range(4):
                memory.append("t", 0, numbered(number))
        reader = open_reader(store, 0)
        assert len(read_values(reader, 4)) == 4
        first.refuse = lambda topic, partition: WrongEndpointError("moved", endpoint=other.address)
        first.release()
        for log in (first.topics["t"][0], second.topics["t"][0]):
            for _, waiting in log.waiters:
                waiting.fire()  # as a store does when a partition leaves it
        second.append("t", 0, numbered(4))
        assert read_values(reader, 1) == [b"4"]
        reader.close()
        store.close()
