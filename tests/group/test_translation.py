"""Classic members in a server-assigned group, on a clock that is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from logstore.api import (
    ClassicHeartbeat,
    ClassicJoined,
    ClassicLeave,
    ClassicProtocol,
    ClassicSync,
    LeavingMember,
    TopicPartition,
)
from logstore.errors import (
    FencedInstanceError,
    GroupFullError,
    GroupKindError,
    IllegalGenerationError,
    InvalidSessionTimeoutError,
    LogStoreError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    UnknownMemberError,
    UnreleasedInstanceError,
)
from logstore.group import translation
from logstore.group.consumer_protocol import (
    decode_assignment,
    decode_subscription,
    encode_assignment,
    encode_subscription,
)
from tests.group import classic_rig
from tests.group.classic_rig import ClassicRig, join_request
from tests.group.rig import CONFIG, REBALANCE, SESSION, Rig, new_rig, tp

Parts = set[TopicPartition]
FIRST = "C"  # by name: of members with as many partitions the one that gives


def consumer(*owned: int, topics: tuple[str, ...] = ("t",)) -> tuple[ClassicProtocol, ...]:
    return (ClassicProtocol("sticky", encode_subscription(topics, tp(*owned))),)


@dataclass
class Mixed:
    """`rig` holds the group and the members that speak heartbeats."""

    rig: Rig
    generations: dict[str, int] = field(default_factory=dict)

    @property
    def group(self):
        return self.rig.group

    def join(self, member_id: str = "", *owned: int, **asked) -> ClassicJoined:
        asked = {"protocols": consumer(*owned), **asked}
        request = join_request(member_id, **asked)
        joined = translation.join(self.group, request, self.rig.now, new_member_id="given")
        self.generations[joined.member_id] = joined.generation
        return joined

    def sync(self, member_id: str, **asked) -> Parts:
        request = ClassicSync("g", member_id, self.generations[member_id], **asked)
        return set(
            decode_assignment(translation.sync(self.group, request, self.rig.now).assignment)
        )

    def beat(self, member_id: str, generation: int | None = None, **asked) -> None:
        generation = self.generations[member_id] if generation is None else generation
        request = ClassicHeartbeat("g", member_id, generation, **asked)
        translation.heartbeat(self.group, request, self.rig.now)

    def leave(self, *members: LeavingMember) -> list[LogStoreError | None]:
        return translation.leave(self.group, ClassicLeave("g", members))

    def enter(self, member_id: str, *owned: int, **asked) -> Parts:
        """Join and sync."""
        self.join(member_id, *owned, **asked)
        return self.sync(member_id)

    def must_join(self, member_id: str) -> bool:
        try:
            self.beat(member_id)
        except RebalanceInProgressError:
            return True
        return False


@pytest.fixture
def mixed() -> Mixed:
    """a speaks heartbeats and has all of t."""
    rig = new_rig()
    rig.join("a")
    rig.beat("a")
    return Mixed(rig)


def test_a_classic_member_waits_for_what_is_given_up_and_joins_again(mixed):
    assert mixed.enter("c") == set()
    assert not mixed.must_join("c"), "there is nothing to get yet"
    assert set(mixed.rig.beat("a").partitions) == tp(0, 1)
    mixed.rig.beat("a")
    assert mixed.must_join("c")
    assert mixed.enter("c") == tp(2, 3)
    assert not mixed.must_join("c")
    assert mixed.group.state == "stable"


def shared(mixed: Mixed, member_id: str = "c") -> None:
    """It has 2 and 3, a has 0 and 1."""
    mixed.enter(member_id)
    mixed.rig.beat("a")
    mixed.rig.beat("a")
    assert mixed.enter(member_id) == tp(2, 3)


def test_nobody_leads(mixed):
    joined = mixed.join("c")
    assert (joined.leader, joined.members, joined.protocol) == ("", (), "sticky")
    assert joined.generation == mixed.group.epoch


def test_an_eager_member_frees_what_it_had_as_it_joins(mixed):
    shared(mixed, FIRST)
    mixed.rig.join("b", "t")
    assert mixed.must_join(FIRST)
    assert len(mixed.enter(FIRST)) == 1
    (freed,) = mixed.rig.beat("b").partitions
    assert freed in tp(2, 3)


def test_a_cooperative_member_keeps_what_it_owns_until_it_says_otherwise(mixed):
    shared(mixed, FIRST)
    mixed.rig.join("b", "t")
    before = mixed.generations[FIRST]
    kept = mixed.enter(FIRST, 2, 3)
    assert len(kept) == 1
    assert mixed.generations[FIRST] == before, "its epoch rises when nothing is left to give up"
    assert mixed.must_join(FIRST)
    assert mixed.rig.beat("b").partitions == (), "still another's"
    (number,) = (part.partition for part in kept)
    assert mixed.enter(FIRST, number) == kept
    assert mixed.generations[FIRST] == mixed.group.epoch
    assert set(mixed.rig.beat("b").partitions) == tp(2, 3) - kept


def test_a_member_of_an_old_generation_is_told_so(mixed):
    shared(mixed)
    with pytest.raises(IllegalGenerationError):
        mixed.beat("c", mixed.generations["c"] - 1)
    with pytest.raises(IllegalGenerationError):
        mixed.group.check_commit("c", mixed.generations["c"] - 1)
    mixed.group.check_commit("c", mixed.generations["c"])


def test_a_sync_behind_a_newer_target_has_to_join_again(mixed):
    mixed.join("c")
    mixed.rig.join("b", "t")
    with pytest.raises(RebalanceInProgressError):
        mixed.sync("c")


def test_a_sync_of_another_protocol_is_refused(mixed):
    mixed.join("c")
    for asked in ({"protocol": "range"}, {"protocol_type": "connect"}):
        with pytest.raises(GroupKindError):
            mixed.sync("c", **asked)
    assert mixed.sync("c", protocol="sticky", protocol_type="consumer") == set()


def test_who_does_not_join_again_in_time_is_dropped(mixed):
    shared(mixed)
    mixed.rig.join("b", "t")
    assert mixed.must_join("c")
    deadline = mixed.rig.now + REBALANCE
    while mixed.rig.now < deadline:  # its heartbeats go on
        mixed.rig.now += SESSION / 2
        assert mixed.must_join("c")
        mixed.rig.beat("a")
        mixed.rig.beat("b")
        if mixed.rig.now < deadline:
            assert mixed.group.expire(mixed.rig.now) == []
    assert mixed.group.expire(mixed.rig.now) == ["c"]


def test_joining_again_ends_the_time_to_do_so(mixed):
    shared(mixed)
    mixed.rig.join("b", "t")
    assert mixed.must_join("c")
    mixed.enter("c")
    mixed.rig.now += REBALANCE
    for member_id in ("a", "b"):
        mixed.rig.beat(member_id)
    mixed.must_join("c")
    assert mixed.group.expire(mixed.rig.now) == []


def test_a_silent_member_is_dropped_after_its_session(mixed):
    shared(mixed)
    mixed.rig.now += SESSION
    mixed.rig.beat("a")
    assert mixed.group.expire(mixed.rig.now) == ["c"]
    with pytest.raises(UnknownMemberError):
        mixed.beat("c")


def test_the_id_is_asked_for_first(mixed):
    with pytest.raises(MemberIdRequiredError) as caught:
        mixed.join(needs_known_id=True)
    member_id = caught.value.details["member_id"]
    assert mixed.join(member_id, needs_known_id=True).member_id == member_id
    assert mixed.join().member_id == "given", "an old client is given it at once"


def test_a_static_member_that_comes_back_takes_its_place(mixed):
    joined = mixed.join(instance_id="i")
    mixed.rig.beat("a")
    mixed.rig.beat("a")
    assert mixed.enter(joined.member_id, instance_id="i") == tp(2, 3)
    epoch = mixed.group.epoch
    request = join_request(protocols=consumer(), instance_id="i")
    again = translation.join(mixed.group, request, mixed.rig.now, new_member_id="next")
    mixed.generations["next"] = again.generation
    assert (again.member_id, mixed.sync("next")) == ("next", tp(2, 3))
    assert mixed.group.epoch == epoch, "nobody else is disturbed"
    for call in (
        lambda: mixed.beat(joined.member_id, instance_id="i"),
        lambda: mixed.join(joined.member_id, instance_id="i"),
    ):
        with pytest.raises(FencedInstanceError):
            call()
    with pytest.raises(UnknownMemberError):
        mixed.join("nobody", instance_id="j")
    with pytest.raises(UnreleasedInstanceError):
        mixed.rig.join("b", "t", instance_id="i")


def test_those_who_leave_are_told_one_by_one(mixed):
    mixed.join("c")
    mixed.join(instance_id="i")
    epoch = mixed.group.epoch
    outcomes = mixed.leave(
        LeavingMember("c"), LeavingMember("x"), LeavingMember("", "i"), LeavingMember("c", "i")
    )
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        UnknownMemberError,
        type(None),
        FencedInstanceError,
    ]
    assert mixed.group.epoch == epoch + 1, "the others are disturbed once"
    assert mixed.group.member_count == 1
    assert mixed.leave() == []
    assert mixed.group.epoch == epoch + 1


def test_who_speaks_heartbeats_is_no_classic_member(mixed):
    epoch = mixed.group.epoch
    mixed.generations["a"] = epoch
    for call in (lambda: mixed.beat("a"), lambda: mixed.sync("a")):
        with pytest.raises(UnknownMemberError):
            call()
    assert mixed.join("a").member_id == "a", "until it joins as one"
    assert mixed.rig.info("a").is_classic
    mixed.rig.join("a")
    assert not mixed.rig.info("a").is_classic


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"protocol_type": "connect"}, GroupKindError),
        ({"protocols": (ClassicProtocol("range", b"?"),)}, GroupKindError),
        ({"protocols": ()}, GroupKindError),
        ({"session_timeout_ms": 1}, InvalidSessionTimeoutError),
    ],
)
def test_a_refused_join_changes_nothing(mixed, asked, error):
    before = mixed.rig.snapshot()
    for member in ("", "c"):
        with pytest.raises(error):
            mixed.join(member, **asked)
    assert mixed.rig.snapshot() == before


def test_the_limit_of_members_holds(mixed):
    for name in "cd":
        mixed.join(name)
    before = mixed.rig.snapshot()
    with pytest.raises(GroupFullError):
        mixed.join("e")
    assert mixed.rig.snapshot() == before


def test_a_member_that_reads_nothing_yet_is_welcome(mixed):
    assert mixed.enter("c", protocols=consumer(topics=())) == set()
    assert mixed.rig.info("c").subscribed_topics == ()


def test_the_group_is_described_as_if_all_were_classic(mixed):
    shared(mixed)
    info = translation.describe(mixed.group)
    assert (info.state, info.protocol_type, info.protocol) == ("stable", "consumer", "sticky")
    for member, owned in zip(info.members, (tp(0, 1), tp(2, 3)), strict=True):
        assert set(decode_assignment(member.assignment)) == owned
        assert decode_subscription(member.metadata).topics == ("t",)
    mixed.leave(LeavingMember("c"))
    mixed.rig.send("a", -1)
    assert translation.describe(mixed.group).protocol_type == ""


# --- upgrade ----------------------------------------------------------------------------------


def classic_pair() -> ClassicRig:
    """a has 0 and 1 of t, b the others; generation 2."""
    rig = classic_rig.new_rig()
    rig.join(new_id="a", protocols=consumer())
    rig.sync("a", assignments={"a": encode_assignment(tp(0, 1, 2, 3))})
    rig.join(new_id="b", protocols=consumer())
    rig.join("a", protocols=consumer())
    rig.sync("b")
    rig.sync("a", assignments={"a": encode_assignment(tp(0, 1)), "b": encode_assignment(tp(2, 3))})
    assert rig.group.state == "stable"
    return rig


def upgraded(rig: ClassicRig) -> Mixed:
    group = translation.upgrade(rig.group, CONFIG, rig.now)
    assert group is not None
    group.topics_changed({"t": 4, "u": 2})
    return Mixed(Rig(group, rig.now), dict.fromkeys("ab", 2))


def test_an_upgraded_group_goes_on_where_it_was():
    mixed = upgraded(classic_pair())
    assert set(mixed.rig.info("a").assigned) == tp(0, 1)
    assert set(mixed.rig.info("b").assigned) == tp(2, 3)
    assert mixed.rig.info("a").member_epoch == 2
    mixed.group.check_commit("a", 2)
    assert mixed.rig.join("c").partitions == ()
    assert mixed.must_join("a")
    assert len(mixed.enter("a", 0, 1) | mixed.enter("b", 2, 3)) == 3
    held = [mixed.enter("a", 0), mixed.enter("b", 2, 3)]
    assert len(mixed.rig.beat("c").partitions) == 1
    assert len(held[0]) + len(held[1]) == 3


def test_who_waits_is_answered_by_the_upgraded_group():
    rig = classic_pair()
    waiting = rig.join("a", protocols=consumer())
    mixed = upgraded(rig)
    mixed.rig.join("c")
    replies = dict(translation.answers_after_upgrade(rig.group, mixed.group, 0.0))
    answer = replies.pop(waiting)
    assert isinstance(answer, ClassicJoined)
    assert answer.generation == mixed.group.epoch
    assert replies == {}
    assert set(mixed.rig.info("b").assigned) == tp(2, 3), "it has not joined: it owns what it had"


def test_a_sync_that_waits_has_to_join_again():
    rig = classic_pair()
    rig.join("a", protocols=consumer())
    rig.join("b", protocols=consumer(3))
    waiting = rig.sync("b")
    mixed = upgraded(rig)
    ((ticket, answer),) = translation.answers_after_upgrade(rig.group, mixed.group, 0.0)
    assert (ticket, type(answer)) == (waiting, RebalanceInProgressError)
    assert set(mixed.rig.info("b").assigned) == tp(3), "what it said when it joined"
    assert set(mixed.rig.info("a").assigned) == set()


def test_what_two_own_is_the_first_ones():
    rig = classic_pair()
    rig.join("a", protocols=consumer())
    rig.join("b", protocols=consumer())
    rig.sync("a", assignments=dict.fromkeys("ab", encode_assignment(tp(0, 1))))
    mixed = upgraded(rig)
    assert set(mixed.rig.info("a").assigned) == tp(0, 1)
    assert set(mixed.rig.info("b").assigned) == set()


@pytest.mark.parametrize(
    "asked",
    [{"protocol_type": "connect"}, {"protocols": (ClassicProtocol("range", b"?"),)}],
)
def test_a_group_that_cannot_be_read_is_not_upgraded(asked):
    rig = classic_rig.new_rig()
    rig.join(new_id="a", **asked)
    assert translation.upgrade(rig.group, CONFIG, 0.0) is None


def test_an_assignment_that_cannot_be_read_is_not_upgraded():
    rig = classic_rig.new_rig()
    rig.join(new_id="a", protocols=consumer())
    rig.sync("a", assignments={"a": b"?"})
    assert translation.upgrade(rig.group, CONFIG, 0.0) is None
