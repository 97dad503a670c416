"""ConsumerGroupHeartbeat (key 68), versions 0 to 1: the life of a member that the server assigns
(KIP-848): it joins with epoch 0, says what it owns, is told what it should, leaves with -1 or -2.

The engine's group heartbeat under another name; members over gRPC are in the same groups, and
classic members of protocol type `consumer` may be.

The assignment is told when a member joins and until the member has reported just that.

What each version added
    1  the member brings its id from the start; a pattern (RE2) beside the topics' names

Not done: racks are not looked at.
"""

from __future__ import annotations

from typing import Any

from logstore.api import (
    EPOCH_JOIN,
    EPOCH_LEAVE_STATIC,
    GroupAssignment,
    GroupHeartbeat,
    TopicPartition,
)
from logstore.errors import (
    GroupKindError,
    InvalidRequestError,
    LogStoreError,
    UnknownTopicError,
)
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode, error_message
from logstore_server.kafka.groups import (
    client_host,
    group_error_code,
    milliseconds,
    topics_with_ids,
)

MEMBER_ID_VERSION = 1
UNCHANGED_MS = -1


def handle(request: Request) -> Values:
    body = request.body
    try:
        _check(request)
        answer = request.store.heartbeat_now(_heartbeat(request))
    except GroupKindError as error:
        return _refused(ErrorCode.GROUP_ID_NOT_FOUND, error)
    except LogStoreError as error:
        return _refused(group_error_code(error), error)
    is_joining, is_leaving = body.member_epoch == EPOCH_JOIN, body.member_epoch < EPOCH_JOIN
    is_told = is_joining or not (is_leaving or answer.is_reported)
    return {
        "throttle_time": 0,
        "error_code": ErrorCode.NONE,
        "member_id": answer.member_id,
        "member_epoch": answer.member_epoch,
        "heartbeat_interval": answer.heartbeat_interval_ms,
        "assignment": _assignment(request, answer) if is_told else None,
    }


def _check(request: Request) -> None:
    """What Kafka refuses before it looks at the group. Raises InvalidRequestError."""
    body = request.body
    if body.member_epoch < EPOCH_LEAVE_STATIC:
        raise InvalidRequestError(f"there is no member epoch {body.member_epoch}")
    if body.member_epoch == EPOCH_LEAVE_STATIC and body.instance_id is None:
        raise InvalidRequestError("only a member with an instance id leaves with epoch -2")
    is_join = body.member_epoch == EPOCH_JOIN
    if not body.member_id and (not is_join or request.version >= MEMBER_ID_VERSION):
        raise InvalidRequestError("a member id is needed")
    if body.instance_id == "":
        raise InvalidRequestError("an instance id is not empty")
    if not is_join:
        return
    if milliseconds(body.rebalance_timeout) <= 0:
        raise InvalidRequestError("a member joins with its rebalance timeout")
    if body.topic_partitions is None or body.topic_partitions:
        raise InvalidRequestError("a member joins owning nothing")
    pattern = getattr(body, "subscribed_topic_regex", None)
    if body.subscribed_topic_names is None and pattern is None:
        raise InvalidRequestError("a member joins with names of topics or a pattern")


def _heartbeat(request: Request) -> GroupHeartbeat:
    body = request.body
    rebalance_timeout_ms = milliseconds(body.rebalance_timeout)
    names = body.subscribed_topic_names
    return GroupHeartbeat(
        group_id=body.group_id,
        member_id=body.member_id,
        member_epoch=body.member_epoch,
        instance_id=body.instance_id,
        client_id=request.client_id,
        client_host=client_host(request),
        rebalance_timeout_ms=(
            None if rebalance_timeout_ms == UNCHANGED_MS else rebalance_timeout_ms
        ),
        subscribed_topics=None if names is None else tuple(names),
        subscribed_pattern=getattr(body, "subscribed_topic_regex", None),
        assignor=body.server_assignor,
        owned=None if body.topic_partitions is None else _owned(request, body.topic_partitions),
        may_read_nothing=True,
    )


def _owned(request: Request, topics: tuple[Any, ...]) -> tuple[TopicPartition, ...]:
    """Those of topics that are gone are nobody's any more."""
    owned: list[TopicPartition] = []
    for topic in topics:
        try:
            name = request.store.topic_name(topic.topic_id)
        except UnknownTopicError:
            continue
        owned += [TopicPartition(name, number) for number in topic.partitions]
    return tuple(owned)


def _assignment(request: Request, answer: GroupAssignment) -> Values:
    return {"topic_partitions": topics_with_ids(request.store, answer.partitions)}


def _refused(code: ErrorCode, error: LogStoreError) -> Values:
    return {
        "throttle_time": 0,
        "error_code": code,
        "error_message": error_message(error),
        "member_id": None,
        "member_epoch": 0,
        "heartbeat_interval": 0,
        "assignment": None,
    }
