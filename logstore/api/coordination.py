"""GroupCoordination: what a listener whose clients join and sync, as Kafka's do, asks of groups.

The groups are those of LogStore's verbs. A group whose members the server assigns takes classic
members too, if they are of protocol type `consumer`: their subscription is read, and what they are
assigned is written, in Kafka's bytes. A classic group of that type becomes such a group when a
member joins it by a GroupHeartbeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from logstore.api.classic_groups import (
    NO_GENERATION,
    ClassicGroupInfo,
    ClassicHeartbeat,
    ClassicJoin,
    ClassicJoined,
    ClassicLeave,
    ClassicSync,
    ClassicSynced,
)
from logstore.api.groups import CommittedOffset, GroupKind, OffsetToCommit
from logstore.api.topics import TopicPartition
from logstore.errors import LogStoreError, UnstableOffsetCommitError
from logstore.pending import Pending


@dataclass(frozen=True, slots=True)
class MemberCommit:
    """`member_epoch`: of a classic member its generation. -1 and no member id: by nobody, which a
    group without members takes."""

    group_id: str
    offsets: tuple[OffsetToCommit, ...]
    member_id: str = ""
    member_epoch: int = NO_GENERATION
    instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class OffsetsQuery:
    """`partitions` None: all that have an offset. A `member_epoch` from 0 on must be the member's.
    `require_stable`: an error where an open transaction may move the offset (KIP-447)."""

    group_id: str
    partitions: tuple[TopicPartition, ...] | None = None
    member_id: str = ""
    member_epoch: int = NO_GENERATION
    require_stable: bool = False


@dataclass(frozen=True, slots=True)
class ListedGroup:
    """`state` as in GroupSummary. `protocol_type`: "" of a group that nobody has been in."""

    group_id: str
    kind: GroupKind
    state: str
    protocol_type: str


class GroupCoordination(Protocol):
    """Thread-safe; nothing here blocks. Errors of join, sync and commit come through the Pending,
    which may be done at once; those of the others are raised."""

    def join(self, request: ClassicJoin) -> Pending[ClassicJoined]:
        """Done when all others have joined, or their time is over. A member without an id may get
        MemberIdRequiredError, with the id to join by."""
        ...

    def sync(self, request: ClassicSync) -> Pending[ClassicSynced]:
        """Done when the leader has assigned."""
        ...

    def heartbeat(self, request: ClassicHeartbeat) -> None:
        """RebalanceInProgressError asks the member to join again."""
        ...

    def leave(self, request: ClassicLeave) -> list[LogStoreError | None]:
        """For each member, in their order, why it could not."""
        ...

    def list_groups(self) -> list[ListedGroup]: ...

    def describe(self, group_id: str) -> ClassicGroupInfo:
        """With its members' bytes; of a group that the server assigns, as if all were classic."""
        ...

    def commit(self, commit: MemberCommit) -> Pending[list[LogStoreError | None]]:
        """Done when durable: for each offset, in their order, why it alone was refused. What
        concerns the member or the whole group is the Pending's error, and nothing is stored."""
        ...

    def offsets(
        self, query: OffsetsQuery
    ) -> list[tuple[CommittedOffset, UnstableOffsetCommitError | None]]:
        """With an error the offset is not to be used."""
        ...
