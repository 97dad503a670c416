"""InitProducerId (key 22), versions 0 to 6: a producer's id, for sequence numbers or transactions.

Without a transactional id: an id never given before, epoch 0. With one: that of the transactional
id under a higher epoch; its last producer is fenced and what that left open is aborted before the
answer, so that no client is told CONCURRENT_TRANSACTIONS for it.

What each version added: 2 flexible; 3 the producer goes on after an error, unless it was replaced
(KIP-360); 4 PRODUCER_FENCED instead of INVALID_PRODUCER_EPOCH; 5 TRANSACTION_ABORTABLE, which is
not answered here; 6 two-phase commit (KIP-939): refused, as by Kafka where not enabled.
"""

from __future__ import annotations

from logstore.api import ProducerIdentity
from logstore.errors import LogStoreError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.transactions import producer_code

FENCED_SINCE = 4


async def handle(request: Request) -> Values:
    refused = _refusal(request)
    if refused is not ErrorCode.NONE:
        return _answer(refused)
    try:
        return _answer(ErrorCode.NONE, await request.bridge.call(_init, request))
    except LogStoreError as error:
        return _answer(producer_code(error, request.version, fenced_since=FENCED_SINCE))


def _refusal(request: Request) -> ErrorCode:
    body = request.body
    known = getattr(body, "producer_id", -1), getattr(body, "producer_epoch", -1)
    if body.transactional_id == "" or known.count(-1) == 1:
        return ErrorCode.INVALID_REQUEST
    if getattr(body, "enable2_pc", False):
        return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    if getattr(body, "keep_prepared_txn", False):
        return ErrorCode.UNSUPPORTED_VERSION
    return ErrorCode.NONE


def _init(request: Request) -> ProducerIdentity:
    body = request.body
    if body.transactional_id is None:
        return request.store.init_producer()
    known = ProducerIdentity(getattr(body, "producer_id", -1), getattr(body, "producer_epoch", -1))
    return request.store.transactions.init_producer(
        body.transactional_id,
        transaction_timeout_ms=round(body.transaction_timeout.total_seconds() * 1000),
        expected=None if known == (-1, -1) else known,
    )


def _answer(code: ErrorCode, producer: ProducerIdentity | None = None) -> Values:
    producer_id, epoch = producer or (-1, -1)
    return {
        "throttle_time": 0,
        "error_code": code,
        "producer_id": producer_id,
        "producer_epoch": epoch,
    }
