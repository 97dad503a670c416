"""One consumer's place in a group: what it was told, what it owns, what it claims. No I/O.

    target    the partitions of the last answer
    owned     what the user's code works on; changed only inside poll
    claims    what heartbeats report as owned: owned and all that may become so. An answer adds to
              it at once, giving up a partition takes away; so the group never gives on what this
              member is about to take.

Answers come to two threads (the heartbeat's long poll, and poll when it gave something up). Each
request takes the `turn`; an answer to a request of an earlier turn is stale and thrown away.
Used under the consumer's membership lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from logstore.api import EPOCH_JOIN, GroupAssignment, GroupHeartbeat, TopicPartition


@dataclass(frozen=True, slots=True)
class Subscription:
    """What the member asks for; times in ms."""

    group_id: str
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    instance_id: str | None = None
    client_id: str = ""
    assignor: str | None = None
    session_timeout_ms: int | None = None
    rebalance_timeout_ms: int | None = None


@dataclass(slots=True)
class Membership:
    subscription: Subscription
    member_id: str
    epoch: int = EPOCH_JOIN
    heartbeat_interval: float = 0.5
    target: frozenset[TopicPartition] = frozenset()
    owned: set[TopicPartition] = field(default_factory=set)
    claims: set[TopicPartition] = field(default_factory=set)
    is_lost: bool = False  # what is owned was taken away without asking
    has_changes: bool = False  # poll has something to do
    turn: int = 0

    @property
    def is_member(self) -> bool:
        return self.epoch > EPOCH_JOIN

    def request(self) -> GroupHeartbeat:
        asked = self.subscription
        is_joining = not self.is_member
        return GroupHeartbeat(
            group_id=asked.group_id,
            member_id=self.member_id,
            member_epoch=self.epoch,
            instance_id=asked.instance_id,
            client_id=asked.client_id,
            session_timeout_ms=asked.session_timeout_ms if is_joining else None,
            rebalance_timeout_ms=asked.rebalance_timeout_ms if is_joining else None,
            subscribed_topics=asked.topics if is_joining else None,
            subscribed_pattern=asked.pattern if is_joining else None,
            assignor=asked.assignor if is_joining else None,
            owned=() if is_joining else tuple(sorted(self.claims)),
        )

    def leave_request(self, *, for_good: bool) -> GroupHeartbeat:
        return GroupHeartbeat(
            group_id=self.subscription.group_id,
            member_id=self.member_id,
            member_epoch=-1 if for_good or self.subscription.instance_id is None else -2,
            instance_id=self.subscription.instance_id,
        )

    def accept(self, answer: GroupAssignment) -> bool:
        """Take over an answer; whether poll has something to do because of it."""
        self.member_id = answer.member_id
        self.epoch = answer.member_epoch
        self.heartbeat_interval = answer.heartbeat_interval_ms / 1000
        self.target = frozenset(answer.partitions)
        self.claims |= self.target
        self._changed()
        return self.has_changes

    @property
    def to_revoke(self) -> set[TopicPartition]:
        return self.owned - self.target

    @property
    def to_take(self) -> set[TopicPartition]:
        return set(self.target) - self.owned

    def gave_up(self, parts: set[TopicPartition]) -> None:
        self.owned -= parts
        self._changed()

    def took(self, parts: set[TopicPartition]) -> None:
        self.owned |= parts
        self._changed()

    def lost(self) -> None:
        """The group does not know this member any more: everything is another's. Join again."""
        self.epoch = EPOCH_JOIN
        self.target = frozenset()
        self.claims = set()
        self.is_lost = self.is_lost or bool(self.owned)
        self.turn += 1
        self._changed()

    def cleared(self) -> None:
        """The loss was dealt with."""
        self.owned = set()
        self.is_lost = False
        self._changed()

    def _changed(self) -> None:
        """Claims what is owned or to be owned: the rest was never taken, or was given up."""
        self.claims &= self.owned | self.target
        self.has_changes = self.is_lost or self.target != self.owned
