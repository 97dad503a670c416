"""AlterPartitionReassignments (key 45), versions 0 to 1: other replicas for partitions.

What each version added
    1  whether the number of replicas may change

There is one node. A partition that is to have its one replica there has it already; any other
assignment is refused, and there is never a reassignment to cancel.
"""

from __future__ import annotations

from typing import Any

from logstore.api import TopicInfo
from logstore_server.kafka.admin import (
    RefusedError,
    check_replicas,
    find_topic,
    has_partition,
    outcome,
)
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode


def handle(request: Request) -> Values:
    node_id = request.store.describe_store().node_id
    responses = []
    for asked in request.body.topics:
        topic = find_topic(request, asked.name)
        answers = [_answer(topic, partition, node_id) for partition in asked.partitions]
        responses.append({"name": asked.name, "partitions": answers})
    allowed = getattr(request.body, "allow_replication_factor_change", True)
    return {
        "throttle_time": 0,
        "allow_replication_factor_change": allowed,
        "responses": responses,
        **outcome(),
    }


def _answer(topic: TopicInfo | None, partition: Any, node_id: int) -> dict[str, Any]:
    result = {"partition_index": partition.partition_index}
    try:
        if not has_partition(topic, partition.partition_index):
            raise RefusedError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "there is no such partition")
        if partition.replicas is None:
            raise RefusedError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, "there is nothing to cancel")
        check_replicas(node_id, partition.replicas)
    except RefusedError as error:
        return result | outcome(error)
    return result | outcome()
