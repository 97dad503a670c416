"""EndTxn (key 26), versions 0 to 5: commit or abort; done, and seen by readers, when answered.

What each version added: 2 PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH; 3 flexible; 4
TRANSACTION_ABORTABLE, which is not answered here; 5 who the producer is from now on (version 2 of
transactions, KIP-890): its epoch rises, here by two, and after some 16,000 transactions it has
another producer id.
"""

from __future__ import annotations

from logstore.api import ProducerIdentity
from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.transactions import producer_code, version_of

FENCED_SINCE = 2
NEXT_PRODUCER_VERSION = 5


async def handle(request: Request) -> Values:
    try:
        producer_id, epoch = await request.bridge.call(_end, request)
    except LogStoreError as error:
        code = producer_code(error, request.version, fenced_since=FENCED_SINCE)
        return {"throttle_time": 0, "error_code": code}
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "producer_id": producer_id,
        "producer_epoch": epoch,
    }


def _end(request: Request) -> ProducerIdentity:
    body = request.body
    return request.store.transactions.end(
        body.transactional_id,
        ProducerIdentity(body.producer_id, body.producer_epoch),
        commit=body.committed,
        version=version_of(request, implicit=NEXT_PRODUCER_VERSION),
    )
