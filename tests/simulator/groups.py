"""A consumer group of a simulation: members that come, read, commit, lose answers, and die."""

from __future__ import annotations

from dataclasses import dataclass, field

from logstore.api import OffsetToCommit, TopicPartition
from logstore.client.membership import Membership, Subscription
from logstore.errors import (
    FencedMemberError,
    GroupError,
    LogStoreError,
    OffsetOutOfRangeError,
    UnknownMemberError,
)
from logstore.pending import Pending
from tests.simulator.history import CommitRead, Committed, Committing, Owners, Place
from tests.simulator.world import World

SESSION_MS = 9_000
MEMBERS_MAX = 4
READ_BYTES = 6_000


@dataclass(eq=False, slots=True)
class Member:
    """`positions` by the place itself: those of a deleted topic do not count for its successor."""

    membership: Membership
    positions: dict[Place, int] = field(default_factory=dict)
    commits: list[tuple[Pending[None], list[tuple[Place, int]]]] = field(default_factory=list)
    session_end: float = 0.0
    life: int = -1  # of the store that it joined


class Group:
    def __init__(self, world: World, name: str, topics: tuple[str, ...]) -> None:
        self.name = name
        self._world = world
        self._topics = topics
        self._members: list[Member] = []
        self._names = 0

    def store_ended(self) -> None:
        for member in self._members:
            member.commits.clear()

    def act(self) -> None:
        """One small step of one member."""
        chance = self._world.chance
        if len(self._members) < 2 or (len(self._members) < MEMBERS_MAX and chance.random() < 0.05):
            self._names += 1
            subscription = Subscription(
                self.name, self._topics, session_timeout_ms=SESSION_MS, rebalance_timeout_ms=60_000
            )
            name = f"{self.name}-{self._names}"
            self._members.append(Member(Membership(subscription, name)))
        member = chance.choice(self._members)
        choices = (self._beat, self._poll, self._read, self._commit, self._leave, self._die)
        step = chance.choices(choices, (40, 30, 30, 20, 1, 1))[0]
        step(member)
        self.note_owners()
        if chance.random() < 0.1:
            self.note_state()

    def settle(self) -> None:
        """Every member does all that it has to."""
        for _ in range(3):
            for member in list(self._members):
                self._beat(member)
                self._poll(member)
        for member in self._members:
            self._read(member)
            self._commit(member)
        self.note_owners()

    # --- membership -----------------------------------------------------------------------------

    def _is_live(self, member: Member) -> bool:
        world = self._world
        return member.life == world.life and world.clock.monotonic() < member.session_end

    def note_owners(self) -> None:
        world = self._world
        owned = []
        for member in self._members:
            if not self._is_live(member) or member.membership.is_lost:
                continue
            places = [
                world.places[part] for part in member.membership.owned if part in world.places
            ]
            if places:
                owned.append((member.membership.member_id, tuple(places)))
        if owned:
            world.history.add(Owners(self.name, tuple(owned)))

    def _beat(self, member: Member) -> None:
        world = self._world
        if member.membership.is_lost:
            self._poll(member)
        member.membership.turn += 1
        answer, error = world.attempt(world.store.heartbeat_now, member.membership.request())
        if isinstance(error, (UnknownMemberError, FencedMemberError)):
            member.membership.lost()
        if error is not None:
            return
        member.session_end = world.clock.monotonic() + SESSION_MS / 1000
        member.life = world.life
        member.membership.accept(answer)

    def _poll(self, member: Member) -> None:
        """Give up and take over what the last answer said; commits are durable before."""
        world, membership = self._world, member.membership
        if membership.is_lost:
            self._await_commits(member)
            membership.cleared()
            member.positions.clear()
        elif membership.to_revoke:
            self._await_commits(member)
            given_up = set(membership.to_revoke)
            for place in [place for place in member.positions if _part(place) in given_up]:
                del member.positions[place]
            membership.gave_up(given_up)
        elif membership.to_take:
            parts = sorted(membership.to_take)
            found, error = world.attempt(world.store.committed_offsets, self.name, parts)
            if error is not None:
                return
            for item in found:
                there = world.places.get((item.topic, item.partition))
                if there is not None:
                    world.history.add(CommitRead(self.name, there, item.offset))
                    member.positions[there] = max(item.offset, 0)
            membership.took(set(parts))

    def _leave(self, member: Member) -> None:
        self._await_commits(member)
        self._members.remove(member)
        if member.membership.is_member:
            request = member.membership.leave_request(for_good=True)
            self._world.attempt(self._world.store.heartbeat_now, request)

    def _die(self, member: Member) -> None:
        self._await_commits(member)
        self._members.remove(member)

    # --- reading and committing -----------------------------------------------------------------

    def _read(self, member: Member) -> None:
        world = self._world
        places = [place for place in member.positions if world.is_there(place)]
        if not places or not self._is_live(member):
            return
        place = world.chance.choice(places)
        found = world.read(member.membership.member_id, place, member.positions[place], READ_BYTES)
        if isinstance(found, int):
            member.positions[place] = found
        elif isinstance(found, OffsetOutOfRangeError):
            log = world.store._table.log(place.topic, place.partition)
            member.positions[place] = max(member.positions[place], log.log_start_offset)

    def _commit(self, member: Member) -> None:
        world, membership = self._world, member.membership
        places = [(p, at) for p, at in member.positions.items() if world.is_there(p)]
        if not membership.is_member or not places:
            return
        for place, offset in places:
            world.history.add(Committing(self.name, place, offset))
        pending, error = world.attempt(
            world.store.commit_offsets,
            self.name,
            [OffsetToCommit(place.topic, place.partition, offset) for place, offset in places],
            member_id=membership.member_id,
            member_epoch=membership.epoch,
        )
        if error is not None:
            return
        if isinstance(pending.error, LogStoreError) and not isinstance(pending.error, GroupError):
            world.note_error(pending.error)
        member.commits.append((pending, places))
        if world.chance.random() < 0.5:
            self._await_commits(member)
        else:
            self._collect(member)

    def _await_commits(self, member: Member) -> None:
        if any(not pending.done for pending, _ in member.commits):
            self._world.attempt(self._world.store.run_flush)
        self._collect(member)

    def _collect(self, member: Member) -> None:
        waiting = []
        for pending, places in member.commits:
            if not pending.done:
                waiting.append((pending, places))
            elif pending.error is None:
                for place, offset in places:
                    self._world.history.add(Committed(self.name, place, offset))
        member.commits = waiting

    def note_state(self) -> None:
        summaries, _ = self._world.attempt(self._world.store.list_groups)
        for summary in summaries or ():
            if summary.group_id == self.name:
                self._world.coverage[f"group {summary.state}"] += 1

    def check_committed(self) -> None:
        self.note_state()
        self._world.note_committed(self.name)


def _part(place: Place) -> TopicPartition:
    return TopicPartition(place.topic, place.partition)
