from __future__ import annotations

import time

import pytest

from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire

METADATA = ("__cluster_metadata", 0)
VERSIONS = pytest.mark.parametrize("version", range(3))


def ask(wire: Wire, version: int, *parts: tuple[str, int]):
    topics = [
        {"topic_name": name, "partitions": [{"partition_index": index}]} for name, index in parts
    ]
    return wire.ask("describe_quorum", version, topics=topics)


@VERSIONS
def test_the_node_is_the_only_voter_and_leads(
    wire: Wire, store: LocalLogStore, version: int
) -> None:
    answer = ask(wire, version, METADATA)
    assert answer.error_code == 0
    (topic,) = answer.topics
    (partition,) = topic.partitions
    assert (topic.topic_name, partition.partition_index, partition.error_code) == (*METADATA, 0)
    node_id = store.describe_store().node_id
    assert partition.leader_id == node_id
    (voter,) = partition.current_voters
    assert voter.replica_id == node_id
    assert partition.observers == ()
    if version >= 1:
        assert abs(voter.last_caught_up_timestamp - time.time() * 1000) < 60_000
    if version >= 2:
        assert [node.node_id for node in answer.nodes] == [node_id]


@VERSIONS
def test_nothing_else_has_a_quorum(wire: Wire, version: int) -> None:
    answer = ask(wire, version, METADATA, ("__cluster_metadata", 1), ("orders", 0))
    codes = [topic.partitions[0].error_code for topic in answer.topics]
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert codes == [ErrorCode.NONE, unknown, unknown]
    assert answer.topics[2].partitions[0].current_voters == ()
