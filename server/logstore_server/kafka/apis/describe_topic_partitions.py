"""DescribeTopicPartitions (key 75), versions 0 to 0: topics and their partitions, page by page.

Topics come in the order of their names; an answer has at most `response_partition_limit` partitions
and tells where the next begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from logstore.api import TopicInfo
from logstore.api.access import ResourceType
from logstore_server.kafka.admin import topics_by_name
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.guard import operations_of

PARTITIONS_MAX = 2000  # of one answer; Kafka's max.request.partition.size.limit


def handle(request: Request) -> Values:
    body = request.body
    known = topics_by_name(request)
    names: Iterable[str] = {topic.name for topic in body.topics} or known
    room = max(1, min(body.response_partition_limit, PARTITIONS_MAX))
    start, first = ("", 0)
    if body.cursor is not None:
        start, first = body.cursor.topic_name, max(0, body.cursor.partition_index)
    topics: list[dict[str, Any]] = []
    next_cursor = None
    for name in sorted(name for name in names if name >= start):
        begin = first if name == start else 0
        count = len(known[name].partitions) if name in known else 0
        if room == 0 or (begin < count and count - begin > room):
            next_cursor = {"topic_name": name, "partition_index": begin + room}
        topic = known.get(name)
        if room > 0:
            topics.append(
                _unknown(name)
                if topic is None
                else _topic(request, topic, range(begin, min(count, begin + room)))
            )
        if next_cursor is not None:
            break
        room -= max(0, count - begin)
    return {"throttle_time": 0, "topics": topics, "next_cursor": next_cursor}


def _unknown(name: str) -> dict[str, Any]:
    return {
        "error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        "name": name,
        "topic_id": None,
        "partitions": [],
    }


def _topic(request: Request, topic: TopicInfo, partitions: range) -> dict[str, Any]:
    node_id = request.store.describe_store().node_id
    return {
        "error_code": ErrorCode.NONE,
        "name": topic.name,
        "topic_id": topic.topic_id,
        "is_internal": topic.internal,
        "partitions": [
            {
                "error_code": ErrorCode.NONE,
                "partition_index": partition,
                "leader_id": node_id,
                "leader_epoch": topic.partitions[partition].leader_epoch,
                "replica_nodes": [node_id],
                "isr_nodes": [node_id],
                "eligible_leader_replicas": [],  # not null: the Java client reads on
                "last_known_elr": [],
                "offline_replicas": [],
            }
            for partition in partitions
        ],
        "topic_authorized_operations": operations_of(request, ResourceType.TOPIC, topic.name),
    }
