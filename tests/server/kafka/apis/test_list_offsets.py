from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire

VERSIONS = range(1, 12)


@pytest.fixture
def filled(store):
    store.create_topic(TopicSpec("t"))
    for timestamp in (1000, 3000, 2000):
        store.append("t", 0, encode_batch([b"v"], [None], [timestamp], [[]])).result(10)
    return store


def ask(wire: Wire, version: int, timestamp: int, **fields):
    asked = {"partition_index": 0, "timestamp": timestamp} | fields
    answer = wire.ask(
        "list_offsets",
        version,
        replica_id=-1,
        isolation_level=fields.pop("isolation_level", 0),
        timeout=1000,
        topics=[{"name": fields.pop("name", "t"), "partitions": [asked]}],
    )
    (topic,) = answer.topics
    (partition,) = topic.partitions
    return partition


@pytest.mark.parametrize("version", VERSIONS)
def test_ends_and_times(wire: Wire, filled, version: int) -> None:
    assert ask(wire, version, -1).offset == 3
    assert ask(wire, version, -2).offset == 0
    found = ask(wire, version, 1001)
    assert (found.offset, found.timestamp) == (1, 3000)
    assert ask(wire, version, 9999).offset == -1


@pytest.mark.parametrize("version", VERSIONS)
def test_special_timestamps_come_with_their_version(wire: Wire, filled, version: int) -> None:
    for timestamp, since, offset in ((-3, 7, 1), (-4, 8, 0), (-5, 9, -1), (-6, 11, -1)):
        found = ask(wire, version, timestamp)
        if version < since:
            assert found.error_code == ErrorCode.UNSUPPORTED_VERSION
        else:
            assert (found.error_code, found.offset) == (0, offset)
    assert ask(wire, version, -7).error_code == ErrorCode.UNSUPPORTED_VERSION


@pytest.mark.parametrize("timestamp", [-1, 0])
def test_what_is_not_there(wire: Wire, filled, timestamp: int) -> None:
    for fields in ({"name": "none"}, {"partition_index": 1}):
        found = ask(wire, 5, timestamp, **fields)
        assert found.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_leader_epoch_that_is_not_the_current_one(wire: Wire, filled) -> None:
    assert ask(wire, 5, -1, current_leader_epoch=0).offset == 3
    assert ask(wire, 5, -1, current_leader_epoch=1).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_an_open_transaction_hides_its_records_from_readers_of_committed_ones(
    wire: Wire, filled
) -> None:
    producer = filled.init_producer("x")
    filled.append(
        "t", 0,
        encode_batch(
            [b"v"], [None], [5000], [[]], producer_id=producer.producer_id,
            producer_epoch=producer.producer_epoch, base_sequence=0, is_transactional=True,
        ),
    ).result(10)  # fmt: skip
    assert ask(wire, 5, -1).offset == 4
    assert ask(wire, 5, -1, isolation_level=1).offset == 3
    assert ask(wire, 5, 4000).offset == 3
    assert ask(wire, 5, 4000, isolation_level=1).offset == -1
