"""A group with the members' side of its heartbeats, for the tests of its rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from logstore.api import (
    EPOCH_JOIN,
    GroupAssignment,
    GroupHeartbeat,
    MemberInfo,
    TopicPartition,
)
from logstore.config import GroupConfig
from logstore.group.consumer_group import ConsumerGroup

SESSION = 10.0
REBALANCE = 30.0
CONFIG = GroupConfig(
    session_timeout_ms=int(SESSION * 1000),
    rebalance_timeout_ms=int(REBALANCE * 1000),
    heartbeat_interval_ms=3000,
    members_max=3,
)


def tp(*partitions: int, topic: str = "t") -> set[TopicPartition]:
    return {TopicPartition(topic, partition) for partition in partitions}


@dataclass
class Rig:
    """A group and the members' side of its heartbeats."""

    group: ConsumerGroup
    now: float = 0.0
    answers: dict[str, GroupAssignment] = field(default_factory=dict)

    def join(self, member_id: str, *topics: str, **asked) -> GroupAssignment:
        return self.send(member_id, EPOCH_JOIN, subscribed_topics=topics or ("t",), **asked)

    def beat(self, member_id: str, owned: set[TopicPartition] | None = None, **asked):
        """The next heartbeat, of the epoch last told; by default all that was told is owned."""
        last = self.answers[member_id]
        owned = set(last.partitions) if owned is None else owned
        return self.send(member_id, last.member_epoch, owned=tuple(owned), **asked)

    def send(self, member_id: str, epoch: int, **asked) -> GroupAssignment:
        heartbeat = GroupHeartbeat("g", member_id, epoch, **asked)
        answer = self.group.heartbeat(heartbeat, self.now, new_member_id="given")
        self.answers[answer.member_id] = answer
        return answer

    def info(self, member_id: str) -> MemberInfo:
        return next(info for info in self.group.describe() if info.member_id == member_id)

    def snapshot(self) -> tuple[object, ...]:
        return (
            self.group.epoch,
            self.group.state,
            self.group.describe(),
            self.group.next_deadline(),
            self.group.assignor,
        )


def new_rig() -> Rig:
    """No members; topics t (4 partitions) and u (2)."""
    group = ConsumerGroup("g", CONFIG)
    group.topics_changed({"t": 4, "u": 2})
    return Rig(group)


def settled_pair(rig: Rig) -> None:
    """a and b, two partitions of t each, both at the group's epoch."""
    rig.join("a")
    rig.join("b")
    rig.beat("a")
    rig.beat("a")
    rig.beat("b")
    rig.beat("b")
    assert rig.group.state == "stable"
