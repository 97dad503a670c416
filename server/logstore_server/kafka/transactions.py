"""What the APIs of transactions have in common: how each names a producer that is over.

A producer whose epoch is over is INVALID_PRODUCER_EPOCH in old versions, and PRODUCER_FENCED, which
clients take for the end, from a version on that differs (KIP-588). Where records and offsets are
written it stays INVALID_PRODUCER_EPOCH: a client may find out, by InitProducerId, whether it is.
"""

from __future__ import annotations

from logstore.api import TopicPartition, TransactionVersion
from logstore.errors import InvalidTransactionStateError, LogStoreError, ProducerFencedError
from logstore_server.kafka.context import Request
from logstore_server.kafka.errors import ErrorCode, error_code

NEVER = 1 << 15


def producer_code(error: LogStoreError, version: int, *, fenced_since: int) -> ErrorCode:
    if isinstance(error, ProducerFencedError) and version < fenced_since:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    return error_code(error)


def writer_code(error: LogStoreError, version: int, *, abortable: int) -> ErrorCode:
    """Of Produce and TxnOffsetCommit. `abortable`: the version from which on a client may be told
    that its transaction is to be aborted; from the next on a write enrols."""
    if isinstance(error, InvalidTransactionStateError) and version == abortable:
        return ErrorCode.TRANSACTION_ABORTABLE
    return producer_code(error, version, fenced_since=NEVER)


def version_of(request: Request, *, implicit: int) -> TransactionVersion:
    """`implicit`: the version of the API from which on its clients are of TWO."""
    return TransactionVersion.TWO if request.version >= implicit else TransactionVersion.ONE


def by_topic(parts: tuple[TopicPartition, ...]) -> dict[str, list[int]]:
    topics: dict[str, list[int]] = {}
    for part in parts:
        topics.setdefault(part.topic, []).append(part.partition)
    return topics
