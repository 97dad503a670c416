"""Fetch (key 1), versions 4 to 18: batches from an offset on, as they are in the log.

The answer's records are leased views of the log's files, written to the socket without a copy and
given back when the kernel has taken them. A partition with something to read always gets at least
one whole batch, however small the limits are. With less than `min_bytes` there, the answer waits up
to `max_wait` for the store to call back.

What each version added
    5  log start offset        7  fetch sessions (KIP-227), below     9  current leader epoch
   11  rack, preferred replica (always -1)   12  flexible; last fetched epoch
   13  topics by id           15, 17, 18  what only replicas send    16  the new leader's address
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from logstore.api import FetchedPartition, FetchPosition, FetchResult
from logstore.errors import LogStoreError, UnknownTopicError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_code

TOPIC_IDS_VERSION = 13
READ_COMMITTED = 1


async def handle(request: Request) -> Values:
    body = request.body
    config = request.serving.config
    bytes_max = max(
        1, min(getattr(body, "max_bytes", config.fetch_bytes_max), config.fetch_bytes_max)
    )
    positions = []
    names: dict[int, str | None] = {}
    for topic in body.topics:
        name = _name(request, topic)
        names[id(topic)] = name
        if name is not None:
            positions += [
                FetchPosition(
                    name, item.partition, item.fetch_offset, max(1, item.partition_max_bytes)
                )
                for item in topic.partitions
            ]
    result = await _fetch(request, positions, bytes_max)
    request.on_sent = result.close
    found = {(item.topic, item.partition): item for item in result.partitions}
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "session_id": 0,
        "responses": [
            {
                "topic": getattr(topic, "topic", None),
                "topic_id": getattr(topic, "topic_id", None),
                "partitions": [
                    _partition(request, item, names[id(topic)], found) for item in topic.partitions
                ],
            }
            for topic in body.topics
        ],
    }


def _name(request: Request, topic: Any) -> str | None:
    if request.version < TOPIC_IDS_VERSION:
        return str(topic.topic)
    try:
        return request.store.topic_name(topic.topic_id)
    except UnknownTopicError:
        return None


async def _fetch(
    request: Request, positions: Sequence[FetchPosition], bytes_max: int
) -> FetchResult:
    body = request.body
    bridge = request.bridge
    loop = asyncio.get_running_loop()
    read_committed = body.isolation_level == READ_COMMITTED
    wait_s = body.max_wait.total_seconds()
    deadline = loop.time() + wait_s
    while True:
        result = await bridge.fetch(positions, bytes_max=bytes_max, read_committed=read_committed)
        remaining = deadline - loop.time()
        if (
            result.size_bytes >= body.min_bytes
            or remaining <= 0
            or request.serving.draining
            or any(item.error is not None for item in result.partitions)
        ):
            return result
        ends = _ends(positions, result, read_committed)
        result.close()
        await _wait(request, ends, remaining, read_committed)


def _ends(
    positions: Sequence[FetchPosition], result: FetchResult, read_committed: bool
) -> list[FetchPosition]:
    """Where more may come: behind what is there."""
    found = {(item.topic, item.partition): item for item in result.partitions}
    ends = []
    for position in positions:
        item = found.get((position.topic, position.partition))
        if item is not None and item.data.nbytes:
            end = item.last_stable_offset if read_committed else item.high_watermark
            position = position._replace(offset=end)
        ends.append(position)
    return ends


async def _wait(
    request: Request, positions: Sequence[FetchPosition], wait_s: float, read_committed: bool
) -> None:
    ready = asyncio.Event()
    try:
        waiting = request.bridge.wait_for_data(positions, ready.set, read_committed=read_committed)
    except LogStoreError:  # too many wait: this one looks again when its time is over
        await asyncio.sleep(wait_s)
        return
    forget = request.serving.on_drain(ready.set)
    try:
        await asyncio.wait_for(ready.wait(), wait_s)
    except TimeoutError:
        pass
    finally:
        forget()
        waiting.cancel()


def _partition(
    request: Request,
    asked: Any,
    name: str | None,
    found: dict[tuple[str, int], FetchedPartition],
) -> Values:
    if name is None:
        return _failed(asked, ErrorCode.UNKNOWN_TOPIC_ID)
    item = found.get((name, asked.partition))
    if item is None:  # the answer was full before its turn
        return _bounds(request, name, asked)
    if item.error is not None:
        return _failed(asked, error_code(item.error))
    aborted = None
    if request.body.isolation_level == READ_COMMITTED:
        aborted = [
            {"producer_id": one.producer_id, "first_offset": one.first_offset}
            for one in item.aborted
        ]
    return {
        "partition_index": asked.partition,
        "error_code": ErrorCode.NONE,
        "high_watermark": item.high_watermark,
        "last_stable_offset": item.last_stable_offset,
        "log_start_offset": item.log_start_offset,
        "aborted_transactions": aborted,
        "records": item.data,
    }


def _bounds(request: Request, name: str, asked: Any) -> Values:
    try:
        bounds = request.store.partition_bounds(name, asked.partition)
    except LogStoreError as error:
        return _failed(asked, error_code(error))
    return {
        "partition_index": asked.partition,
        "error_code": ErrorCode.NONE,
        "high_watermark": bounds.high_watermark,
        "last_stable_offset": bounds.last_stable_offset,
        "log_start_offset": bounds.log_start_offset,
        "aborted_transactions": None,
        "records": b"",
    }


def _failed(asked: Any, code: ErrorCode) -> Values:
    return {
        "partition_index": asked.partition,
        "error_code": code,
        "high_watermark": -1,
        "aborted_transactions": None,
        "records": b"",
    }
