"""Produce (key 0), versions 3 to 13: one record batch for each partition, as it comes.

The engine validates the batch, sets offsets and leader epoch, and appends the client's bytes; on a
topic with a compression.type of its own it compresses them first, unless they are in that codec.
acks=-1 is answered when the batch is as durable as its topic asks, 1 when it is written, 0 never:
if a batch of it fails, the connection is closed (../gate.py), which tells the client to look anew.
Requests of one connection are appended in their order and may wait for the same flush.

What each version added
    4  nothing seen by brokers   5  log start offset      7  zstd is allowed, before that refused
    8  record errors and a message                        9  flexible
   10  the new leader, if it moved                       13  topics by id
   11  TRANSACTION_ABORTABLE where a partition was not added to the transaction, before that
       INVALID_TXN_STATE                                 12  a transactional batch adds it (KIP-890)

Versions 0 to 2 (records of old formats) are advertised, or librdkafka would stop compressing
(KAFKA-18659), and not served: a request closes the connection, as it does at Kafka 4 (KIP-896).

Not done: the request's timeout, as there are no replicas to wait for; a sync ends or fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from logstore.api import Acks, Appended, TopicPartition
from logstore.errors import (
    BatchCompressionError,
    BatchRecordError,
    ConcurrentTransactionsError,
    InvalidBatchError,
    InvalidRequestError,
    LogStoreError,
    UnknownTopicError,
)
from logstore.pending import Pending
from logstore.record import CODEC_NAMES, decode_records, parse_header
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_message
from logstore_server.kafka.messages import Answer
from logstore_server.kafka.transactions import version_of, writer_code

ZSTD_VERSION = 7
ABORTABLE_VERSION = 11
IMPLICIT_VERSION = 12
TOPIC_IDS_VERSION = 13
# Checking and writing an uncompressed megabyte takes about 0.3 ms in the event loop; a thread costs
# as much to reach. Larger and compressed batches go to a worker, and those that will be compressed.
INLINE_BYTES_MAX = 2 * 1024 * 1024
# Of a larger refused batch only the first fault is named.
FAULTS_BYTES_MAX = 16 * 1024 * 1024
NO_RECORDS = memoryview(b"")
ACKS = {-1: Acks.ALL, 0: Acks.NONE, 1: Acks.LEADER}


@dataclass(slots=True, eq=False)
class Part:
    """One partition's batch, and what became of it."""

    topic: Any  # the schema's
    where: TopicPartition
    data: memoryview
    pending: Pending[Appended]


def handle(request: Request) -> Answer | Awaitable[Answer]:
    body = request.body
    acks = ACKS.get(body.acks)
    parts = [
        _part(request, topic, partition, acks)
        for topic in body.topic_data
        for partition in topic.partition_data
    ]
    if acks is None or _are_light(request, parts):
        _append(request, parts, acks or Acks.NONE)
        request.taken()
        if all(part.pending.done for part in parts):
            return _answer(request, parts)
        return _when_done(request, parts)
    return _append_in_thread(request, parts, acks)


async def _append_in_thread(request: Request, parts: list[Part], acks: Acks) -> Answer:
    await request.bridge.call(_append, request, parts, acks)
    request.taken()
    return await _when_done(request, parts)


async def _when_done(request: Request, parts: list[Part]) -> Answer:
    bridge = request.bridge
    waiting = [part.pending for part in parts if not part.pending.done]
    for _ in waiting:
        bridge.count_append()
    if waiting:
        await asyncio.wait([bridge.future(pending.then(_ignore)) for pending in waiting])
    return _answer(request, parts)


def _ignore(_: Appended) -> None: ...


def _part(request: Request, topic: Any, partition: Any, acks: Acks | None) -> Part:
    name = ""
    refused: LogStoreError | None = None
    if acks is None:
        refused = InvalidRequestError(f"acks={request.body.acks} is none of -1, 0 and 1")
    elif request.version >= TOPIC_IDS_VERSION:
        try:
            name = request.store.topic_name(topic.topic_id)
        except UnknownTopicError as error:
            refused = error
    else:
        name = topic.name
    if refused is None and partition.records is None:
        refused = InvalidBatchError("there are no records")
    if refused is None and _is_early_zstd(request, partition.records):
        refused = BatchCompressionError(f"zstd is allowed from version {ZSTD_VERSION} on")
    where = TopicPartition(name, partition.index)
    pending: Pending[Appended] = Pending()
    if refused is not None:
        pending.set_error(refused)
    return Part(
        topic, where, NO_RECORDS if partition.records is None else partition.records, pending
    )


