"""TransactionService: offsets in a transaction, and its end. All first version.

Transactions begin in ProduceService (InitProducer, and batches with their transactional bit). Both
calls wait for syncs that they lead themselves, so they are made in worker threads.
"""

from __future__ import annotations

from logstore.api import ProducerIdentity
from logstore.errors import InvalidRequestError
from logstore.v1 import transaction_service_pb2 as pb
from logstore_server.rpc.calls import Context, Serving
from logstore_server.rpc.values import offsets_of


class TransactionService:
    descriptor = pb.DESCRIPTOR.services_by_name["TransactionService"]

    def __init__(self, serving: Serving) -> None:
        self._store = serving.store
        self._call = serving.bridge.call

    async def add_offsets(
        self, request: pb.AddOffsetsRequest, _context: Context
    ) -> pb.AddOffsetsResponse:
        await self._call(
            self._store.commit_offsets_in_transaction,
            request.producer.transactional_id,
            _identity(request.producer),
            request.group_id,
            offsets_of(request.offsets),
            member_id=request.member_id,
            member_epoch=request.member_epoch if request.member_id else -1,
        )
        return pb.AddOffsetsResponse()

    async def end_transaction(
        self, request: pb.EndTransactionRequest, _context: Context
    ) -> pb.EndTransactionResponse:
        identity = await self._call(
            self._store.end_transaction,
            request.producer.transactional_id,
            _identity(request.producer),
            commit=request.commit,
        )
        return pb.EndTransactionResponse(
            producer_id=identity.producer_id, producer_epoch=identity.producer_epoch
        )


def _identity(producer: pb.TransactionalProducer) -> ProducerIdentity:
    if not producer.transactional_id:
        raise InvalidRequestError("the transactional id is missing")
    return ProducerIdentity(producer.producer_id, producer.producer_epoch)
