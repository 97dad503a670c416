"""ListOffsets (key 2), versions 1 to 11: offsets by time, and of the log's ends.

    timestamp  -1 latest       the high watermark; the last stable offset for read_committed
               -2 earliest     the log start
               -3 max          the record with the largest timestamp (7)
               -4 earliest local (8)   the log start: nothing is anywhere else
               -5 latest tiered (9), -6 earliest to be tiered (11)   -1: nothing is
               0 and above     the first record at or after it

What each version added: 2 isolation level, throttle time; 4 leader epochs; 6 flexible;
7, 8, 9 and 11 the special timestamps above; 10 a timeout, which nothing here needs.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from logstore.api import (
    OFFSET_UNKNOWN,
    TIMESTAMP_UNKNOWN,
    OffsetAnswer,
    OffsetQuery,
    OffsetSpec,
)
from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, epoch_error, error_code

READ_COMMITTED = 1
EARLIEST_LOCAL = -4
# The version that brought a special timestamp.
VERSION_OF = {-1: 1, -2: 1, -3: 7, -4: 8, -5: 9, -6: 11}
NEVER = 1 << 15


def handle(request: Request) -> Values | Awaitable[Values]:
    body = request.body
    wanted = [(topic.name, partition) for topic in body.topics for partition in topic.partitions]
    blocks = any(
        partition.timestamp >= 0 or partition.timestamp == OffsetSpec.MAX_TIMESTAMP
        for _, partition in wanted
    )
    if blocks:
        return _look_up_in_thread(request, wanted)
    return _answer(request, _look_up(request, wanted))


async def _look_up_in_thread(request: Request, wanted: list[tuple[str, Any]]) -> Values:
    return _answer(request, await request.bridge.call(_look_up, request, wanted))


def _look_up(request: Request, wanted: list[tuple[str, Any]]) -> list[OffsetAnswer]:
    return [
        _look_up_one(request, name, partition.partition_index, partition.timestamp)
        for name, partition in wanted
    ]


def _look_up_one(request: Request, name: str, partition: int, timestamp: int) -> OffsetAnswer:
    store = request.store
    read_committed = getattr(request.body, "isolation_level", 0) == READ_COMMITTED
    try:
        bounds = store.partition_bounds(name, partition)
    except LogStoreError as error:
        return OffsetAnswer(name, partition, -1, -1, -1, error)
    end = bounds.last_stable_offset if read_committed else bounds.high_watermark
    offset = {
        OffsetSpec.LATEST: end,
        OffsetSpec.EARLIEST: bounds.log_start_offset,
        EARLIEST_LOCAL: bounds.log_start_offset,
    }.get(timestamp, OFFSET_UNKNOWN)
    if timestamp < 0 and timestamp != OffsetSpec.MAX_TIMESTAMP:
        return OffsetAnswer(name, partition, offset, TIMESTAMP_UNKNOWN, bounds.leader_epoch)
    (found,) = store.list_offsets([OffsetQuery(name, partition, timestamp)])
    if found.error is None and found.offset >= end:  # not decided yet for this reader
        return found._replace(offset=OFFSET_UNKNOWN, timestamp_ms=TIMESTAMP_UNKNOWN)
    return found


def _answer(request: Request, answers: list[OffsetAnswer]) -> Values:
    found = iter(answers)
    return {
        "throttle_time": 0,
        "topics": [
            {
                "name": topic.name,
                "partitions": [
                    _partition(request, partition, next(found)) for partition in topic.partitions
                ],
            }
            for topic in request.body.topics
        ],
    }


def _partition(request: Request, partition: Any, found: OffsetAnswer) -> Values:
    index = partition.partition_index
    timestamp = partition.timestamp
    if timestamp < 0 and request.version < VERSION_OF.get(timestamp, NEVER):
        return {"partition_index": index, "error_code": ErrorCode.UNSUPPORTED_VERSION}
    if found.error is not None:
        return {"partition_index": index, "error_code": error_code(found.error)}
    code = epoch_error(getattr(partition, "current_leader_epoch", -1), found.leader_epoch)
    if code is not ErrorCode.NONE:
        return {"partition_index": index, "error_code": code}
    return {
        "partition_index": index,
        "error_code": ErrorCode.NONE,
        "timestamp": found.timestamp_ms,
        "offset": found.offset,
        "leader_epoch": found.leader_epoch,
    }
