"""What is told of a group: its kind, its members and its lag, as values of the api. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from logstore.api import (
    CommittedOffset,
    GroupKind,
    GroupSummary,
    ListedGroup,
    MemberInfo,
    PartitionLag,
    TopicPartition,
)
from logstore.errors import InvalidRequestError, LogStoreError
from logstore.group.classic_group import ClassicGroup
from logstore.group.consumer_group import ConsumerGroup
from logstore.group.consumer_protocol import (
    PROTOCOL_TYPE,
    ConsumerSubscription,
    decode_assignment,
    decode_subscription,
)

Group = ConsumerGroup | ClassicGroup
Bounds = Callable[[str, int], tuple[int, int]]  # -> log start offset, high watermark


def kind_of(group: Group) -> GroupKind:
    return GroupKind.CONSUMER if isinstance(group, ConsumerGroup) else GroupKind.CLASSIC


def summary_of(group: Group) -> GroupSummary:
    return GroupSummary(group.group_id, kind_of(group), group.state, group.member_count)


def listed(group: Group) -> ListedGroup:
    if isinstance(group, ClassicGroup):
        protocol_type = group.protocol_type
    else:
        protocol_type = PROTOCOL_TYPE if group.epoch > 0 else ""  # 0: it has offsets only
    return ListedGroup(group.group_id, kind_of(group), group.state, protocol_type)


def assignor_of(group: Group) -> str:
    """Of a classic group the protocol, "" before it is chosen."""
    return group.assignor if isinstance(group, ConsumerGroup) else group.describe().protocol


def owners_of(members: Iterable[MemberInfo]) -> dict[TopicPartition, str]:
    """Who owns what, as `members_of` tells it."""
    return {part: member.member_id for member in members for part in member.assigned}


def topics_read(group: Group) -> frozenset[str] | None:
    """By its members; None if that is in bytes which nobody here can read."""
    if isinstance(group, ConsumerGroup):
        return group.subscribed_topics()
    topics: set[str] = set()
    for member in group.members:
        subscription = _subscription(group, member.protocols[0].metadata)
        if subscription is None:
            return None
        topics.update(subscription.topics)
    return frozenset(topics)


def members_of(group: Group) -> tuple[MemberInfo, ...]:
    """Of a classic group what its leader has assigned, if that can be read."""
    if isinstance(group, ConsumerGroup):
        return group.describe()
    info = group.describe()
    members = []
    for member in info.members:
        subscription = _subscription(group, member.metadata)
        assigned = _assigned(group, member.assignment)
        members.append(
            MemberInfo(
                member_id=member.member_id,
                instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_epoch=info.generation,
                subscribed_topics=() if subscription is None else subscription.topics,
                subscribed_pattern=None,
                assigned=assigned,
                target=assigned,
                is_classic=True,
            )
        )
    return tuple(members)


def _subscription(group: ClassicGroup, metadata: bytes) -> ConsumerSubscription | None:
    if group.protocol_type != PROTOCOL_TYPE:
        return None
    try:
        return decode_subscription(metadata)
    except InvalidRequestError:
        return None


def _assigned(group: ClassicGroup, assignment: bytes) -> tuple[TopicPartition, ...]:
    if group.protocol_type != PROTOCOL_TYPE:
        return ()
    try:
        return tuple(sorted(decode_assignment(assignment)))
    except InvalidRequestError:
        return ()


def lag_of(committed: CommittedOffset, owner: str, bounds: Bounds) -> PartitionLag:
    """Counted from the log start where nothing is committed, or what is was deleted."""
    try:
        start, watermark = bounds(committed.topic, committed.partition)
    except LogStoreError:  # the topic was deleted since
        start = watermark = 0
    return PartitionLag(
        topic=committed.topic,
        partition=committed.partition,
        committed=committed.offset,
        high_watermark=watermark,
        lag=max(0, watermark - max(committed.offset, start)),
        metadata=committed.metadata,
        member_id=owner,
    )
