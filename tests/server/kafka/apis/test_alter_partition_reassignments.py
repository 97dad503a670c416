from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", [0, 1])
def test_every_replica_is_where_it_can_be(wire: Wire, store: LocalLogStore, version: int) -> None:
    store.create_topic(TopicSpec("t", 3))
    node_id = store.describe_store().node_id
    asked = [
        {"partition_index": 0, "replicas": [node_id]},
        {"partition_index": 1, "replicas": [node_id, 77]},
        {"partition_index": 2, "replicas": None},
        {"partition_index": 3, "replicas": [node_id]},
    ]
    topics = [{"name": "t", "partitions": asked}, {"name": "missing", "partitions": asked[:1]}]
    answer = wire.ask("alter_partition_reassignments", version, topics=topics, timeout=1000)
    there, missing = answer.responses
    assert answer.error_code == 0
    assert [part.error_code for part in there.partitions] == [
        ErrorCode.NONE,
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ErrorCode.NO_REASSIGNMENT_IN_PROGRESS,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert missing.partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
