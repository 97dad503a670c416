"""What is told of a group: its kind, its members and its lag, as values of the api. Pure."""

from __future__ import annotations

from collections.abc import Callable

from logstore.api import (
    CommittedOffset,
    GroupKind,
    GroupSummary,
    MemberInfo,
    PartitionLag,
    TopicPartition,
)
from logstore.errors import LogStoreError
from logstore.group.classic_group import ClassicGroup
from logstore.group.consumer_group import ConsumerGroup

Group = ConsumerGroup | ClassicGroup
Bounds = Callable[[str, int], tuple[int, int]]  # -> log start offset, high watermark


def kind_of(group: Group) -> GroupKind:
    return GroupKind.CONSUMER if isinstance(group, ConsumerGroup) else GroupKind.CLASSIC


def summary_of(group: Group) -> GroupSummary:
    return GroupSummary(group.group_id, kind_of(group), group.state, group.member_count)


def assignor_of(group: Group) -> str:
    """Of a classic group the protocol, "" before it is chosen."""
    return group.assignor if isinstance(group, ConsumerGroup) else group.describe().protocol


def owner_of(group: Group, part: TopicPartition) -> str:
    """Who owns what in a classic group is in its members' bytes."""
    return group.owner(part) if isinstance(group, ConsumerGroup) else ""


def members_of(group: Group) -> tuple[MemberInfo, ...]:
    if isinstance(group, ConsumerGroup):
        return group.describe()
    info = group.describe()
    return tuple(
        MemberInfo(
            member_id=member.member_id,
            instance_id=member.instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            member_epoch=info.generation,
            subscribed_topics=(),
            subscribed_pattern=None,
            assigned=(),
            target=(),
        )
        for member in info.members
    )


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
