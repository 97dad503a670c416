from __future__ import annotations

import threading
import time
import uuid

import pytest

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire

VERSIONS = range(4, 19)


def batch(value: bytes) -> bytes:
    return bytes(encode_batch([value], [None], [1], [[]]))


def ask(wire: Wire, store, version: int = 11, offset: int = 0, **fields):
    """The one partition of the answer."""
    answer = wire.ask("fetch", version, **fetch(store, offset, **fields))
    (topic,) = answer.responses
    (partition,) = topic.partitions
    return partition


def fetch(store, offset: int, *, topic: str = "t", partition: int = 0, **fields):
    infos = {info.name: info.topic_id for info in store.describe_topics()}
    asked = {
        "partition": partition,
        "fetch_offset": offset,
        "partition_max_bytes": fields.pop("partition_max_bytes", 1 << 20),
    }
    return {
        "replica_id": -1,
        "max_wait": 0,
        "min_bytes": 1,
        "topics": [
            {
                "topic": topic,
                "topic_id": infos.get(topic, uuid.UUID(int=77)),
                "partitions": [asked],
            }
        ],
        "forgotten_topics_data": [],
    } | fields


@pytest.fixture
def filled(store):
    store.create_topic(TopicSpec("t"))
    for value in (b"a", b"b", b"c" * 100_000):
        store.append("t", 0, batch(value)).result(10)
    return store


@pytest.mark.parametrize("version", VERSIONS)
def test_batches_come_as_they_are_in_the_log(wire: Wire, filled, version: int) -> None:
    found = ask(wire, filled, version)
    assert (found.error_code, found.high_watermark, found.last_stable_offset) == (0, 3, 3)
    assert found.records.count(b"c") >= 100_000
    assert ask(wire, filled, version, offset=3).records in (b"", None)


def test_one_whole_batch_comes_however_small_the_limits(wire: Wire, filled) -> None:
    found = ask(wire, filled, 11, offset=2, max_bytes=1, partition_max_bytes=1)
    assert len(found.records) > 100_000


@pytest.mark.parametrize("version", VERSIONS)
def test_what_cannot_be_read(wire: Wire, filled, version: int) -> None:
    missing = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if version < 13 else ErrorCode.UNKNOWN_TOPIC_ID
    assert ask(wire, filled, version, topic="none").error_code == missing
    unknown = ask(wire, filled, version, partition=1)
    assert unknown.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert ask(wire, filled, version, offset=4).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_it_waits_for_data(wire: Wire, filled) -> None:
    timer = threading.Timer(0.2, lambda: filled.append("t", 0, batch(b"late")))
    timer.start()
    started = time.monotonic()
    assert b"late" in ask(wire, filled, 11, offset=3, max_wait=10_000).records
    assert time.monotonic() - started < 5
    timer.join()


def test_it_waits_no_longer_than_it_may(wire: Wire, filled) -> None:
    started = time.monotonic()
    assert ask(wire, filled, 11, offset=3, max_wait=200).records in (b"", None)
    assert 0.15 < time.monotonic() - started < 5


def test_it_waits_for_min_bytes_behind_what_is_there(wire: Wire, filled) -> None:
    timer = threading.Timer(0.2, lambda: filled.append("t", 0, batch(bytes(5_000))))
    timer.start()
    found = ask(wire, filled, 11, offset=1, max_wait=10_000, min_bytes=104_000)
    assert len(found.records) >= 104_000
    timer.join()


def test_what_has_no_room_in_the_answer_comes_with_its_bounds(wire: Wire, filled) -> None:
    filled.create_topic(TopicSpec("u"))
    filled.append("u", 0, batch(b"u")).result(10)
    fields = fetch(filled, 2, max_bytes=10)
    fields["topics"] += fetch(filled, 0, topic="u")["topics"]
    full, rest = wire.ask("fetch", 11, **fields).responses
    assert full.partitions[0].records
    (partition,) = rest.partitions
    assert (partition.error_code, partition.high_watermark) == (0, 1)
    assert not partition.records
