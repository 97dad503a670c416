from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", range(1, 5))
def test_sizes(wire: Wire, store: LocalLogStore, version: int) -> None:
    store.create_topic(TopicSpec("t", 2))
    store.append("t", 1, encode_batch([b"x" * 1000])).result(10)
    (directory,) = wire.ask("describe_log_dirs", version, topics=None).results
    assert directory.log_dir == store.describe_store().data_dir
    found = {topic.name: topic.partitions for topic in directory.topics}
    assert {"t", "__consumer_offsets"} <= set(found)
    sizes = [part.partition_size for part in found["t"]]
    assert sizes[0] == 0
    assert sizes[1] > 1000
    if version >= 4:
        assert 0 < directory.usable_bytes < directory.total_bytes


def test_only_what_is_asked_for(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 3))
    asked = [{"topic": "t", "partitions": [2, 7]}, {"topic": "missing", "partitions": [0]}]
    (directory,) = wire.ask("describe_log_dirs", 4, topics=asked).results
    (topic,) = directory.topics
    assert [part.partition_index for part in topic.partitions] == [2]
