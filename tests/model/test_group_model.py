"""Consumer groups against clients whose answers are lost or late, that die, leave and come back,
while topics grow and the coordinator is restarted.

What must hold: no partition is worked on by two live members at once; once the trouble is over
every partition that is read has an owner; committed offsets never go back. A member counts as live
while its session, as it can know itself, is not over, and while the coordinator that it joined
runs. The clients are those of logstore.client: their Membership decides what they own and claim.

Two things are taken for granted, which the consumer does: commits are durable before what they are
of is given up, and a member that was expelled stops working before it joins again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from logstore.api import GroupAssignment, GroupHeartbeat, OffsetToCommit, TopicPartition
from logstore.client.membership import Membership, Subscription
from logstore.config import GroupConfig
from logstore.errors import (
    FencedMemberError,
    StaleMemberEpochError,
    UnknownMemberError,
    UnreleasedInstanceError,
)
from logstore.group.coordinator import GroupCoordinator
from logstore.group.offset_records import GroupKey, decode_group_epoch, decode_key
from logstore.testing import ManualClock
from tests.group.doubles import JournalDouble, TopicsDouble

GROUP = "g"
SESSION = 9.0
CLIENTS_MAX = 5
PARTITIONS_MAX = 9
END = 1 << 40  # of every log, so that a restart lowers no offset
ROUNDS_MAX = 12  # that the group may take to settle
# What becomes of a heartbeat's answer, and what a client does besides.
ACTIONS = st.sampled_from(["comes", "comes", "comes", "late", "lost", "hear", "poll", "commit"])
CONFIG = GroupConfig(
    session_timeout_ms=int(SESSION * 1000), rebalance_timeout_ms=10**9, members_max=100
)


@dataclass(eq=False)
class Client:
    """A consumer: its membership, where it reads, and the answers still on their way to it."""

    membership: Membership
    answers: list[tuple[int, GroupAssignment]] = field(default_factory=list)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    session_end: float = 0.0
    life: int = -1  # of the coordinator that it joined
    last: GroupAssignment | None = None
    missed: int = 0  # answers since the last one that came

    @property
    def member_id(self) -> str:
        return self.membership.member_id

    def hear(self, turn: int, answer: GroupAssignment) -> None:
        if turn == self.membership.turn:
            self.membership.accept(answer)
            self.last, self.missed = answer, 0


class GroupMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.journal = JournalDouble()
        self.topics = TopicsDouble()
        self.topics.make("t1", 4, END)
        self.topics.make("t2", 2, END)
        self.clients: list[Client] = []
        self.away: list[Subscription] = []
        self.names = 0
        self.life = 0
        self.seen: dict[TopicPartition, int] = {}
        self.groups = self.open()
        for topics in (("t1",), ("t1", "t2")):
            self.start(topics, None, False, None)

    def open(self) -> GroupCoordinator:
        return GroupCoordinator(CONFIG, self.clock, self.journal, self.topics, uuid.uuid4)

    def pick(self, number: int) -> Client:
        return self.clients[number % len(self.clients)]

    # --- members come and go ----------------------------------------------------------------

    @precondition(lambda self: len(self.clients) < CLIENTS_MAX)
    @rule(
        topics=st.sampled_from([("t1",), ("t2",), ("t1", "t2")]),
        pattern=st.sampled_from([None, None, "t.*"]),
        is_static=st.booleans(),
        assignor=st.sampled_from([None, "sticky", "range", "roundrobin"]),
    )
    def start(self, topics, pattern, is_static, assignor) -> None:
        self.names += 1
        instance_id = f"i{self.names}" if is_static else None
        subscription = Subscription(GROUP, topics, pattern, instance_id, assignor=assignor)
        self.clients.append(Client(Membership(subscription, f"m{self.names}")))

    @precondition(lambda self: self.away)
    @rule(number=st.integers(0, 9))
    def come_back(self, number: int) -> None:
        subscription = self.away.pop(number % len(self.away))
        self.names += 1
        self.clients.append(Client(Membership(subscription, f"m{self.names}")))

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 9))
    def usurp(self, number: int) -> None:
        """Another with the instance id of a live member is refused."""
        client = self.pick(number)
        asked = client.membership.subscription
        if asked.instance_id is None or not self.is_live(client):
            return
        heartbeat = GroupHeartbeat(
            GROUP, "usurper", instance_id=asked.instance_id, subscribed_topics=("t1",)
        )
        try:
            self.groups.heartbeat(heartbeat)
        except UnreleasedInstanceError:
            return
        raise AssertionError(f"{asked.instance_id} was given to two")

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 9), for_good=st.booleans())
    def leave(self, number: int, for_good: bool) -> None:
        client = self.pick(number)
        self.journal.flush()
        self.clients.remove(client)
        if not client.membership.is_member:
            return  # it is forgotten with its session, if it ever had one
        request = client.membership.leave_request(for_good=for_good)
        try:
            answer = self.groups.heartbeat(request)
        except UnknownMemberError:
            assert not self.is_live(client)
            return
        if answer.member_epoch == -2:
            self.away.append(client.membership.subscription)

    @precondition(lambda self: self.clients)
    @rule(number=st.integers(0, 9))
    def die(self, number: int) -> None:
        self.clients.remove(self.pick(number))

    # --- what clients do --------------------------------------------------------------------

    def beat(self, number: int, fate: str) -> None:
        client = self.pick(number)
        if client.membership.is_lost:
            self.poll(number)
        member = client.membership
        request = member.request()
        member.turn += 1
        may_change = self.may_change(client, request)
        was_live = self.is_live(client)
        try:
            answer = self.groups.heartbeat(request)
        except UnknownMemberError:
            assert not was_live
            member.lost()
            return
        except FencedMemberError:
            assert client.missed, "it knows all that it was told"
            member.lost()
            return
        except UnreleasedInstanceError:
            assert not was_live
            return
        if not may_change:
            assert client.last is not None
            assert answer.partitions == client.last.partitions
            assert answer.member_epoch == client.last.member_epoch
        client.session_end = self.clock.monotonic() + SESSION
        client.life = self.life
        client.missed += 1
        if fate == "comes":
            client.hear(member.turn, answer)
        elif fate == "late":
            client.answers.append((member.turn, answer))

    def may_change(self, client: Client, request: GroupHeartbeat) -> bool:
        """Whether this heartbeat may be answered with other than the last one, says the group."""
        last = client.last
        if last is None or request.member_epoch != last.member_epoch:
            return True
        if request.owned is None or set(request.owned) != set(last.partitions):
            return True
        if client.life != self.life:
            return True
        for info in self.groups.describe_group(GROUP).members:
            if info.member_id == client.member_id and info.assigned != last.partitions:
                return True  # it reports what it gave up
        calls: list[None] = []
        watch = self.groups.watch_member(GROUP, client.member_id, last, lambda: calls.append(None))
        watch.cancel()
        return bool(calls)

    @precondition(lambda self: self.clients)
    @rule(steps=st.lists(st.tuples(st.integers(0, CLIENTS_MAX - 1), ACTIONS), max_size=30))
    def go_on(self, steps: list[tuple[int, str]]) -> None:
        """Many small steps in one, since it takes some in a row to make trouble."""
        for number, action in steps:
            if action == "poll":
                self.poll(number)
            elif action == "hear":
                self.hear_late(number)
            elif action == "commit":
                self.commit(number)
            else:
                self.beat(number, action)
            self.no_partition_has_two_owners()
            self.committed_offsets_never_go_back()

    @rule()
    def all_work(self) -> None:
        for number in range(len(self.clients)):
            self.beat(number, "comes")
            self.poll(number)
            self.no_partition_has_two_owners()
            self.commit(number)

    def hear_late(self, number: int) -> None:
        client = self.pick(number)
        if client.answers:
            client.hear(*client.answers.pop())

    def poll(self, number: int) -> None:
        client = self.pick(number)
        member = client.membership
        if member.is_lost:
            self.journal.flush()
            member.cleared()
            client.positions.clear()
        elif member.to_revoke:
            self.journal.flush()
            for part in member.to_revoke:
                del client.positions[part]
            member.gave_up(member.to_revoke)
        else:
            parts = sorted(member.to_take)
            for found in self.groups.committed_offsets(GROUP, parts):
                part = TopicPartition(found.topic, found.partition)
                client.positions[part] = max(found.offset, 0)
            member.took(set(parts))

    def commit(self, number: int) -> None:
        client = self.pick(number)
        member = client.membership
        if not member.is_member or not client.positions:
            return
        for part in client.positions:
            client.positions[part] += 1
        offsets = [OffsetToCommit(*part, at) for part, at in client.positions.items()]
        try:
            self.groups.commit_offsets(
                GROUP, offsets, member_id=client.member_id, member_epoch=member.epoch
            )
        except UnknownMemberError:
            assert not self.is_live(client)
        except StaleMemberEpochError:
            assert client.missed or not self.is_live(client)
        else:
            assert self.is_live(client), "the dead commit nothing"

    # --- what happens to all ----------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1.0, SESSION / 3, SESSION / 2, SESSION]))
    def wait(self, seconds: float) -> None:
        self.journal.flush()
        self.clock.advance(seconds)
        self.groups.tick()

    @rule(count=st.integers(0, 3))
    def flush(self, count: int) -> None:
        self.journal.flush(count)

    @rule(topic=st.sampled_from(["t1", "t2", "t3"]), count=st.integers(1, 3))
    def grow(self, topic: str, count: int) -> None:
        if topic not in self.topics.ids:
            self.topics.make(topic, 1, END)
        _, before = self.topics.ids[topic]
        self.topics.grow(topic, min(before + count, PARTITIONS_MAX), END)
        self.groups.topics_changed()

    @rule(kept=st.integers(0, 3), chance=st.integers(0, 3))
    def restart(self, kept: int, chance: int) -> None:
        if chance:
            return  # it spoils what the other rules have come to
        self.journal.crash(kept)
        self.life += 1
        self.groups = self.open()
        epochs = [
            decode_group_epoch(value)
            for key, value in self.journal.durable
            if value is not None and isinstance(decode_key(key), GroupKey)
        ]
        if epochs:
            assert self.groups.describe_group(GROUP).group_epoch == max(epochs)

    # --- what must hold ---------------------------------------------------------------------

    def is_live(self, client: Client) -> bool:
        return client.life == self.life and self.clock.monotonic() < client.session_end

    @invariant()
    def no_partition_has_two_owners(self) -> None:
        owners: dict[TopicPartition, str] = {}
        for client in self.clients:
            if not self.is_live(client) or client.membership.is_lost:
                continue
            for part in client.membership.owned:
                assert part not in owners, f"{part}: {owners[part]} and {client.member_id}"
                owners[part] = client.member_id

    @invariant()
    def committed_offsets_never_go_back(self) -> None:
        for found in self.groups.committed_offsets(GROUP):
            part = TopicPartition(found.topic, found.partition)
            assert found.offset >= self.seen.get(part, 0), part
            self.seen[part] = found.offset
        told = {(found.topic, found.partition) for found in self.groups.committed_offsets(GROUP)}
        assert self.seen.keys() <= told

    @rule()
    def settle(self) -> None:
        """Once answers come and the dead are known as such, all is owned."""
        for client in self.clients:
            client.answers.clear()
        for _ in range(4):
            self.all_work()
            self.wait(SESSION / 3)
        for _ in range(ROUNDS_MAX):
            self.all_work()
            if self.is_settled():
                break
        else:
            raise AssertionError(f"not settled after {ROUNDS_MAX} rounds")
        self.away.clear()  # their sessions are over

    def is_settled(self) -> bool:
        counts = {name: count for name, (_, count) in self.topics.ids.items()}
        read = {topic for client in self.clients for topic in self.read_by(client)}
        wanted = {TopicPartition(topic, p) for topic in read for p in range(counts[topic])}
        owned = {part for client in self.clients for part in client.membership.owned}
        if owned != wanted:
            return False
        for client in self.clients:
            assert {part.topic for part in client.membership.owned} <= self.read_by(client)
        if not self.clients:
            return True
        info = self.groups.describe_group(GROUP)
        epochs = {client.membership.epoch for client in self.clients}
        return info.state == "stable" and epochs == {info.group_epoch}

    def read_by(self, client: Client) -> set[str]:
        asked = client.membership.subscription
        return {
            name
            for name in self.topics.ids
            if name in asked.topics or (asked.pattern == "t.*" and name.startswith("t"))
        }

    def teardown(self) -> None:
        if hasattr(self, "groups"):
            self.settle()


GroupMachine.TestCase.settings = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
TestGroupModel = GroupMachine.TestCase
