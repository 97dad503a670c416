"""Fetch (key 1), versions 4 to 18: batches from an offset on, as they are in the log.

The answer's records are leased views of the log's files, written to the socket without a copy and
given back when the kernel has taken them. A partition with something to read always gets at least
one whole batch, however small the limits are. With less than `min_bytes` there, the answer waits up
to `max_wait` for the store to call back.

What each version added
    5  log start offset     7  fetch sessions (KIP-227, ../fetch_sessions.py)
    9  leader epoch        11  rack, preferred replica (always -1)
   12  flexible; last fetched epoch, answered with the epoch at which the logs diverge
   13  topics by id        15, 17, 18  what only replicas send    16  the new leader's address

Not done: reading as a replica (nobody is one); versions 0 to 3, which Kafka 4 has not either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from logstore.api import FetchedPartition, FetchPosition, FetchResult
from logstore.errors import LogStoreError, UnknownTopicError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, epoch_error, error_code
from logstore_server.kafka.fetch_sessions import Bounds, PartitionKey, Started, TopicKey, Wanted

TOPIC_IDS_VERSION = 13
READ_COMMITTED = 1
# Partitions that bring less than this on average are copied and their leases given back at once, so
# that a client that follows thousands of small partitions and reads slowly holds no lease of them.
COPIED_BYTES_MAX = 16 * 1024
# Of a request that names more, the others get their turn in the next ones.
PARTITIONS_WITH_DATA_MAX = 2_000


class Plan(NamedTuple):
    """One request, ready to be read as often as it takes to have `min_bytes`."""

    request: Request
    started: Started
    positions: Sequence[FetchPosition]  # of those that can be read
    names: Mapping[TopicKey, str | None]
    refused: Mapping[PartitionKey, Values]
    bytes_max: int
    read_committed: bool


def handle(request: Request) -> Values | Awaitable[Values]:
    body = request.body
    started = request.serving.fetch_sessions.start(
        getattr(body, "session_id", 0),
        getattr(body, "session_epoch", -1),
        [_wanted(topic, part) for topic in body.topics for part in topic.partitions],
        _forgotten(body),
        uses_ids=request.version >= TOPIC_IDS_VERSION,
    )
    if started.error is not ErrorCode.NONE:
        return {"throttle_time": 0, "error_code": started.error, "session_id": 0, "responses": ()}
    plan = _plan(request, started)
    result = request.store.fetch(
        plan.positions, bytes_max=plan.bytes_max, read_committed=plan.read_committed
    )
    if _is_enough(plan, result, remaining_s=body.max_wait.total_seconds()):
        return _answer(plan, result)
    return _read_on(plan, result)


# --- what is asked --------------------------------------------------------------------------


def _topic_key(topic: Any) -> TopicKey:
    key: TopicKey | None = getattr(topic, "topic", None)
    return key if key is not None else (topic.topic_id or NO_TOPIC_ID)


NO_TOPIC_ID = ""  # no topic has this name, and no id is zero


def _wanted(topic: Any, partition: Any) -> Wanted:
    return Wanted(
        _topic_key(topic),
        partition.partition,
        partition.fetch_offset,
        max(1, partition.partition_max_bytes),
        getattr(partition, "current_leader_epoch", -1),
        getattr(partition, "last_fetched_epoch", -1),
    )


def _forgotten(body: Any) -> Iterator[PartitionKey]:
    for topic in getattr(body, "forgotten_topics_data", ()):
        key = _topic_key(topic)
        for partition in topic.partitions:
            yield key, partition


def _plan(request: Request, started: Started) -> Plan:
    names: dict[TopicKey, str | None] = {}
    refused: dict[PartitionKey, Values] = {}
    positions = []
    for wanted in started.wanted:
        if wanted.topic not in names:
            names[wanted.topic] = _name(request, wanted.topic)
        name = names[wanted.topic]
        problem = _problem(request, name, wanted)
        if problem is not None:
            refused[wanted.topic, wanted.partition] = problem
        elif name is not None:
            positions.append(FetchPosition(name, *wanted[1:4]))
    limit = request.serving.config.fetch_bytes_max
    return Plan(
        request,
        started,
        positions[:PARTITIONS_WITH_DATA_MAX],
        names,
        refused,
        max(1, min(getattr(request.body, "max_bytes", limit), limit)),
        request.body.isolation_level == READ_COMMITTED,
    )


def _name(request: Request, topic: TopicKey) -> str | None:
    if isinstance(topic, str):
        return topic if request.version < TOPIC_IDS_VERSION else None
    try:
        return request.store.topic_name(topic)
    except UnknownTopicError:
        return None


def _problem(request: Request, name: str | None, wanted: Wanted) -> Values | None:
    """The answer for a partition that is not read: its topic or the client's epoch is not ours."""
    if name is None:
        return _failed(wanted, ErrorCode.UNKNOWN_TOPIC_ID)
    if wanted.leader_epoch < 0 and wanted.fetched_epoch < 0:
        return None
    try:
        bounds = request.store.partition_bounds(name, wanted.partition)
        code = epoch_error(wanted.leader_epoch, bounds.leader_epoch)
        if code is not ErrorCode.NONE:
            return _failed(wanted, code)
        if wanted.fetched_epoch >= 0:
            end = request.store.epoch_end(name, wanted.partition, wanted.fetched_epoch)
            if end.leader_epoch < wanted.fetched_epoch or end.end_offset < wanted.offset:
                diverging = {"epoch": end.leader_epoch, "end_offset": end.end_offset}
                return _failed(wanted, ErrorCode.NONE) | {"diverging_epoch": diverging}
    except LogStoreError as error:
        return _failed(wanted, error_code(error))
    return None


