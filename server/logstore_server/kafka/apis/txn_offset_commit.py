"""TxnOffsetCommit (key 28), versions 0 to 5: offsets that count when the transaction is committed.

What each version added: 2 leader epochs; 3 flexible, and the member with its generation, which is
then checked as for OffsetCommit (KIP-447); 4 TRANSACTION_ABORTABLE where AddOffsetsToTxn is
missing, before that INVALID_TXN_STATE; 5 the request itself enrols the offsets (KIP-890).

A commit without a member is taken whoever is in the group: the producer's epoch fences.
"""

from __future__ import annotations

from logstore.api import MemberCommit, OffsetToCommit, ProducerIdentity
from logstore.errors import LogStoreError, StaleMemberEpochError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.transactions import version_of, writer_code

ABORTABLE_VERSION = 4
IMPLICIT_VERSION = 5


async def handle(request: Request) -> Values:
    body = request.body
    items = [(topic, partition) for topic in body.topics for partition in topic.partitions]
    commit = MemberCommit(
        body.group_id,
        tuple(
            OffsetToCommit(
                topic.name,
                partition.partition_index,
                partition.committed_offset,
                getattr(partition, "committed_leader_epoch", -1),
                partition.committed_metadata or "",
            )
            for topic, partition in items
        ),
        getattr(body, "member_id", ""),
        getattr(body, "generation_id", -1),
        getattr(body, "group_instance_id", None),
    )
    written = request.store.transactions.commit_offsets(
        body.transactional_id,
        ProducerIdentity(body.producer_id, body.producer_epoch),
        commit,
        version=version_of(request, implicit=IMPLICIT_VERSION),
    )
    try:
        errors = await request.bridge.future(written)
    except LogStoreError as error:
        errors = [error] * len(items)
    codes = iter([_code(request, error) for error in errors])
    return {
        "throttle_time": 0,
        "topics": [
            {
                "name": topic.name,
                "partitions": [
                    {"partition_index": partition.partition_index, "error_code": next(codes)}
                    for partition in topic.partitions
                ],
            }
            for topic in body.topics
        ],
    }


def _code(request: Request, error: LogStoreError | None) -> ErrorCode:
    if error is None:
        return ErrorCode.NONE
    if isinstance(error, StaleMemberEpochError):  # clients of this API know generations only
        return ErrorCode.ILLEGAL_GENERATION
    return writer_code(error, request.version, abortable=ABORTABLE_VERSION)
