from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


def ask(wire: Wire, version: int, offset: int, *, name: str = "t", partition: int = 0):
    asked = {"name": name, "partitions": [{"partition_index": partition, "offset": offset}]}
    answer = wire.ask("delete_records", version, topics=[asked], timeout=1000)
    return answer.topics[0].partitions[0]


@pytest.mark.parametrize("version", range(3))
def test_what_is_below_an_offset_is_gone(wire: Wire, store, version: int) -> None:
    store.create_topic(TopicSpec("t"))
    for _ in range(3):
        store.append("t", 0, encode_batch([b"v"], [None], [1], [[]])).result(10)
    found = ask(wire, version, 2)
    assert (found.error_code, found.low_watermark) == (0, 2)
    assert store.describe_topics(["t"])[0].partitions[0].log_start_offset == 2
    assert ask(wire, version, 4).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert ask(wire, version, -1).low_watermark == 3


def test_what_cannot_be_deleted(wire: Wire, store) -> None:
    store.create_topic(TopicSpec("t"))
    assert ask(wire, 2, 0, name="no").error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert ask(wire, 2, 0, partition=9).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    internal = ask(wire, 2, 0, name="__consumer_offsets")
    assert internal.error_code == ErrorCode.POLICY_VIOLATION
