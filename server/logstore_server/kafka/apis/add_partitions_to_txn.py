"""AddPartitionsToTxn (key 24), versions 0 to 5: a client of version 1 says where it will write.

All partitions are added or none: beside one that is not there the others are
OPERATION_NOT_ATTEMPTED. The transaction begins with the first.

What each version added: 2 PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH; 3 flexible; 4 and 5
many transactions, and verification only, for brokers among themselves: clients get
CLUSTER_AUTHORIZATION_FAILED, as there is no other broker.
"""

from __future__ import annotations

from typing import Any

from logstore.api import ProducerIdentity, TopicPartition
from logstore.errors import LogStoreError, UnknownPartitionError, UnknownTopicError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.transactions import producer_code

BROKERS_VERSION = 4
FENCED_SINCE = 2
_MISSING = (UnknownTopicError, UnknownPartitionError)


def handle(request: Request) -> Values:
    if request.version >= BROKERS_VERSION:
        return {
            "throttle_time": 0,
            "error_code": ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
            "results_by_transaction": (),
        }
    body = request.body
    parts = [
        TopicPartition(topic.name, partition)
        for topic in body.v3_and_below_topics
        for partition in topic.partitions
    ]
    codes = _missing(request, parts) or dict.fromkeys(parts, _add(request, parts))
    return {"throttle_time": 0, "results_by_topic_v3_and_below": _by_topic(body, codes)}


def _missing(
    request: Request, parts: list[TopicPartition]
) -> dict[TopicPartition, ErrorCode] | None:
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


def _add(request: Request, parts: list[TopicPartition]) -> ErrorCode:
    body = request.body
    producer = ProducerIdentity(body.v3_and_below_producer_id, body.v3_and_below_producer_epoch)
    try:
        request.store.transactions.add_partitions(
            body.v3_and_below_transactional_id, producer, parts
        )
    except LogStoreError as error:
        return producer_code(error, request.version, fenced_since=FENCED_SINCE)
    return ErrorCode.NONE


def _by_topic(body: Any, codes: dict[TopicPartition, ErrorCode]) -> list[Values]:
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
        for topic in body.v3_and_below_topics
    ]
