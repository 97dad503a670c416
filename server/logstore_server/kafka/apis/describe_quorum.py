"""DescribeQuorum (key 55), versions 0 to 2: who votes on the metadata, and who leads.

What each version added
    1  when a voter fetched last, and had everything        2  messages; directories, nodes

One node keeps the metadata, in a log that Kafka's clients know under Kafka's name. It is the only
voter and leads without an election; it has no listener of its own for controllers.

Not done: where that log ends and its epoch. The store does not tell; they are -1 (unknown) and 0.
"""

from __future__ import annotations

import time
from typing import Any

from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode

METADATA_TOPIC = "__cluster_metadata"
METADATA_PARTITION = 0
UNKNOWN = -1
ONLY_EPOCH = 0


def handle(request: Request) -> Values:
    node_id = request.store.describe_store().node_id
    topics = [
        {
            "topic_name": topic.topic_name,
            "partitions": [
                _partition(node_id, topic.topic_name, asked.partition_index)
                for asked in topic.partitions
            ],
        }
        for topic in request.body.topics
    ]
    return {
        "error_code": ErrorCode.NONE,
        "error_message": None,
        "topics": topics,
        "nodes": [{"node_id": node_id, "listeners": ()}],
    }


def _partition(node_id: int, topic: str, index: int) -> dict[str, Any]:
    if (topic, index) != (METADATA_TOPIC, METADATA_PARTITION):
        return {
            "partition_index": index,
            "error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            "error_message": "only partition 0 of __cluster_metadata has a quorum",
            "leader_id": UNKNOWN,
            "leader_epoch": UNKNOWN,
            "high_watermark": UNKNOWN,
            "current_voters": (),
            "observers": (),
        }
    leader = {
        "replica_id": node_id,
        "replica_directory_id": None,
        "log_end_offset": UNKNOWN,
        "last_fetch_timestamp": UNKNOWN,  # a leader fetches from nobody
        "last_caught_up_timestamp": time.time_ns() // 1_000_000,
    }
    return {
        "partition_index": index,
        "error_code": ErrorCode.NONE,
        "error_message": None,
        "leader_id": node_id,
        "leader_epoch": ONLY_EPOCH,
        "high_watermark": UNKNOWN,
        "current_voters": [leader],
        "observers": (),
    }
