"""What the members of a classic group ask and are told: Kafka's JoinGroup, SyncGroup, Heartbeat,
LeaveGroup and DescribeGroups without their wire format.

`metadata` and `assignment` are the members' bytes: nobody here looks into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

NO_GENERATION = -1  # of who commits without being a member


class ClassicProtocol(NamedTuple):
    """A way to assign that a member offers, and what it says of itself for that way."""

    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True)
class ClassicJoin:
    """`protocols`: the ones the member would rather have first. `needs_known_id` (JoinGroup from
    version 4 on): one without an id is given it by MemberIdRequiredError and joins again.
    `may_skip_assignment` (version 9): understands `ClassicJoined.skip_assignment`."""

    group_id: str
    protocol_type: str
    protocols: tuple[ClassicProtocol, ...]
    session_timeout_ms: int
    rebalance_timeout_ms: int
    member_id: str = ""
    instance_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    needs_known_id: bool = False
    may_skip_assignment: bool = False


class JoinedMember(NamedTuple):
    member_id: str
    instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True)
class ClassicJoined:
    """`members`: all of them, for the leader, who assigns; nobody for the others.
    `skip_assignment`: the leader came back to a group that is assigned and leaves it so."""

    member_id: str
    generation: int
    protocol_type: str
    protocol: str
    leader: str
    members: tuple[JoinedMember, ...]
    skip_assignment: bool = False


@dataclass(frozen=True, slots=True)
class ClassicSync:
    """`assignments` (member id -> bytes) are the leader's. Type and protocol None: not told."""

    group_id: str
    member_id: str
    generation: int
    instance_id: str | None = None
    protocol_type: str | None = None
    protocol: str | None = None
    assignments: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClassicSynced:
    protocol_type: str
    protocol: str
    assignment: bytes


@dataclass(frozen=True, slots=True)
class ClassicHeartbeat:
    group_id: str
    member_id: str
    generation: int
    instance_id: str | None = None


class LeavingMember(NamedTuple):
    """A static one may be named by its instance id alone."""

    member_id: str = ""
    instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class ClassicLeave:
    """All of them at once, so that those who stay are disturbed once."""

    group_id: str
    members: tuple[LeavingMember, ...]


@dataclass(frozen=True, slots=True)
class ClassicMemberInfo:
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes  # for the protocol that was chosen
    assignment: bytes


@dataclass(frozen=True, slots=True)
class ClassicGroupInfo:
    """`state`: empty | preparing | completing | stable | dead."""

    group_id: str
    state: str
    generation: int
    protocol_type: str
    protocol: str
    leader: str
    members: tuple[ClassicMemberInfo, ...]
