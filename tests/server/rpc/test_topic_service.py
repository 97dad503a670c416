from __future__ import annotations

from logstore.v1 import common_pb2 as common
from logstore.v1 import topic_service_pb2 as pb
from tests.server.rpc.stubs import TIMEOUT, Stubs


def describe(stubs: Stubs, *names: str) -> list[pb.Topic]:
    topics = common.TopicNames(names=names) if names else None
    request = pb.DescribeTopicsRequest(topics=topics)
    return list(stubs.topics.DescribeTopics(request, timeout=TIMEOUT).topics)


def test_a_topics_life(stubs: Stubs) -> None:
    request = pb.CreateTopicRequest(name="t", configs={"retention_ms": "1000"})
    made = stubs.topics.CreateTopic(request, timeout=TIMEOUT).topic
    assert (made.name, len(made.partitions), dict(made.overrides)) == (
        "t", 1, {"retention_ms": "1000"},
    )  # fmt: skip
    more = pb.AddPartitionsRequest(name="t", total=3)
    assert len(stubs.topics.AddPartitions(more, timeout=TIMEOUT).topic.partitions) == 3
    alter = pb.AlterTopicRequest(
        name="t", set_configs={"durability": "page_cache"}, reset_configs=["retention_ms"]
    )
    changed = stubs.topics.AlterTopic(alter, timeout=TIMEOUT).topic
    assert dict(changed.overrides) == {"durability": "page_cache"}
    assert changed.configs["retention_ms"] == "-1"
    assert [topic.topic_id for topic in describe(stubs, "t")] == [made.topic_id]
    stubs.topics.DeleteTopic(pb.DeleteTopicRequest(name="t"), timeout=TIMEOUT)
    assert describe(stubs) == []


def test_validating_makes_nothing(stubs: Stubs) -> None:
    request = pb.CreateTopicRequest(name="t", partitions=4, validate_only=True)
    assert len(stubs.topics.CreateTopic(request, timeout=TIMEOUT).topic.partitions) in (0, 4)
    assert describe(stubs) == []


def test_partitions_tell_their_bounds(stubs: Stubs) -> None:
    stubs.create("t")
    stubs.append("t", b"a", b"b")
    (partition,) = describe(stubs, "t")[0].partitions
    assert (partition.log_start_offset, partition.high_watermark, partition.log_end_offset) == (
        0, 2, 2,
    )  # fmt: skip
    assert partition.size_bytes > 0
