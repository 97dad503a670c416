"""OffsetForLeaderEpoch (key 23), versions 2 to 4: where the records of an epoch end (KIP-101, 320).

A consumer that finds its epoch ended before its position knows that records it read were lost, and
from where. The answer is of the largest epoch known that is not above the asked one.

What each version added: 2 the current epoch as the client knows it; 3 replica id; 4 flexible.
"""

from __future__ import annotations

from typing import Any

from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, epoch_error, error_code


def handle(request: Request) -> Values:
    return {
        "throttle_time": 0,
        "topics": [
            {
                "topic": topic.topic,
                "partitions": [_end(request, topic.topic, one) for one in topic.partitions],
            }
            for topic in request.body.topics
        ],
    }


def _end(request: Request, topic: str, partition: Any) -> Values:
    index = partition.partition
    try:
        bounds = request.store.partition_bounds(topic, index)
        code = epoch_error(partition.current_leader_epoch, bounds.leader_epoch)
        if code is not ErrorCode.NONE:
            return {"partition": index, "error_code": code}
        end = request.store.epoch_end(topic, index, partition.leader_epoch)
    except LogStoreError as error:
        return {"partition": index, "error_code": error_code(error)}
    return {
        "partition": index,
        "error_code": ErrorCode.NONE,
        "leader_epoch": end.leader_epoch,
        "end_offset": end.end_offset,
    }
