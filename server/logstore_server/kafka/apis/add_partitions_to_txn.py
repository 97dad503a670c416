"""AddPartitionsToTxn (key 24), versions 0 to 5: a client of version 1 says where it will write.

All partitions of a transaction are added or none: beside one that is not there the others are
OPERATION_NOT_ATTEMPTED. The transaction begins with the first.

What each version added
    2  PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH        3  flexible
    4  many transactions; `verify_only` asks whether the partitions are in the open transaction, and
       is answered TRANSACTION_ABORTABLE for those that are not        5  nothing seen here

Kafka's brokers ask versions 4 and 5 of each other; its clients never do. They are advertised and
served all the same, as Kafka's are: to who may do CLUSTER_ACTION.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from logstore.api import ProducerIdentity, TopicPartition, TransactionStatus
from logstore.errors import LogStoreError, UnknownPartitionError, UnknownTopicError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.transactions import producer_code

BROKERS_VERSION = 4
FENCED_SINCE = 2
_MISSING = (UnknownTopicError, UnknownPartitionError)
_ENDING = (TransactionStatus.PREPARE_COMMIT, TransactionStatus.PREPARE_ABORT)

Codes = Mapping[TopicPartition, ErrorCode]


def handle(request: Request) -> Values:
    body = request.body
    if request.version >= BROKERS_VERSION:
        return {
            "throttle_time": 0,
            "error_code": ErrorCode.NONE,
            "results_by_transaction": [_result(request, one) for one in body.transactions],
        }
    topics = body.v3_and_below_topics
    producer = ProducerIdentity(body.v3_and_below_producer_id, body.v3_and_below_producer_epoch)
    parts = _parts(topics)
    name = body.v3_and_below_transactional_id
    codes = _missing(request, parts) or _add(request, name, producer, parts)
    return {"throttle_time": 0, "results_by_topic_v3_and_below": _by_topic(topics, codes)}


def _result(request: Request, one: Any) -> Values:
    """Of one transaction, from version 4 on."""
    producer = ProducerIdentity(one.producer_id, one.producer_epoch)
    parts = _parts(one.topics)
    codes = _missing(request, parts)
    if codes is None:
        act = _verify if one.verify_only else _add
        codes = act(request, one.transactional_id, producer, parts)
    return {
        "transactional_id": one.transactional_id,
        "topic_results": _by_topic(one.topics, codes),
    }


def _parts(topics: Sequence[Any]) -> list[TopicPartition]:
    return [
        TopicPartition(topic.name, partition) for topic in topics for partition in topic.partitions
    ]


def _missing(request: Request, parts: list[TopicPartition]) -> Codes | None:
    found = dict.fromkeys(parts, ErrorCode.OPERATION_NOT_ATTEMPTED)
    is_missing = False
    for part in parts:
        try:
            request.store.partition_bounds(*part)
        except _MISSING:
            found[part] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            is_missing = True
        except LogStoreError:  # it is there; whoever writes is told
            continue
    return found if is_missing else None


def _add(
    request: Request, name: str, producer: ProducerIdentity, parts: list[TopicPartition]
) -> Codes:
    code = ErrorCode.NONE
    try:
        request.store.transactions.add_partitions(name, producer, parts)
    except LogStoreError as error:
        code = producer_code(error, request.version, fenced_since=FENCED_SINCE)
    return dict.fromkeys(parts, code)


def _verify(
    request: Request, name: str, producer: ProducerIdentity, parts: list[TopicPartition]
) -> Codes:
    """Changes nothing."""
    try:
        info = request.store.transactions.describe(name)
    except LogStoreError as error:
        code = producer_code(error, request.version, fenced_since=FENCED_SINCE)
        return dict.fromkeys(parts, code)
    if info.producer.producer_id != producer.producer_id:
        return dict.fromkeys(parts, ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if info.producer != producer:
        return dict.fromkeys(parts, ErrorCode.PRODUCER_FENCED)
    if info.status in _ENDING:
        return dict.fromkeys(parts, ErrorCode.CONCURRENT_TRANSACTIONS)
    inside = set(info.partitions)
    return {
        part: ErrorCode.NONE if part in inside else ErrorCode.TRANSACTION_ABORTABLE
        for part in parts
    }


def _by_topic(topics: Sequence[Any], codes: Codes) -> list[Values]:
    return [
        {
            "name": topic.name,
            "results_by_partition": [
                {
                    "partition_index": partition,
                    "partition_error_code": codes[TopicPartition(topic.name, partition)],
                }
                for partition in topic.partitions
            ],
        }
        for topic in topics
    ]
