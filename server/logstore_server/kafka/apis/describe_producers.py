"""DescribeProducers (key 61), versions 0 to 0: who has written to a partition, what is open.

Not known here: the coordinator's epoch, which is always -1.
"""

from __future__ import annotations

from logstore.api import ProducerInfo, TopicPartition
from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_code, error_message


def handle(request: Request) -> Values:
    return {
        "throttle_time": 0,
        "topics": [
            {
                "name": topic.name,
                "partitions": [
                    _partition(request, TopicPartition(topic.name, index))
                    for index in topic.partition_indexes
                ],
            }
            for topic in request.body.topics
        ],
    }


def _partition(request: Request, part: TopicPartition) -> Values:
    try:
        found = request.store.transactions.describe_producers(part)
    except LogStoreError as error:
        return {
            "partition_index": part.partition,
            "error_code": error_code(error),
            "error_message": error_message(error),
            "active_producers": (),
        }
    return {
        "partition_index": part.partition,
        "error_code": ErrorCode.NONE,
        "active_producers": [_producer(item) for item in found],
    }


def _producer(item: ProducerInfo) -> Values:
    return {
        "producer_id": item.producer.producer_id,
        "producer_epoch": item.producer.producer_epoch,
        "last_sequence": item.last_sequence,
        "last_timestamp": item.last_timestamp_ms,
        "coordinator_epoch": -1,
        "current_txn_start_offset": item.transaction_start_offset,
    }
