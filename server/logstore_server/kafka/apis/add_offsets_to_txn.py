"""AddOffsetsToTxn (key 25), versions 0 to 4: a client of version 1 will commit offsets of a group.

What each version added: 2 PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH; 3 flexible; 4
TRANSACTION_ABORTABLE, which is not answered here.
"""

from __future__ import annotations

from logstore.api import ProducerIdentity
from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.transactions import producer_code

FENCED_SINCE = 2


def handle(request: Request) -> Values:
    body = request.body
    producer = ProducerIdentity(body.producer_id, body.producer_epoch)
    code = ErrorCode.NONE
    try:
        request.store.transactions.add_offsets(body.transactional_id, producer, body.group_id)
    except LogStoreError as error:
        code = producer_code(error, request.version, fenced_since=FENCED_SINCE)
    return {"throttle_time": 0, "error_code": code}
