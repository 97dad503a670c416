"""Consumer groups as values: what members of server-assigned groups say and are told, committed
offsets, and what is told of any group."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from logstore.api.topics import TopicPartition

LEADER_EPOCH_UNKNOWN = -1
EPOCH_JOIN = 0  # GroupHeartbeat.member_epoch of a member that joins
EPOCH_LEAVE = -1  # ... that leaves for good
EPOCH_LEAVE_STATIC = -2  # ... that leaves but will be back under its instance id


@dataclass(frozen=True, slots=True)
class GroupHeartbeat:
    """A member of a server-assigned group says that it lives and what it owns.

    Joins with member_epoch 0 (member_id may be "": one is given), leaves with -1, or -2 if it
    is static and will be back. `owned` None means: as in the last heartbeat.
    `subscribed_topics` and `subscribed_pattern` (RE2, matched against whole names): None means
    as before; at least one is needed to join.
    """

    group_id: str
    member_id: str = ""
    member_epoch: int = EPOCH_JOIN
    instance_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    session_timeout_ms: int | None = None
    rebalance_timeout_ms: int | None = None
    subscribed_topics: tuple[str, ...] | None = None
    subscribed_pattern: str | None = None
    assignor: str | None = None
    owned: tuple[TopicPartition, ...] | None = None
    may_read_nothing: bool = False  # joins without topics and pattern are in order


@dataclass(frozen=True, slots=True)
class GroupAssignment:
    """The answer: what the member should own now, at this epoch.

    It must first give up what it owns beyond `partitions` and say so in its next heartbeat.
    `settled`: nothing more will change until the group does. `is_reported`: `partitions` are what
    the member said it owns, in this heartbeat or an earlier one (not told over gRPC).
    """

    member_id: str
    member_epoch: int
    heartbeat_interval_ms: int
    partitions: tuple[TopicPartition, ...]
    settled: bool = True
    is_reported: bool = field(default=False, compare=False)


def is_news(heartbeat: GroupHeartbeat, answer: GroupAssignment) -> bool:
    """Whether the answer tells the member anything beyond what its heartbeat said it knows."""
    return (
        answer.member_id != heartbeat.member_id
        or answer.member_epoch != heartbeat.member_epoch
        or (heartbeat.owned is not None and set(answer.partitions) != set(heartbeat.owned))
    )


class OffsetToCommit(NamedTuple):
    topic: str
    partition: int
    offset: int
    leader_epoch: int = LEADER_EPOCH_UNKNOWN
    metadata: str = ""


class CommittedOffset(NamedTuple):
    """offset -1: nothing is committed."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int


class GroupKind(enum.StrEnum):
    CONSUMER = "consumer"  # assigned by the server
    CLASSIC = "classic"  # assigned by its leader (Kafka's join/sync)


@dataclass(frozen=True, slots=True)
class GroupSummary:
    group_id: str
    kind: GroupKind
    state: str  # empty | reconciling | stable; classic: also preparing | completing; dead
    members: int


@dataclass(frozen=True, slots=True)
class MemberInfo:
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    member_epoch: int
    subscribed_topics: tuple[str, ...]
    subscribed_pattern: str | None
    assigned: tuple[TopicPartition, ...]  # owned now
    target: tuple[TopicPartition, ...]  # to be owned
    is_classic: bool = False  # speaks Kafka's join and sync; not told over gRPC


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """`committed` -1: nothing committed; lag then counts from the log start."""

    topic: str
    partition: int
    committed: int
    high_watermark: int
    lag: int
    metadata: str
    member_id: str  # who owns it now, "" for nobody


@dataclass(frozen=True, slots=True)
class GroupInfo:
    group_id: str
    kind: GroupKind
    state: str
    group_epoch: int
    assignor: str
    members: tuple[MemberInfo, ...]
    offsets: tuple[PartitionLag, ...]
    endpoint: str = ""


class ResetTo(enum.StrEnum):
    EARLIEST = "earliest"
    LATEST = "latest"
    OFFSET = "offset"
    TIMESTAMP = "timestamp"
    SHIFT = "shift"


@dataclass(frozen=True, slots=True)
class OffsetReset:
    """Move a group's committed offsets; `value` is the offset, timestamp (ms) or shift.

    Partitions: those named, or all of the named topics. Targets outside the log are moved to
    its nearest end. The group must have no members.
    """

    group_id: str
    to: ResetTo
    value: int = 0
    topics: tuple[str, ...] = ()
    partitions: tuple[TopicPartition, ...] = ()
    dry_run: bool = False