def _is_early_zstd(request: Request, data: memoryview) -> bool:
    if request.version >= ZSTD_VERSION:
        return False
    try:
        return CODEC_NAMES[parse_header(data).compression] == "zstd"
    except (InvalidRequestError, IndexError):
        return False  # the store says what is wrong with it


def _are_light(request: Request, parts: list[Part]) -> bool:
    """Whether all can be checked in the event loop: of moderate size, no larger inside, and not to
    be compressed."""
    if sum(len(part.data) for part in parts) > INLINE_BYTES_MAX:
        return False
    compresses = request.store.compresses
    try:
        return all(
            part.pending.done
            or (parse_header(part.data).compression == 0 and not compresses(part.where.topic))
            for part in parts
        )
    except InvalidRequestError:
        return True  # the store says what is wrong with it


def _append(request: Request, parts: list[Part], acks: Acks) -> None:
    store = request.store
    version = version_of(request, implicit=IMPLICIT_VERSION)
    for part in parts:
        if not part.pending.done:
            part.pending = store.append(
                *part.where, part.data, acks=acks, transaction_version=version
            )


def _answer(request: Request, parts: list[Part]) -> Answer:
    if request.body.acks == 0 and all(part.pending.error is None for part in parts):
        return None
    topics: dict[int, dict[str, Any]] = {}
    for part in parts:
        topic = topics.setdefault(id(part.topic), _topic(request, part.topic))
        topic["partition_responses"].append(_partition(request, part))
    return {"responses": list(topics.values()), "throttle_time": 0}


def _topic(request: Request, topic: Any) -> dict[str, Any]:
    if request.version >= TOPIC_IDS_VERSION:
        return {"topic_id": topic.topic_id, "partition_responses": []}
    return {"name": topic.name, "partition_responses": []}


def _partition(request: Request, part: Part) -> Values:
    error = part.pending.error
    if error is not None:
        return {
            "index": part.where.partition,
            "error_code": _code(request, part, error),
            "base_offset": -1,
            "record_errors": _record_errors(part.data, error),
            "error_message": error_message(error),
        }
    stored = part.pending.result(0)
    return {
        "index": part.where.partition,
        "error_code": ErrorCode.NONE,
        "base_offset": stored.base_offset,
        "log_append_time": stored.log_append_time_ms,
        "log_start_offset": stored.log_start_offset,
        "record_errors": (),
    }


def _code(request: Request, part: Part, error: LogStoreError) -> ErrorCode:
    if request.body.acks not in ACKS:
        return ErrorCode.INVALID_REQUIRED_ACKS
    if isinstance(error, BatchCompressionError) and _is_early_zstd(request, part.data):
        return ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    if request.version >= TOPIC_IDS_VERSION and isinstance(error, UnknownTopicError):
        return ErrorCode.UNKNOWN_TOPIC_ID
    if isinstance(error, ConcurrentTransactionsError) and request.version < IMPLICIT_VERSION:
        return ErrorCode.NOT_ENOUGH_REPLICAS  # what older clients try again after
    return writer_code(error, request.version, abortable=ABORTABLE_VERSION)


def _record_errors(data: memoryview, error: LogStoreError) -> list[Values]:
    """The records that are at fault, so that a client may give up these and send the others: on a
    compacted topic all that have no key, else the one that was met first."""
    if not isinstance(error, BatchRecordError):
        return []
    first = int(error.details["record_index"])
    try:
        records = decode_records(data, decompressed_bytes_max=FAULTS_BYTES_MAX)
        keyless = [index for index, record in enumerate(records) if record.key is None]
    except InvalidBatchError:
        keyless = []
    faults = keyless if first in keyless else [first]
    return [
        {"batch_index": index, "batch_index_error_message": error_message(error)}
        for index in faults
    ]
