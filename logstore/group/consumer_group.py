"""The server-assigned kind of group (as KIP-848): pure state on an explicit clock, no I/O.

    group epoch    rises when members, subscriptions or partitions change; a new target follows
    target         what each member should own at the group's epoch
    assigned       what a member may own now: it was told, and nobody else may
    revoking       what it was told to give up and has not yet reported as given up

    member:  stable (epoch = group's, assigned = target)
               -> revoking (assigned loses what the target does not have; old epoch)
               -> its heartbeat's `owned` shows that it gave up -> epoch = group's
               -> waiting (parts of its target are still another's) -> stable

Invariants
- A partition is assigned to or being revoked from at most one member (`_owners`): it is given on
  only after its owner reported it as given up, left, or was declared dead.
- A member's epoch rises only when it has nothing to give up.
- Group epoch and target change together, in `_rebalance`.

Every method takes `now` (Clock.monotonic seconds) where time matters. Not thread-safe: the
coordinator holds its lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from logstore.api import (
    EPOCH_JOIN,
    EPOCH_LEAVE,
    EPOCH_LEAVE_STATIC,
    GroupAssignment,
    GroupHeartbeat,
    LeavingMember,
    MemberInfo,
    TopicPartition,
)
from logstore.config import GroupConfig
from logstore.errors import (
    FencedInstanceError,
    FencedMemberError,
    GroupFullError,
    IllegalGenerationError,
    StaleMemberEpochError,
    UnknownMemberError,
    UnreleasedInstanceError,
)
from logstore.group.assignors import DEFAULT_ASSIGNOR, find_assignor
from logstore.group.consumer_member import (
    ClassicTerms,
    Member,
    Subscription,
    assignor_of,
    new_member,
    rebalance_timeout_of,
    session_timeout_of,
    subscription_of,
)


class ConsumerGroup:
    """One group; see the module. `partitions` (topic -> count) is what its assignor divides."""

    def __init__(self, group_id: str, config: GroupConfig, *, epoch: int = 0) -> None:
        self.group_id = group_id
        self.epoch = epoch
        self.config = config
        self._members: dict[str, Member] = {}
        self._static: dict[str, str] = {}  # instance id -> member id
        self._partitions: Mapping[str, int] = {}
        self._target: dict[str, set[TopicPartition]] = {}
        self._owners: dict[TopicPartition, str] = {}
        self._resolved: dict[Subscription, frozenset[str]] = {}  # for `_partitions`
        self.revision = 0  # rises with whatever may change the answer to a heartbeat

    # --- what it is -------------------------------------------------------------------------

    @property
    def member_count(self) -> int:
        return len(self._members)

    @property
    def is_vacant(self) -> bool:
        return not self._members

    @property
    def state(self) -> str:
        if not self._members:
            return "empty"
        settled = all(
            member.epoch == self.epoch and member.assigned == self._target[member.member_id]
            for member in self._members.values()
            if not member.is_away
        )
        return "stable" if settled else "reconciling"

    @property
    def assignor(self) -> str:
        """The one that most members ask for; the first by name of equals."""
        votes = Counter(member.assignor for member in self._members.values())
        return min(votes, key=lambda name: (-votes[name], name), default=DEFAULT_ASSIGNOR)

    def describe(self) -> tuple[MemberInfo, ...]:
        return tuple(
            MemberInfo(
                member_id=member.member_id,
                instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_epoch=EPOCH_LEAVE_STATIC if member.is_away else member.epoch,
                subscribed_topics=tuple(sorted(member.subscription.topics)),
                subscribed_pattern=member.subscription.pattern,
                assigned=tuple(sorted(member.assigned | member.revoking)),
                target=tuple(sorted(self._target[member.member_id])),
                is_classic=member.classic is not None,
            )
            for _, member in sorted(self._members.items())
        )

    def topics_of(self, member_id: str) -> frozenset[str]:
        """What this member reads now."""
        return self._topics_of(self._members[member_id])

    def subscribed_topics(self) -> frozenset[str]:
        """Every topic that some member reads now."""
        return frozenset(
            topic for member in self._members.values() for topic in self._topics_of(member)
        )

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return min((member.next_deadline for member in self._members.values()), default=None)

    def deadline_of(self, member_id: str) -> float | None:
        """next_deadline for one member; None when it is not there."""
        member = self._members.get(member_id)
        return None if member is None else member.next_deadline

    # --- events -----------------------------------------------------------------------------

    def topics_changed(self, partitions: Mapping[str, int]) -> bool:
        """Topics or partitions came or went; whether that concerns the group."""
        before = {topic: self._partitions[topic] for topic in self.subscribed_topics()}
        self._partitions = partitions
        self._resolved.clear()
        after = {topic: partitions[topic] for topic in self.subscribed_topics()}
        if before != after:
            self._rebalance()
        return before != after

    def heartbeat(
        self, heartbeat: GroupHeartbeat, now: float, *, new_member_id: str
    ) -> GroupAssignment:
        """Raises GroupError and InvalidRequestError; then nothing has changed."""
        if heartbeat.member_epoch in (EPOCH_LEAVE, EPOCH_LEAVE_STATIC):
            return self._leave(heartbeat)
        if heartbeat.member_epoch == EPOCH_JOIN:
            member = self._join(heartbeat, new_member_id)
        else:
            member = self._known_member(heartbeat)
            self._update(member, heartbeat)
        member.deadline = now + member.session_timeout
        is_current = heartbeat.member_epoch in (EPOCH_JOIN, member.epoch)
        # A heartbeat of the epoch before was sent before the member knew what it has now.
        self._reconcile(member, heartbeat.owned if is_current else None, now)
        return self._answer(member)

    def would_change(self, member_id: str, known: GroupAssignment) -> bool:
        """Whether the member's next heartbeat would be answered with other than `known`."""
        member = self._members.get(member_id)
        if member is None or member.is_away or member.epoch != known.member_epoch:
            return True
        if member.assigned != set(known.partitions):
            return True
        return not member.revoking and self._has_step(member)  # else it is its turn to report

    def expire(self, now: float) -> list[str]:
        """Drop members whose session or time to give up partitions is over; who they were."""
        dead = [
            member.member_id for member in self._members.values() if member.next_deadline <= now
        ]
        for member_id in dead:
            self._remove(self._members[member_id])
        if dead:
            self._rebalance()
        return dead

    def check_commit(self, member_id: str, member_epoch: int) -> None:
        """Whether this member may commit. Raises UnknownMemberError, StaleMemberEpochError."""
        if member_epoch < 0 and not member_id:
            if self._members:
                raise UnknownMemberError(
                    f"group {self.group_id!r} has members; only they may commit its offsets",
                    group_id=self.group_id,
                )
            return
        member = self._members.get(member_id)
        if member is None:
            raise self._unknown(member_id)
        if member_epoch != member.epoch and member.classic is not None:
            raise self.wrong_generation(member, member_epoch)
        if member_epoch != member.epoch:
            raise StaleMemberEpochError(
                f"member {member_id} commits with epoch {member_epoch}, its epoch is "
                f"{member.epoch}: heartbeat first",
                member_id=member_id,
                member_epoch=member.epoch,
            )

    # --- members that speak join and sync (see translation) ---------------------------------

    def find_member(self, member_id: str, instance_id: str | None) -> Member:
        """Raises UnknownMemberError, FencedInstanceError."""
        if instance_id is not None and self._static.get(instance_id, member_id) != member_id:
            raise _fenced(instance_id)
        member = self._members.get(member_id)
        if member is None or (instance_id is not None and member.instance_id != instance_id):
            raise self._unknown(member_id)
        return member

    def leaving(self, leaver: LeavingMember) -> Member:
        """Raises UnknownMemberError, FencedInstanceError."""
        member_id = leaver.member_id
        if not member_id and leaver.instance_id is not None:
            member_id = self._static.get(leaver.instance_id, "")
        return self.find_member(member_id, leaver.instance_id)

    def join_as_classic(
        self, heartbeat: GroupHeartbeat, terms: ClassicTerms, now: float, *, new_member_id: str
    ) -> GroupAssignment:
        """`heartbeat` is a join. Unlike one by heartbeats, a known member keeps what it owns, and
        a static one takes the place of its predecessor, dead or alive. Raises as heartbeat does."""
        new_member(heartbeat, "", subscription_of(heartbeat, None), self.config)  # it is valid
        if heartbeat.instance_id is not None and not heartbeat.member_id:
            holder = self._members.get(self._static.get(heartbeat.instance_id, ""))
            if holder is not None:
                holder.is_away = True
        is_dynamic = heartbeat.instance_id is None
        if not heartbeat.member_id or (is_dynamic and heartbeat.member_id not in self._members):
            answer = self.heartbeat(heartbeat, now, new_member_id=new_member_id)
            self._members[answer.member_id].classic = terms
            return answer
        member = self.find_member(heartbeat.member_id, heartbeat.instance_id)
        self._update(member, heartbeat)
        member.classic, member.is_away = terms, False
        member.deadline = now + member.session_timeout
        self._reconcile(member, heartbeat.owned, now)
        if member.revoking:  # what it was to give up just now it may have given up already
            self._reconcile(member, heartbeat.owned, now)
        if not member.revoking:
            member.revoke_deadline = None
        return self._answer(member)

    def must_join_again(self, member: Member, now: float) -> bool:
        """Whether there is a step to its target, which it has to take within its time."""
        if not (member.revoking or self._has_step(member)):
            return False
        if member.revoke_deadline is None:
            member.revoke_deadline = now + member.rebalance_timeout
        return True

    def is_behind(self, member: Member) -> bool:
        """Whether there is a newer target, and it is not for the member to give up first."""
        return member.epoch != self.epoch and not member.revoking

    def drop(self, members: Iterable[Member]) -> None:
        """They left."""
        gone = list(members)
        for member in gone:
            self._remove(member)
        if gone:
            self._rebalance()

    def adopt(self, members: Iterable[Member]) -> None:
        """Those of a classic group, at its generation, with what they own. Of two that own the
        same the first does; a new epoch is the next event's."""
        for member in members:
            member.assigned = {part for part in member.assigned if part not in self._owners}
            self._owners |= dict.fromkeys(member.assigned, member.member_id)
            self._members[member.member_id] = member
            self._target[member.member_id] = set(member.assigned)
            if member.instance_id is not None:
                self._static[member.instance_id] = member.member_id

    def wrong_generation(self, member: Member, generation: int) -> IllegalGenerationError:
        return IllegalGenerationError(
            f"member {member.member_id} is at generation {member.epoch}, not {generation}",
            group_id=self.group_id,
            generation=member.epoch,
        )

    # --- join and leave ---------------------------------------------------------------------

    def _join(self, heartbeat: GroupHeartbeat, new_member_id: str) -> Member:
        subscription = subscription_of(heartbeat, None)
        fresh = new_member(
            heartbeat, heartbeat.member_id or new_member_id, subscription, self.config
        )
        predecessor = self._predecessor(fresh)
        former = self._members.get(fresh.member_id)
        if former is not None and former is not predecessor:  # it comes as another instance now
            self._remove(former)
            self._rebalance()
        if predecessor is not None:
            self._replace(predecessor, fresh)
        if predecessor is None or (predecessor.subscription, predecessor.assignor) != (
            fresh.subscription,
            fresh.assignor,
        ):
            self._members[fresh.member_id] = fresh
            if fresh.instance_id is not None:
                self._static[fresh.instance_id] = fresh.member_id
            self._rebalance()
        return fresh

    def _predecessor(self, fresh: Member) -> Member | None:
        """Whose place the joining member takes: its own after a lost answer, or the static one
        that left for a while. Raises UnreleasedInstanceError, GroupFullError."""
        same = self._members.get(fresh.member_id)
        if fresh.instance_id is not None and fresh.instance_id in self._static:
            holder = self._members[self._static[fresh.instance_id]]
            if holder is not same and not holder.is_away:
                raise UnreleasedInstanceError(
                    f"instance id {fresh.instance_id!r} is held by member {holder.member_id}, "
                    "which is alive",
                    instance_id=fresh.instance_id,
                    member_id=holder.member_id,
                )
            return holder
        if same is None and len(self._members) >= self.config.members_max:
            raise GroupFullError(
                f"group {self.group_id!r} has {len(self._members)} members, the limit",
                group_id=self.group_id,
            )
        return same

    def _replace(self, predecessor: Member, fresh: Member) -> None:
        """The new one starts with nothing assigned; the target stays, so it gets the same."""
        target = self._target[predecessor.member_id]
        self._remove(predecessor)
        self._members[fresh.member_id] = fresh
        self._target[fresh.member_id] = target
        if fresh.instance_id is not None:
            self._static[fresh.instance_id] = fresh.member_id

    def _leave(self, heartbeat: GroupHeartbeat) -> GroupAssignment:
        member = self._find(heartbeat)
        if heartbeat.member_epoch == EPOCH_LEAVE_STATIC and member.instance_id is not None:
            member.is_away = True
            self.revision += 1
            self._release(member)
        else:
            self._remove(member)
            self._rebalance()
        return GroupAssignment(
            member_id=member.member_id,
            member_epoch=heartbeat.member_epoch,
            heartbeat_interval_ms=self.config.heartbeat_interval_ms,
            partitions=(),
        )

    def _remove(self, member: Member) -> None:
        self.revision += 1
        del self._members[member.member_id]
        self._target.pop(member.member_id, None)
        if member.instance_id is not None:
            self._static.pop(member.instance_id, None)
        for part in member.assigned | member.revoking:
            del self._owners[part]

    # --- heartbeats -------------------------------------------------------------------------

    def _find(self, heartbeat: GroupHeartbeat) -> Member:
        """Raises UnknownMemberError, FencedInstanceError."""
        member = self._members.get(heartbeat.member_id)
        instance_id = heartbeat.instance_id
        if member is None:
            if instance_id is not None and instance_id in self._static:
                raise _fenced(instance_id)
            raise self._unknown(heartbeat.member_id)
        return member

    def _known_member(self, heartbeat: GroupHeartbeat) -> Member:
        """Raises FencedMemberError too. The epoch before is good while the member does not claim
        more than it has: the answer that told it the present one was lost."""
        member = self._find(heartbeat)
        owned = member.reported if heartbeat.owned is None else set(heartbeat.owned)
        is_current = heartbeat.member_epoch == member.epoch
        is_behind = heartbeat.member_epoch == member.previous_epoch and owned <= member.assigned
        if (is_current or is_behind) and not member.is_away:
            return member
        raise FencedMemberError(
            f"member {member.member_id} has epoch {member.epoch}, its heartbeat "
            f"{heartbeat.member_epoch}: give up all partitions and join again",
            member_id=member.member_id,
            member_epoch=member.epoch,
        )

    def _update(self, member: Member, heartbeat: GroupHeartbeat) -> None:
        """Take over what the heartbeat says anew of subscription and times."""
        subscription = subscription_of(heartbeat, member.subscription)
        assignor = assignor_of(heartbeat, member.assignor)
        session_timeout = session_timeout_of(heartbeat, member.session_timeout, self.config)
        rebalance_timeout = rebalance_timeout_of(heartbeat, member.rebalance_timeout)
        member.session_timeout, member.rebalance_timeout = session_timeout, rebalance_timeout
        if (subscription, assignor) != (member.subscription, member.assignor):
            member.subscription, member.assignor = subscription, assignor
            self._rebalance()

    def _reconcile(
        self, member: Member, owned: tuple[TopicPartition, ...] | None, now: float
    ) -> None:
        """Bring the member one step towards its target."""
        if owned is not None:
            member.reported = frozenset(owned)
            if member.revoking and not member.revoking & member.reported:
                self._release(member)
        if member.revoking:
            return
        target = self._target[member.member_id]
        excess = member.assigned - target
        if excess:  # even what it has not reported: the answer that told it may be on its way
            member.assigned -= excess
            member.revoking = excess
            member.revoke_deadline = now + member.rebalance_timeout
            self.revision += 1
            return
        if member.epoch != self.epoch:
            member.previous_epoch, member.epoch = member.epoch, self.epoch
            self.revision += 1
        for part in target - member.assigned:
            if self._is_free(part, member):
                member.assigned.add(part)
                self._owners[part] = member.member_id
                self.revision += 1

    def _release(self, member: Member) -> None:
        """It has given up what it was told to."""
        self.revision += 1
        for part in member.revoking:
            del self._owners[part]
        member.revoking = set()
        member.revoke_deadline = None

    def _topics_of(self, member: Member) -> frozenset[str]:
        """What it reads now. Members tend to ask for the same, and patterns take time."""
        topics = self._resolved.get(member.subscription)
        if topics is None:
            topics = member.subscription.resolve(self._partitions)
            self._resolved[member.subscription] = topics
        return topics

    def _has_step(self, member: Member) -> bool:
        target = self._target[member.member_id]
        return (
            member.epoch != self.epoch
            or not member.assigned <= target
            or any(self._is_free(part, member) for part in target - member.assigned)
        )

    def _is_free(self, part: TopicPartition, member: Member) -> bool:
        return self._owners.get(part, member.member_id) == member.member_id

    def _answer(self, member: Member) -> GroupAssignment:
        settled = not member.revoking and member.assigned == self._target[member.member_id]
        return GroupAssignment(
            member_id=member.member_id,
            member_epoch=member.epoch,
            heartbeat_interval_ms=self._heartbeat_interval_ms(member),
            partitions=tuple(sorted(member.assigned)),
            settled=settled and member.epoch == self.epoch,
            is_reported=member.assigned == member.reported,
        )

    def _heartbeat_interval_ms(self, member: Member) -> int:
        """At least three in a session, so that one lost does not end it."""
        return min(self.config.heartbeat_interval_ms, int(member.session_timeout * 1000 / 3))

    def _rebalance(self) -> None:
        """A new epoch and a new target."""
        self.epoch += 1
        self.revision += 1
        asked = {member.subscription for member in self._members.values()}
        self._resolved = {key: topics for key, topics in self._resolved.items() if key in asked}
        topics = {member.member_id: self._topics_of(member) for member in self._members.values()}
        # What was to be theirs; and what nobody is to have stays with who has it still.
        present = {name: set(self._target.get(name, ())) for name in self._members}
        wanted = set().union(*present.values())
        for member in self._members.values():
            present[member.member_id] |= member.assigned - wanted
        assignor = find_assignor(self.assignor)
        self._target = assignor(topics, self._partitions, present)

    def _unknown(self, member_id: str) -> UnknownMemberError:
        return UnknownMemberError(
            f"group {self.group_id!r} has no member {member_id!r}; join again",
            group_id=self.group_id,
            member_id=member_id,
        )


def _fenced(instance_id: str) -> FencedInstanceError:
    return FencedInstanceError(
        f"instance id {instance_id!r} was taken over by another member", instance_id=instance_id
    )
