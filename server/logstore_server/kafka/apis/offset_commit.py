"""OffsetCommit (key 8), versions 2 to 10: a member, or nobody in a group without members, says how
far it has read. Answered once that is on disk.

A partition that is refused (it is not there, its metadata is too long) leaves the others be.

What each version added
    3  throttle time       5  no retention time any more     6  the leader's epoch, kept as sent
    7  static members      8  flexible
    9  the epoch of a member that the server assigns (KIP-848)      10  topics by id

Not done: a retention time (versions 2 to 4) is not obeyed; that of the store is.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from logstore.api import MemberCommit, OffsetToCommit
from logstore.errors import LogStoreError, StaleMemberEpochError, UnknownTopicError
from logstore.pending import Pending
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.groups import group_error_code, wait_for

MEMBER_EPOCH_VERSION = 9
TOPIC_IDS_VERSION = 10

Committing = Pending[list[LogStoreError | None]]


def handle(request: Request) -> Values | Awaitable[Values]:
    body = request.body
    names = [_name(request, topic) for topic in body.topics]
    offsets = tuple(
        OffsetToCommit(
            topic=name,
            partition=item.partition_index,
            offset=item.committed_offset,
            leader_epoch=getattr(item, "committed_leader_epoch", -1),
            metadata=item.committed_metadata or "",
        )
        for name, topic in zip(names, body.topics, strict=True)
        if name is not None
        for item in topic.partitions
    )
    committing = request.store.coordination.commit(
        MemberCommit(
            group_id=body.group_id,
            offsets=offsets,
            member_id=body.member_id,
            member_epoch=body.generation_id_or_member_epoch,
            instance_id=getattr(body, "group_instance_id", None),
        )
    )
    if committing.done:
        return _answer(request, names, committing, committing.error)
    return _wait(request, names, committing)


def _name(request: Request, topic: Any) -> str | None:
    """None: there is none with that id."""
    if request.version < TOPIC_IDS_VERSION:
        name: str = topic.name
        return name
    try:
        return None if topic.topic_id is None else request.store.topic_name(topic.topic_id)
    except UnknownTopicError:
        return None


async def _wait(request: Request, names: list[str | None], committing: Committing) -> Values:
    return _answer(request, names, committing, await wait_for(request, committing))


def _answer(
    request: Request,
    names: list[str | None],
    committing: Committing,
    error: LogStoreError | None,
) -> Values:
    outcomes = iter([] if error is not None else committing.result(0))

    def code(name: str | None) -> ErrorCode:
        if name is None:
            return ErrorCode.UNKNOWN_TOPIC_ID
        outcome = error if error is not None else next(outcomes)
        return ErrorCode.NONE if outcome is None else _code(request, outcome)

    return {
        "throttle_time": 0,
        "topics": [
            {
                "name": name,
                "topic_id": getattr(topic, "topic_id", None),
                "partitions": [
                    {"partition_index": item.partition_index, "error_code": code(name)}
                    for item in topic.partitions
                ],
            }
            for name, topic in zip(names, request.body.topics, strict=True)
        ],
    }


def _code(request: Request, error: LogStoreError) -> ErrorCode:
    if isinstance(error, StaleMemberEpochError) and request.version < MEMBER_EPOCH_VERSION:
        return ErrorCode.UNSUPPORTED_VERSION  # it would not know that code
    return group_error_code(error)