# --- reading --------------------------------------------------------------------------------


def _is_enough(plan: Plan, result: FetchResult, *, remaining_s: float) -> bool:
    """Whether to answer now. Never with what is cold: that is read first."""
    if any(item.cold for item in result.partitions):
        return False
    return (
        result.size_bytes >= plan.request.body.min_bytes
        or remaining_s <= 0
        or plan.request.serving.draining
        or bool(plan.refused)
        or any(item.error is not None for item in result.partitions)
    )


async def _read_on(plan: Plan, result: FetchResult) -> Values:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + plan.request.body.max_wait.total_seconds()
    while True:
        is_cold = any(item.cold for item in result.partitions)
        ends = _ends(plan, result)
        result.close()
        if not is_cold:
            await _wait(plan, ends, deadline - loop.time())
        result = await plan.request.bridge.fetch(
            plan.positions, bytes_max=plan.bytes_max, read_committed=plan.read_committed
        )
        if _is_enough(plan, result, remaining_s=deadline - loop.time()):
            return _answer(plan, result)


def _ends(plan: Plan, result: FetchResult) -> list[FetchPosition]:
    """Where more may come: behind what is there."""
    found = {(item.topic, item.partition): item for item in result.partitions}
    ends = []
    for position in plan.positions:
        item = found.get((position.topic, position.partition))
        if item is not None and item.data.nbytes:
            end = item.last_stable_offset if plan.read_committed else item.high_watermark
            position = position._replace(offset=end)
        ends.append(position)
    return ends


async def _wait(plan: Plan, positions: Sequence[FetchPosition], wait_s: float) -> None:
    request = plan.request
    ready = asyncio.Event()
    forget = request.serving.on_drain(ready.set)
    timer = asyncio.get_running_loop().call_later(max(0.0, wait_s), ready.set)
    try:
        waiting = request.bridge.wait_for_data(
            positions, ready.set, read_committed=plan.read_committed
        )
    except LogStoreError:  # too many wait: this one looks again when its time is over
        waiting = None
    try:
        await ready.wait()
    finally:
        timer.cancel()
        forget()
        if waiting is not None:
            waiting.cancel()


# --- the answer -----------------------------------------------------------------------------


def _answer(plan: Plan, result: FetchResult) -> Values:
    found = {(item.topic, item.partition): item for item in result.partitions}
    with_data = sum(1 for item in result.partitions if item.data.nbytes)
    copies = result.size_bytes <= with_data * COPIED_BYTES_MAX
    topics: dict[TopicKey, list[Values]] = {}
    for wanted in plan.started.wanted:
        key = (wanted.topic, wanted.partition)
        answer = plan.refused.get(key)
        if answer is None:
            name = plan.names[wanted.topic]
            assert name is not None  # or it is refused
            item = found.get((name, wanted.partition))
            answer = _partition(plan, wanted, name, item, copies)
        if _is_told(plan.started, key, answer):
            topics.setdefault(wanted.topic, []).append(answer)
    if copies:
        result.close()
    else:
        plan.request.on_sent = result.close
    session = plan.started.session
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "session_id": session.session_id if session else 0,
        "responses": [
            {"topic": topic, "topic_id": topic or None, "partitions": partitions}
            for topic, partitions in topics.items()
        ],
    }


def _is_told(started: Started, key: PartitionKey, answer: Values) -> bool:
    """Whether the answer tells the session's client something; remembers what it is told."""
    session = started.session
    if session is None:
        return True
    bounds = Bounds(answer["high_watermark"], answer.get("log_start_offset", -1))
    is_news = session.told.get(key) != bounds
    session.told[key] = bounds
    has_data = len(answer["records"]) > 0
    if has_data:
        session.served(key)
    return (
        has_data
        or is_news
        or not started.is_incremental
        or answer["error_code"] != ErrorCode.NONE
        or "diverging_epoch" in answer
    )


def _partition(
    plan: Plan, wanted: Wanted, name: str, item: FetchedPartition | None, copies: bool
) -> Values:
    if item is None:  # the answer was full before its turn
        return _bounds(plan.request, name, wanted)
    if item.error is not None:
        return _failed(wanted, error_code(item.error))
    aborted = None
    if plan.read_committed:
        aborted = [
            {"producer_id": one.producer_id, "first_offset": one.first_offset}
            for one in item.aborted
        ]
    return {
        "partition_index": wanted.partition,
        "error_code": ErrorCode.NONE,
        "high_watermark": item.high_watermark,
        "last_stable_offset": item.last_stable_offset,
        "log_start_offset": item.log_start_offset,
        "aborted_transactions": aborted,
        "records": bytes(item.data) if copies else item.data,
    }


def _bounds(request: Request, name: str, wanted: Wanted) -> Values:
    try:
        bounds = request.store.partition_bounds(name, wanted.partition)
    except LogStoreError as error:
        return _failed(wanted, error_code(error))
    return {
        "partition_index": wanted.partition,
        "error_code": ErrorCode.NONE,
        "high_watermark": bounds.high_watermark,
        "last_stable_offset": bounds.last_stable_offset,
        "log_start_offset": bounds.log_start_offset,
        "aborted_transactions": None,
        "records": b"",
    }


def _failed(wanted: Wanted, code: ErrorCode) -> dict[str, Any]:
    return {
        "partition_index": wanted.partition,
        "error_code": code,
        "high_watermark": -1,
        "aborted_transactions": None,
        "records": b"",
    }
