from __future__ import annotations

from logstore.store import LocalLogStore
from logstore.v1 import common_pb2 as common
from logstore.v1 import store_service_pb2 as pb
from tests.server.memory_store import MemoryStore
from tests.server.rpc.stubs import TIMEOUT, Stubs


def test_describe_store(stubs: Stubs, store: LocalLogStore) -> None:
    answer = stubs.store.DescribeStore(pb.DescribeStoreRequest(), timeout=TIMEOUT)
    info = store.describe_store()
    assert (answer.cluster_id, answer.node_id) == (info.cluster_id, info.node_id)
    assert (answer.version, list(answer.endpoints)) == (info.version, [])


def test_metadata_names_the_endpoint_of_each_partition(
    memory: MemoryStore, memory_stubs: Stubs
) -> None:
    memory.endpoint = "b:2"
    memory_stubs.create("t", 2)
    request = pb.GetMetadataRequest(topics=common.TopicNames(names=["no", "t"]))
    missing, found = memory_stubs.store.GetMetadata(request, timeout=TIMEOUT).topics
    assert (missing.topic, missing.error.reason) == ("no", "UNKNOWN_TOPIC")
    assert [(item.partition, item.endpoint) for item in found.partitions] == [
        (0, "b:2"),
        (1, "b:2"),
    ]
    assert (found.partitioner, len(found.topic_id)) == ("murmur3", 16)


def test_metadata_of_all_topics(stubs: Stubs) -> None:
    assert not stubs.store.GetMetadata(pb.GetMetadataRequest(), timeout=TIMEOUT).topics
    stubs.create("a")
    stubs.create("b")
    topics = stubs.store.GetMetadata(pb.GetMetadataRequest(), timeout=TIMEOUT).topics
    assert [topic.topic for topic in topics] == ["a", "b"]
    none = pb.GetMetadataRequest(topics=common.TopicNames())
    assert not stubs.store.GetMetadata(none, timeout=TIMEOUT).topics
