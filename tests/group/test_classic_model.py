"""A classic group against clients that join, sync, leave and die in any order, with answers lost.

What must hold: each call that waits is answered once and by its time; the members of a generation
were told the same leader and protocol; generations rise; and when the trouble is over, all who are
left are assigned by their leader.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logstore.api import ClassicJoined, ClassicSynced
from logstore.errors import (
    FencedInstanceError,
    GroupFullError,
    GroupKindError,
    IllegalGenerationError,
    LogStoreError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    UnknownMemberError,
)
from tests.group.classic_rig import RANGE, REBALANCE, SESSION, STICKY, ClassicRig, new_rig

REJOIN = (UnknownMemberError, IllegalGenerationError, RebalanceInProgressError)


@dataclass(eq=False)
class Client:
    """As Kafka's: it joins, syncs, and joins again when it is told so."""

    protocols: tuple[object, ...]
    instance_id: str | None
    needs_known_id: bool
    member_id: str = ""
    generation: int = -1
    ticket: int | None = None  # it waits for
    assignment: bytes | None = None
    joined: ClassicJoined | None = None

    def begin_again(self, *, forgotten: bool) -> None:
        self.assignment = self.joined = self.ticket = None
        if forgotten:
            self.member_id = ""


class ClassicMachine(RuleBasedStateMachine):
    rig: ClassicRig

    @initialize(delay=st.sampled_from([0, 2000]))
    def begin(self, delay: int) -> None:
        self.rig = new_rig(classic_initial_rebalance_delay_ms=delay)
        self.clients: list[Client] = []
        self.names = 0
        self.told: dict[int, tuple[str, str]] = {}  # generation -> leader, protocol
        self.generation = 0

    def pick(self, number: int) -> Client:
        return self.clients[number % len(self.clients)]

    # --- what happens -----------------------------------------------------------------------

    @precondition(lambda self: len(self.clients) < 4)
    @rule(
        protocols=st.sampled_from([(RANGE,), (RANGE, STICKY), (STICKY, RANGE)]),
        instance_id=st.sampled_from([None, None, "i", "j"]),
        needs_known_id=st.booleans(),
    )
    def start(self, protocols, instance_id, needs_known_id) -> None:
        self.clients.append(Client(protocols, instance_id, needs_known_id))

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 9))
    def die(self, number: int) -> None:
        self.clients.remove(self.pick(number))

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 9))
    def restart_process(self, number: int) -> None:
        """It forgets who it is; a static one takes its place back."""
        self.pick(number).begin_again(forgotten=True)

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 9))
    def lose_answer(self, number: int) -> None:
        client = self.pick(number)
        client.ticket = None

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 9))
    def leave(self, number: int) -> None:
        client = self.pick(number)
        self.clients.remove(client)
        if client.member_id:
            try:
                self.rig.leave(client.member_id, instance_id=client.instance_id)
            except (UnknownMemberError, FencedInstanceError):
                return

    @rule(seconds=st.sampled_from([0.5, 2.0, SESSION / 2, SESSION, REBALANCE]))
    def wait(self, seconds: float) -> None:
        self.rig.expire(self.rig.now + seconds)

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 9))
    def step(self, number: int) -> None:
        """The next thing the client does."""
        client = self.pick(number)
        if client.ticket is not None:
            self.hear(client)
            return
        try:
            if client.joined is None:
                self.names += 1
                client.ticket = self.rig.join(
                    client.member_id,
                    new_id=f"m{self.names}",
                    protocols=client.protocols,
                    instance_id=client.instance_id,
                    needs_known_id=client.needs_known_id,
                )
            elif client.assignment is None:
                client.ticket = self.sync(client, client.joined)
            else:
                self.rig.beat(client.member_id, client.generation, instance_id=client.instance_id)
        except (GroupFullError, FencedInstanceError):
            self.clients.remove(client)
        except REJOIN as error:
            client.begin_again(forgotten=isinstance(error, UnknownMemberError))
        except GroupKindError:
            raise AssertionError("they all know range") from None

    def sync(self, client: Client, joined: ClassicJoined) -> int:
        assignments = {
            item.member_id: (item.instance_id or item.member_id).encode() for item in joined.members
        }
        return self.rig.sync(
            client.member_id,
            joined.generation,
            instance_id=client.instance_id,
            protocol=joined.protocol,
            assignments=assignments,
        )

    def hear(self, client: Client) -> None:
        assert client.ticket is not None
        answer = self.rig.answers.get(client.ticket)
        if answer is None:
            return
        client.ticket = None
        if isinstance(answer, ClassicJoined):
            client.member_id, client.generation = answer.member_id, answer.generation
            client.joined, client.assignment = answer, None
            self.compare(answer)
        elif isinstance(answer, ClassicSynced):
            client.assignment = answer.assignment
        else:
            self.hear_error(client, answer)

    def hear_error(self, client: Client, error: LogStoreError) -> None:
        if isinstance(error, MemberIdRequiredError):
            client.member_id = error.details["member_id"]
        elif isinstance(error, FencedInstanceError):
            self.clients.remove(client)
        else:
            assert isinstance(error, REJOIN), error
            client.begin_again(forgotten=isinstance(error, UnknownMemberError))

    def compare(self, answer: ClassicJoined) -> None:
        """A static leader that comes back is another in the same generation."""
        _, protocol = self.told.setdefault(answer.generation, (answer.leader, answer.protocol))
        assert answer.protocol == protocol

    # --- what must hold ---------------------------------------------------------------------

    @invariant()
    def generations_rise(self) -> None:
        assert self.rig.group.generation >= self.generation
        self.generation = self.rig.group.generation

    @invariant()
    def who_waits_has_a_time(self) -> None:
        asked = {client.ticket for client in self.clients if client.ticket is not None}
        if asked - self.rig.answers.keys():
            deadline = self.rig.group.next_deadline()
            assert deadline is not None
            assert deadline > self.rig.now

    @invariant()
    def the_leader_is_a_member(self) -> None:
        info = self.rig.group.describe()
        names = {member.member_id for member in info.members}
        assert (info.leader in names) if names else info.leader == ""
        assert (info.state == "empty") <= (not names)

    def teardown(self) -> None:
        if not hasattr(self, "rig"):
            return
        for client in self.clients:
            client.ticket = None
        for _ in range(60):
            for client in list(self.clients):
                self.step(self.clients.index(client))
            self.wait(SESSION / 4)
        names = {client.instance_id or client.member_id for client in self.clients}
        assigned = [client.assignment for client in self.clients]
        statics = [client.instance_id for client in self.clients if client.instance_id]
        if len(statics) == len(set(statics)):  # two of one name fence each other for ever
            assert sorted(map(repr, assigned)) == sorted(repr(name.encode()) for name in names)
            assert self.rig.group.member_count == len(self.clients)
            assert self.rig.group.state == ("stable" if assigned else "empty")


ClassicMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestClassicModel = ClassicMachine.TestCase
