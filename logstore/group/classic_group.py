"""The classic kind of group (Kafka's join and sync): pure state on an explicit clock, no I/O.

    empty       nobody is in it
    preparing   a member came, went or changed: all have to join again before `_deadline`;
                who does not is dropped (a static one keeps its place until its session is over)
    completing  all were told the new generation; the leader's assignment is awaited
    stable      assigned; who has not fetched its assignment before `_deadline` is dropped
    dead        deleted; nothing leads out of it

    empty -join-> preparing -all joined, or time is over-> completing -the leader syncs-> stable
    completing, stable -join, leave, session over-> preparing      preparing -nobody left-> empty

A join or sync may have to wait. The caller names it by a ticket (an int of its own); every event
gives the answers that are due because of it, as (ticket, answer or error). Errors of the event
itself are raised.

Invariants
- A ticket is answered exactly once.
- Tickets of joins wait only while preparing, those of syncs only while completing.
- Members of one generation have the same protocol, which each of them offered.
- The generation rises with each completed join, and only then.

A member whose answer is awaited here is alive; otherwise its session ends without heartbeats.
Not thread-safe: the coordinator holds its lock.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping

from logstore.api import (
    NO_GENERATION,
    ClassicGroupInfo,
    ClassicHeartbeat,
    ClassicJoin,
    ClassicJoined,
    ClassicLeave,
    ClassicMemberInfo,
    ClassicSync,
    ClassicSynced,
    JoinedMember,
    LeavingMember,
)
from logstore.config import GroupConfig
from logstore.errors import (
    FencedInstanceError,
    GroupError,
    GroupFullError,
    GroupKindError,
    IllegalGenerationError,
    LogStoreError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    UnknownMemberError,
)
from logstore.group.classic_member import NEW_MEMBER_TIMEOUT, Member, Reply, check_join


class State(enum.StrEnum):
    EMPTY = "empty"
    PREPARING = "preparing"
    COMPLETING = "completing"
    STABLE = "stable"
    DEAD = "dead"


class ClassicGroup:
    """One group; see the module."""

    def __init__(self, group_id: str, config: GroupConfig, *, epoch: int = 0) -> None:
        self.group_id = group_id
        self.generation = epoch
        self.protocol_type = ""
        self._config = config
        self._state = State.EMPTY
        self._members: dict[str, Member] = {}
        self._static: dict[str, str] = {}  # instance id -> member id
        self._expected: dict[str, float] = {}  # ids given out and not yet used -> until when
        self._leader = ""
        self._protocol = ""
        self._unsynced: set[str] = set()
        self._deadline: float | None = None
        self._is_gathering = False  # preparing out of empty: more may come, nobody is hurried
        self._delay_left = 0.0  # by which that may still be drawn out
        self._has_grown = False  # since that was last done

    # --- what it is -------------------------------------------------------------------------

    @property
    def state(self) -> str:
        return self._state.value

    @property
    def epoch(self) -> int:
        return self.generation

    @property
    def member_count(self) -> int:
        return len(self._members)

    @property
    def members(self) -> list[Member]:
        return list(self._members.values())

    @property
    def is_vacant(self) -> bool:
        """Nobody is in it or about to come."""
        return not self._members and not self._expected

    def describe(self) -> ClassicGroupInfo:
        is_assigned = self._state is State.STABLE
        return ClassicGroupInfo(
            group_id=self.group_id,
            state=self.state,
            generation=self.generation,
            protocol_type=self.protocol_type,
            protocol=self._protocol if is_assigned else "",
            leader=self._leader,
            members=tuple(
                ClassicMemberInfo(
                    member_id=member.member_id,
                    instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    metadata=member.metadata(self._protocol) if is_assigned else b"",
                    assignment=member.assignment if is_assigned else b"",
                )
                for _, member in sorted(self._members.items())
            ),
        )

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        deadlines = [m.deadline for m in self._members.values() if not m.is_waiting]
        deadlines += self._expected.values()
        if self._deadline is not None:
            deadlines.append(self._deadline)
        return min(deadlines, default=None)

    # --- events -----------------------------------------------------------------------------

    def join(
        self, request: ClassicJoin, now: float, *, ticket: int, new_member_id: str
    ) -> list[Reply]:
        """Raises GroupError, InvalidRequestError; then nothing has changed. MemberIdRequiredError
        is no such error but an answer: the id that it gives is expected to join."""
        self._check_join(request)
        if not request.member_id:
            return self._join_without_id(request, now, ticket, new_member_id)
        if request.member_id in self._expected:
            if request.instance_id is not None:
                raise self._unknown(request.member_id)
            del self._expected[request.member_id]
            return self._add(request, request.member_id, now, ticket)
        member = self._find(request.member_id, request.instance_id)
        return self._join_again(member, request, now, ticket)

    def sync(self, request: ClassicSync, now: float, *, ticket: int) -> list[Reply]:
        """Raises GroupError; then nothing has changed."""
        member = self._find_current(request.member_id, request.instance_id, request.generation)
        for given, own in (
            (request.protocol_type, self.protocol_type),
            (request.protocol, self._protocol),
        ):
            if given is not None and given != own and self._state is not State.PREPARING:
                raise GroupKindError(
                    f"group {self.group_id!r} has protocol {own!r}, not {given!r}",
                    group_id=self.group_id,
                )
        if self._state is State.PREPARING:
            raise self._rebalancing()
        self._unsynced.discard(member.member_id)
        member.deadline = now + member.session_timeout
        if self._state is State.STABLE:
            self._stop_waiting_if_all_synced()
            return [Reply(ticket, self._synced(member))]
        replies = self._refuse_waiting(member, self._rebalancing())
        member.sync_ticket = ticket
        if member.member_id == self._leader:
            replies += self._assign(request.assignments, now)
        return replies

    def heartbeat(self, request: ClassicHeartbeat, now: float) -> None:
        """Raises GroupError. RebalanceInProgressError counts as a heartbeat all the same."""
        member = self._find_current(request.member_id, request.instance_id, request.generation)
        member.deadline = now + member.session_timeout
        if self._state is State.PREPARING:
            raise self._rebalancing()

    def leave(
        self, request: ClassicLeave, now: float
    ) -> tuple[list[LogStoreError | None], list[Reply]]:
        """The first of the two: for each who leaves, why it cannot (UnknownMemberError,
        FencedInstanceError)."""
        outcomes: list[LogStoreError | None] = []
        gone: dict[str, Member] = {}
        for leaver in request.members:
            outcome = None
            if leaver.member_id in self._expected:
                del self._expected[leaver.member_id]
            else:
                try:
                    member = self._leaving(leaver)
                    gone[member.member_id] = member
                except GroupError as error:
                    outcome = error
            outcomes.append(outcome)
        replies = self._drop(gone.values(), now) if gone else self._complete_if_all_joined(now)
        return outcomes, replies

    def _leaving(self, leaver: LeavingMember) -> Member:
        member_id = leaver.member_id
        if not member_id and leaver.instance_id is not None:
            member_id = self._static.get(leaver.instance_id, "")
        return self._find(member_id, leaver.instance_id)

    def expire(self, now: float) -> list[Reply]:
        """Drop those whose time is over, and go on without them."""
        late = [member_id for member_id, until in self._expected.items() if until <= now]
        for member_id in late:
            del self._expected[member_id]
        dead = [m for m in self._members.values() if not m.is_waiting and m.deadline <= now]
        replies = self._drop(dead, now) if dead else []
        if late:
            replies += self._complete_if_all_joined(now)
        if self._deadline is not None and self._deadline <= now:
            replies += self._deadline_passed(now)
        return replies

    def check_commit(
        self, member_id: str, generation: int, now: float, *, instance_id: str | None = None
    ) -> None:
        """Whether it may commit, which counts as a heartbeat. Raises UnknownMemberError,
        FencedInstanceError, IllegalGenerationError, RebalanceInProgressError."""
        if generation <= NO_GENERATION and not member_id:
            if self._members:
                raise UnknownMemberError(
                    f"group {self.group_id!r} has members; only they may commit its offsets",
                    group_id=self.group_id,
                )
            return
        member = self._find_current(member_id, instance_id, generation)
        if self._state is State.COMPLETING:  # what it has now is not assigned yet
            raise self._rebalancing()
        member.deadline = now + member.session_timeout

    def delete(self) -> None:
        """It is empty. Whoever still has it in hand finds it dead."""
        if not self.is_vacant:
            raise AssertionError("only an empty group is deleted")
        self._state = State.DEAD

    # --- joining ----------------------------------------------------------------------------

    def _check_join(self, request: ClassicJoin) -> None:
        check_join(request, self._config)
        if self._state is State.DEAD:
            raise self._unknown(request.member_id)
        offered = {protocol.name for protocol in request.protocols}
        if self._members and (
            request.protocol_type != self.protocol_type or offered.isdisjoint(self._common())
        ):
            raise GroupKindError(
                f"group {self.group_id!r} is of type {self.protocol_type!r} with the protocols "
                f"{', '.join(sorted(self._common()))}; none was offered",
                group_id=self.group_id,
            )

    def _join_without_id(
        self, request: ClassicJoin, now: float, ticket: int, new_member_id: str
    ) -> list[Reply]:
        if request.instance_id is not None:
            new_member_id = f"{request.instance_id}-{new_member_id}"
            if request.instance_id in self._static:
                return self._take_over(request, new_member_id, now, ticket)
        if len(self._members) + len(self._expected) >= self._config.members_max:
            raise GroupFullError(
                f"group {self.group_id!r} has {len(self._members)} members, the limit",
                group_id=self.group_id,
            )
        if request.needs_known_id and request.instance_id is None:
            self._expected[new_member_id] = now + request.session_timeout_ms / 1000
            error = MemberIdRequiredError(
                f"join group {self.group_id!r} again as member {new_member_id}",
                member_id=new_member_id,
            )
            return [Reply(ticket, error)]
        return self._add(request, new_member_id, now, ticket)

    def _add(self, request: ClassicJoin, member_id: str, now: float, ticket: int) -> list[Reply]:
        member = Member(
            member_id=member_id,
            instance_id=request.instance_id,
            client_id=request.client_id,
            client_host=request.client_host,
            session_timeout=request.session_timeout_ms / 1000,
            rebalance_timeout=request.rebalance_timeout_ms / 1000,
            protocols=request.protocols,
            deadline=now + NEW_MEMBER_TIMEOUT,
            join_ticket=ticket,
        )
        if not self._members:
            self.protocol_type = request.protocol_type
        self._members[member_id] = member
        if member.instance_id is not None:
            self._static[member.instance_id] = member_id
        self._leader = self._leader or member_id
        self._has_grown = True
        return self._prepare(now)

    def _join_again(
        self, member: Member, request: ClassicJoin, now: float, ticket: int
    ) -> list[Reply]:
        """A member that knows of a rebalance, changed its metadata, or lost an answer."""
        is_same = member.protocols == request.protocols
        is_leader = member.member_id == self._leader
        if is_same and (
            self._state is State.COMPLETING or (self._state is State.STABLE and not is_leader)
        ):
            member.deadline = now + member.session_timeout
            return [Reply(ticket, self._joined(member))]
        replies = self._refuse_waiting(member, self._rebalancing())
        self._update(member, request)
        member.join_ticket = ticket
        if member.is_new:
            member.deadline = now + NEW_MEMBER_TIMEOUT
        return replies + self._prepare(now)

    def _take_over(
        self, request: ClassicJoin, new_member_id: str, now: float, ticket: int
    ) -> list[Reply]:
        """A static member came back under a new id; who has the old one is fenced."""
        assert request.instance_id is not None
        old_leader = self._leader
        member = self._members.pop(self._static[request.instance_id])
        replies = self._refuse_waiting(member, self._fenced(request.instance_id))
        if member.member_id in self._unsynced:
            self._unsynced.remove(member.member_id)
            self._unsynced.add(new_member_id)
        if self._leader == member.member_id:
            self._leader = new_member_id
        member.member_id = new_member_id
        self._members[new_member_id] = member
        self._static[request.instance_id] = new_member_id
        self._update(member, request)
        if self._state is not State.STABLE or self._choose_protocol() != self._protocol:
            member.join_ticket = ticket
            return replies + self._prepare(now)
        member.deadline = now + member.session_timeout
        if self._leader == new_member_id and request.may_skip_assignment:
            return [*replies, Reply(ticket, self._joined(member, skip_assignment=True))]
        # An old client would assign anew if it were told that it leads: it is told that the
        # one it was before does.
        return [*replies, Reply(ticket, self._joined(member, leader=old_leader))]

    @staticmethod
    def _update(member: Member, request: ClassicJoin) -> None:
        member.client_id, member.client_host = request.client_id, request.client_host
        member.session_timeout = request.session_timeout_ms / 1000
        member.rebalance_timeout = request.rebalance_timeout_ms / 1000
        member.protocols = request.protocols

    # --- from one state to the next ---------------------------------------------------------

    def _prepare(self, now: float) -> list[Reply]:
        """Let all join again; no change if they already have to."""
        replies: list[Reply] = []
        if self._state is State.EMPTY:
            delay = self._config.classic_initial_rebalance_delay_ms / 1000
            self._state = State.PREPARING
            self._deadline = now + delay
            self._is_gathering, self._has_grown = True, False
            self._delay_left = max(self._rebalance_timeout() - delay, 0.0)
            return self._complete(now) if delay <= 0 else []
        if self._state in (State.COMPLETING, State.STABLE):
            for member in self._members.values():
                if member.sync_ticket is not None:
                    replies.append(Reply(member.sync_ticket, self._rebalancing()))
                    member.sync_ticket = None
                    member.deadline = now + member.session_timeout
            self._unsynced.clear()
            self._state = State.PREPARING
            self._deadline = now + self._rebalance_timeout()
        return replies + self._complete_if_all_joined(now)

    def _complete_if_all_joined(self, now: float) -> list[Reply]:
        if self._state is not State.PREPARING:
            return []
        is_awaited = self._expected or self._is_gathering
        has_all = all(member.join_ticket is not None for member in self._members.values())
        return self._complete(now) if not self._members or (has_all and not is_awaited) else []

    def _complete(self, now: float) -> list[Reply]:
        """The next generation: of those who joined, and of static members that did not yet."""
        for member in list(self._members.values()):
            if member.join_ticket is None and member.instance_id is None:
                self._forget(member)
        joined = [m for m in self._members.values() if m.join_ticket is not None]
        self._is_gathering = False
        if self._members and not joined:  # static ones, all of them away
            self._deadline = now + self._rebalance_timeout()
            return []
        self.generation += 1
        if not joined:
            self._state, self._deadline = State.EMPTY, None
            self._protocol = self._leader = ""
            return []
        if self._members[self._leader].join_ticket is None:
            self._leader = joined[0].member_id
        self._protocol = self._choose_protocol()
        self._state = State.COMPLETING
        self._deadline = now + self._rebalance_timeout()
        self._unsynced = set(self._members)
        replies = []
        for member in joined:
            assert member.join_ticket is not None
            replies.append(Reply(member.join_ticket, self._joined(member)))
            member.join_ticket, member.is_new = None, False
            member.deadline = now + member.session_timeout
        return replies

    def _assign(self, assignments: Mapping[str, bytes], now: float) -> list[Reply]:
        self._state = State.STABLE
        replies = []
        for member in self._members.values():
            member.assignment = bytes(assignments.get(member.member_id, b""))
            if member.sync_ticket is not None:
                replies.append(Reply(member.sync_ticket, self._synced(member)))
                member.sync_ticket = None
                member.deadline = now + member.session_timeout
        self._stop_waiting_if_all_synced()
        return replies

    def _stop_waiting_if_all_synced(self) -> None:
        if not self._unsynced:
            self._deadline = None

    def _deadline_passed(self, now: float) -> list[Reply]:
        if self._state is State.PREPARING:
            if self._is_gathering and self._has_grown and self._delay_left > 0:
                delay = self._config.classic_initial_rebalance_delay_ms / 1000
                self._deadline = now + min(delay, self._delay_left)
                self._delay_left = max(self._delay_left - delay, 0.0)
                self._has_grown = False
                return []
            return self._complete(now)
        return self._drop([self._members[name] for name in sorted(self._unsynced)], now)

    def _drop(self, members: Iterable[Member], now: float) -> list[Reply]:
        """They are gone; the others share what they had."""
        replies: list[Reply] = []
        for member in members:
            replies += self._refuse_waiting(member, self._unknown(member.member_id))
            self._forget(member)
        return replies + self._prepare(now)

    def _forget(self, member: Member) -> None:
        del self._members[member.member_id]
        self._unsynced.discard(member.member_id)
        if member.instance_id is not None:
            self._static.pop(member.instance_id, None)
        if self._leader == member.member_id:
            self._leader = next(iter(self._members), "")

    # --- answers ----------------------------------------------------------------------------

    def _joined(
        self, member: Member, *, leader: str | None = None, skip_assignment: bool = False
    ) -> ClassicJoined:
        leader = self._leader if leader is None else leader
        is_leader = member.member_id == leader
        return ClassicJoined(
            member_id=member.member_id,
            generation=self.generation,
            protocol_type=self.protocol_type,
            protocol=self._protocol,
            leader=leader,
            members=tuple(
                JoinedMember(item.member_id, item.instance_id, item.metadata(self._protocol))
                for item in self._members.values()
                if is_leader
            ),
            skip_assignment=skip_assignment,
        )

    def _synced(self, member: Member) -> ClassicSynced:
        return ClassicSynced(self.protocol_type, self._protocol, member.assignment)

    @staticmethod
    def _refuse_waiting(member: Member, error: LogStoreError) -> list[Reply]:
        """Nobody waits for the member's earlier join or sync any more."""
        tickets = [t for t in (member.join_ticket, member.sync_ticket) if t is not None]
        member.join_ticket = member.sync_ticket = None
        return [Reply(ticket, error) for ticket in tickets]

    # --- look-ups ---------------------------------------------------------------------------

    def _common(self) -> set[str]:
        """The protocols that every member offers."""
        offers = [{item.name for item in m.protocols} for m in self._members.values()]
        return set.intersection(*offers)

    def _choose_protocol(self) -> str:
        """The most wanted of the common ones; the first by name of equals."""
        common = self._common()
        votes = Counter(
            next(item.name for item in member.protocols if item.name in common)
            for member in self._members.values()
        )
        return min(votes, key=lambda name: (-votes[name], name))

    def _rebalance_timeout(self) -> float:
        return max((m.rebalance_timeout for m in self._members.values()), default=0.0)

    def _find(self, member_id: str, instance_id: str | None) -> Member:
        if instance_id is not None:
            holder = self._static.get(instance_id)
            if holder is not None and holder != member_id:
                raise self._fenced(instance_id)
        member = self._members.get(member_id)
        if member is None or (instance_id is not None and member.instance_id != instance_id):
            raise self._unknown(member_id)
        return member

    def _find_current(self, member_id: str, instance_id: str | None, generation: int) -> Member:
        member = self._find(member_id, instance_id)
        if generation != self.generation:
            raise IllegalGenerationError(
                f"group {self.group_id!r} is at generation {self.generation}, not {generation}",
                group_id=self.group_id,
                generation=self.generation,
            )
        return member

    def _unknown(self, member_id: str) -> UnknownMemberError:
        return UnknownMemberError(
            f"group {self.group_id!r} has no member {member_id!r}; join again",
            group_id=self.group_id,
            member_id=member_id,
        )

    def _fenced(self, instance_id: str) -> FencedInstanceError:
        return FencedInstanceError(
            f"instance id {instance_id!r} was taken over by another member",
            instance_id=instance_id,
        )

    def _rebalancing(self) -> RebalanceInProgressError:
        return RebalanceInProgressError(
            f"group {self.group_id!r} is rebalancing; join again", group_id=self.group_id
        )
