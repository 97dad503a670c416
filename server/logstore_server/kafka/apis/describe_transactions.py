"""DescribeTransactions (key 65), versions 0 to 0: the state of the named transactional ids."""

from __future__ import annotations

from logstore.errors import LogStoreError, UnknownTransactionalIdError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_code
from logstore_server.kafka.transactions import by_topic


def handle(request: Request) -> Values:
    return {
        "throttle_time": 0,
        "transaction_states": [_state(request, name) for name in request.body.transactional_ids],
    }


def _state(request: Request, name: str) -> Values:
    try:
        info = request.store.transactions.describe(name)
    except LogStoreError as error:
        is_unknown = isinstance(error, UnknownTransactionalIdError)
        return {
            "error_code": ErrorCode.TRANSACTIONAL_ID_NOT_FOUND if is_unknown else error_code(error),
            "transactional_id": name,
            "transaction_state": "",
            "transaction_timeout": 0,
            "transaction_start_time": -1,
            "producer_id": -1,
            "producer_epoch": -1,
            "topics": (),
        }
    return {
        "error_code": ErrorCode.NONE,
        "transactional_id": name,
        "transaction_state": info.status,
        "transaction_timeout": info.timeout_ms,
        "transaction_start_time": info.started_ms,
        "producer_id": info.producer.producer_id,
        "producer_epoch": info.producer.producer_epoch,
        "topics": [
            {"topic": topic, "partitions": partitions}
            for topic, partitions in by_topic(info.partitions).items()
        ],
    }
