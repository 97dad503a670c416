from __future__ import annotations

from typing import Any

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


def describe(wire: Wire, *names: str, limit: int = 2000, cursor: Any = None) -> Any:
    topics = [{"name": name} for name in names]
    return wire.ask(
        "describe_topic_partitions",
        0,
        topics=topics,
        response_partition_limit=limit,
        cursor=cursor,
    )


def found(answer: Any) -> list[tuple[str, list[int]]]:
    return [
        (topic.name, [part.partition_index for part in topic.partitions]) for topic in answer.topics
    ]


def test_topics_in_the_order_of_their_names(wire: Wire, store: LocalLogStore) -> None:
    info = store.create_topic(TopicSpec("b", 2))
    store.create_topic(TopicSpec("a", 1))
    answer = describe(wire, "b", "missing", "a")
    assert found(answer) == [("a", [0]), ("b", [0, 1]), ("missing", [])]
    assert [topic.error_code for topic in answer.topics] == [
        0, 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]  # fmt: skip
    assert answer.topics[1].topic_id == info.topic_id
    node_id = store.describe_store().node_id
    assert {part.leader_id for part in answer.topics[1].partitions} == {node_id}
    for part in answer.topics[1].partitions:  # Kafka's Java client fails on a null here
        assert (part.eligible_leader_replicas, part.last_known_elr) == ((), ())
    assert answer.next_cursor is None


def test_all_topics(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    names = {topic.name: topic.is_internal for topic in describe(wire).topics}
    assert names["__consumer_offsets"]
    assert not names["t"]


def test_pages_follow_each_other_without_gap_or_overlap(wire: Wire, store: LocalLogStore) -> None:
    for name, partitions in (("a", 3), ("b", 2), ("c", 4)):
        store.create_topic(TopicSpec(name, partitions))
    everything = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)] + [("c", n) for n in range(4)]
    for limit in range(1, 11):
        pages, cursor = [], None
        while True:
            answer = describe(wire, "a", "b", "c", limit=limit, cursor=cursor)
            page = [(name, part) for name, parts in found(answer) for part in parts]
            assert 0 < len(page) <= limit
            pages += page
            if answer.next_cursor is None:
                break
            after = answer.next_cursor
            cursor = {"topic_name": after.topic_name, "partition_index": after.partition_index}
        assert pages == everything
