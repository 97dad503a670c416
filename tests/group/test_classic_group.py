"""Each state and rule of a classic group; see the module's docstring for the names."""

from __future__ import annotations

import pytest

from logstore.api import ClassicProtocol, JoinedMember
from logstore.config import GroupConfig
from logstore.errors import (
    GroupFullError,
    GroupKindError,
    IllegalGenerationError,
    InvalidRequestError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    UnknownMemberError,
)
from logstore.group.classic_group import ClassicGroup
from logstore.group.classic_member import ID_LENGTH_MAX, NEW_MEMBER_TIMEOUT, PROTOCOLS_MAX
from tests.group.classic_rig import (
    RANGE,
    REBALANCE,
    SESSION,
    STICKY,
    ClassicRig,
    completing_pair,
    new_rig,
    stable_pair,
)


@pytest.fixture
def rig() -> ClassicRig:
    return new_rig()


# --- empty ------------------------------------------------------------------------------------


def test_a_group_without_members_is_empty(rig):
    assert (rig.group.state, rig.group.generation, rig.group.is_vacant) == ("empty", 0, True)
    assert rig.group.next_deadline() is None
    assert rig.group.expire(1e9) == []


def test_an_empty_group_knows_nobody(rig):
    for call in (
        lambda: rig.join("a"),
        lambda: rig.sync("a", 0),
        lambda: rig.beat("a", 0),
        lambda: rig.leave("a"),
        lambda: rig.leave(instance_id="i"),
    ):
        with pytest.raises(UnknownMemberError):
            call()
    assert rig.group.state == "empty"


def test_the_first_member_leads_a_generation_of_its_own(rig):
    answer = rig.joined(rig.join(new_id="a"))

    assert (answer.member_id, answer.leader, answer.generation) == ("a", "a", 1)
    assert (answer.protocol_type, answer.protocol) == ("consumer", "range")
    assert answer.members == (JoinedMember("a", None, b"r"),)
    assert rig.group.state == "completing"


def test_a_group_that_all_left_is_empty_at_the_next_generation(rig):
    stable_pair(rig)
    rig.leave("a")
    rig.leave("b")
    assert (rig.group.state, rig.group.generation) == ("empty", 3)
    assert rig.group.next_deadline() is None
    again = rig.joined(rig.join(new_id="c", protocol_type="connect"))
    assert (again.generation, again.leader, again.protocol_type) == (4, "c", "connect")


def test_the_first_generation_waits_for_those_who_come_together():
    rig = new_rig(classic_initial_rebalance_delay_ms=3000)
    first = rig.join(new_id="a")
    assert (rig.group.state, rig.group.next_deadline()) == ("preparing", 3.0)
    rig.now = 2.0
    second = rig.join(new_id="b")
    rig.expire(3.0)
    assert rig.answers == {}, "one came: it is put off once more"
    rig.expire(6.0)
    assert {rig.joined(first).generation, rig.joined(second).generation} == {1}
    assert len(rig.joined(first).members) == 2


def test_by_default_a_first_member_has_the_time_to_learn_of_its_topics_partitions():
    rig = ClassicRig(ClassicGroup("g", GroupConfig()))
    first = rig.join(new_id="a")
    assert (rig.group.state, rig.group.next_deadline()) == ("preparing", 0.5)
    rig.expire(0.5)
    assert rig.joined(first).generation == 1


def test_the_first_generation_is_put_off_no_longer_than_a_rebalance():
    rig = new_rig(classic_initial_rebalance_delay_ms=3000)
    tickets = [rig.join(new_id="a", rebalance_timeout_ms=4000)]
    rig.now = 1.0
    tickets.append(rig.join(new_id="b"))
    rig.expire(3.0)
    rig.now = 3.5
    tickets.append(rig.join(new_id="c"))
    rig.expire(4.0)
    assert [rig.joined(ticket).generation for ticket in tickets] == [1, 1, 1]


def test_a_group_whose_first_member_left_in_the_delay_is_empty():
    rig = new_rig(classic_initial_rebalance_delay_ms=3000)
    ticket = rig.join(new_id="a")
    rig.leave("a")
    assert rig.refused(ticket) is UnknownMemberError
    assert (rig.group.state, rig.group.next_deadline()) == ("empty", None)


# --- preparing --------------------------------------------------------------------------------


def test_a_join_waits_until_all_have_joined(rig):
    stable_pair(rig)
    third = rig.join(new_id="c")
    assert rig.group.state == "preparing"
    leader = rig.join("a")
    assert third not in rig.answers
    follower = rig.join("b")

    assert [rig.joined(t).generation for t in (third, leader, follower)] == [3, 3, 3]
    assert {rig.joined(t).leader for t in (third, leader, follower)} == {"a"}
    assert rig.joined(third).members == rig.joined(follower).members == ()
    assert {item.member_id for item in rig.joined(leader).members} == {"a", "b", "c"}


def test_a_heartbeat_tells_of_the_rebalance_and_counts(rig):
    stable_pair(rig)
    rig.now = 5.0
    rig.join(new_id="c")
    with pytest.raises(RebalanceInProgressError):
        rig.beat("a")
    rig.now = 6.0
    with pytest.raises(RebalanceInProgressError):
        rig.beat("b")
    rig.expire(SESSION)
    assert rig.member_ids == ["a", "b", "c"]


def test_a_sync_of_a_group_that_prepares_is_refused(rig):
    stable_pair(rig)
    rig.join(new_id="c")
    with pytest.raises(RebalanceInProgressError):
        rig.sync("a")


def test_who_does_not_join_in_time_is_dropped(rig):
    stable_pair(rig)
    third = rig.join(new_id="c")
    rig.join("a")
    while rig.now < REBALANCE - 5:
        rig.expire(rig.now + 5.0)
        with pytest.raises(RebalanceInProgressError):
            rig.beat("b")
    assert third not in rig.answers
    rig.expire(REBALANCE)
    assert rig.joined(third).generation == 3
    assert rig.member_ids == ["a", "c"]


def test_the_longest_rebalance_time_counts(rig):
    rig.join(new_id="a", rebalance_timeout_ms=1000)
    rig.sync("a")
    rig.join(new_id="b", rebalance_timeout_ms=5000)
    with pytest.raises(RebalanceInProgressError):
        rig.beat("a")
    rig.expire(1.0)
    assert rig.group.state == "preparing"
    rig.expire(5.0)
    assert rig.member_ids == ["b"]


def test_who_does_not_join_and_is_silent_is_dropped_with_its_session(rig):
    stable_pair(rig)
    rig.join(new_id="c")
    rig.join("a")
    rig.expire(SESSION)
    assert rig.group.state == "completing"
    assert rig.member_ids == ["a", "c"]


def test_when_the_leader_does_not_join_another_leads(rig):
    stable_pair(rig)
    third = rig.join(new_id="c")
    follower = rig.join("b")
    rig.expire(SESSION)
    assert rig.joined(third).leader == rig.joined(follower).leader == "b"
    assert len(rig.joined(follower).members) == 2


def test_who_waits_for_others_needs_no_heartbeat(rig):
    stable_pair(rig)
    rig.join("a")
    rig.join(new_id="c")
    for at in (8.0, 16.0, 24.0):
        rig.expire(at)
        with pytest.raises(RebalanceInProgressError):
            rig.beat("b")
    assert rig.member_ids == ["a", "b", "c"]


def test_a_new_member_waits_only_so_long(rig):
    stable_pair(rig)
    ticket = rig.join(new_id="c", rebalance_timeout_ms=2 * int(NEW_MEMBER_TIMEOUT) * 1000)
    while rig.now < NEW_MEMBER_TIMEOUT - 5:
        rig.expire(rig.now + 5.0)
        for member_id in ("a", "b"):
            with pytest.raises(RebalanceInProgressError):
                rig.beat(member_id)
    rig.expire(NEW_MEMBER_TIMEOUT)
    assert rig.refused(ticket) is UnknownMemberError
    assert rig.member_ids == ["a", "b"]


def test_a_join_sent_again_takes_the_place_of_the_first(rig):
    stable_pair(rig)
    first = rig.join(new_id="c")
    again = rig.join("c")
    assert rig.refused(first) is RebalanceInProgressError
    rig.join("a")
    rig.join("b")
    assert rig.joined(again).member_id == "c"
    assert len(rig.member_ids) == 3


def test_a_member_that_leaves_is_not_waited_for(rig):
    stable_pair(rig)
    third = rig.join(new_id="c")
    rig.join("a")
    rig.leave("b")
    assert rig.joined(third).generation == 3


def test_a_member_that_leaves_while_it_waits_is_answered(rig):
    stable_pair(rig)
    ticket = rig.join(new_id="c")
    rig.leave("c")
    assert rig.refused(ticket) is UnknownMemberError
    assert rig.group.state == "preparing", "a and b may already know of it"


# --- completing -------------------------------------------------------------------------------


def test_a_follower_waits_for_the_leader(rig):
    completing_pair(rig)
    follower = rig.sync("b", protocol_type="consumer", protocol="range")
    assert follower not in rig.answers
    leader = rig.sync("a", assignments={"a": b"one", "b": b"two", "stranger": b"x"})

    assert (rig.synced(leader), rig.synced(follower)) == (b"one", b"two")
    assert rig.group.state == "stable"


def test_who_the_leader_forgets_has_nothing(rig):
    completing_pair(rig)
    rig.sync("a", assignments={"a": b"all"})
    assert rig.synced(rig.sync("b")) == b""


def test_a_sync_sent_again_takes_the_place_of_the_first(rig):
    completing_pair(rig)
    first = rig.sync("b")
    again = rig.sync("b")
    assert rig.refused(first) is RebalanceInProgressError
    rig.sync("a", assignments={"b": b"two"})
    assert rig.synced(again) == b"two"


def test_a_join_that_came_in_between_begins_anew(rig):
    completing_pair(rig)
    waiting = rig.sync("b")
    rig.join(new_id="c")
    assert rig.refused(waiting) is RebalanceInProgressError
    assert rig.group.state == "preparing"


def test_a_join_sent_again_after_a_lost_answer_is_answered_alike(rig):
    completing_pair(rig)
    for member_id, count in (("a", 2), ("b", 0)):
        answer = rig.joined(rig.join(member_id))
        assert (answer.generation, len(answer.members)) == (2, count)
    assert rig.group.state == "completing"


def test_a_join_with_other_metadata_begins_anew(rig):
    completing_pair(rig)
    rig.join("b", protocols=(ClassicProtocol("range", b"other"),))
    assert rig.group.state == "preparing"


def test_heartbeats_count_while_the_leader_assigns(rig):
    completing_pair(rig)
    rig.now = 5.0
    rig.beat("a")
    rig.beat("b")
    rig.expire(SESSION)
    assert rig.member_ids == ["a", "b"]


def test_who_waits_for_the_leader_needs_no_heartbeat(rig):
    completing_pair(rig)
    rig.sync("b")
    rig.now = 5.0
    rig.beat("a")
    rig.expire(SESSION)
    assert rig.member_ids == ["a", "b"]


def test_who_waited_long_for_the_leader_has_a_session_from_then_on(rig):
    completing_pair(rig)
    rig.sync("b")
    for at in (6.0, 12.0):
        rig.expire(at)
        rig.beat("a")
    rig.join(new_id="c")
    rig.expire(12.0)
    assert rig.member_ids == ["a", "b", "c"]
    rig.expire(12.0 + SESSION)
    assert rig.member_ids == ["c"]


def test_a_leader_that_dies_is_replaced(rig):
    completing_pair(rig)
    waiting = rig.sync("b")
    rig.expire(SESSION)
    assert rig.refused(waiting) is RebalanceInProgressError
    assert rig.joined(rig.join("b")).leader == "b"
    assert rig.member_ids == ["b"]


def test_who_does_not_sync_in_time_is_dropped(rig):
    completing_pair(rig)
    rig.sync("a", assignments={"a": b"one"})
    while rig.now < REBALANCE - 5:
        rig.now += 5.0
        rig.beat("a")
        rig.beat("b")
    assert rig.group.next_deadline() == REBALANCE
    rig.expire(REBALANCE)
    assert rig.member_ids == ["a"]
    assert rig.group.state == "preparing"


# --- stable -----------------------------------------------------------------------------------


def test_a_stable_group_describes_its_members(rig):
    stable_pair(rig)
    info = rig.group.describe()
    assert (info.state, info.generation, info.leader) == ("stable", 2, "a")
    assert (info.protocol_type, info.protocol) == ("consumer", "range")
    assert [(m.member_id, m.metadata, m.assignment) for m in info.members] == [
        ("a", b"r", b"one"),
        ("b", b"r", b"two"),
    ]
    assert rig.group.next_deadline() == SESSION


def test_a_sync_of_a_stable_group_is_answered_at_once(rig):
    stable_pair(rig)
    assert rig.synced(rig.sync("b")) == b"two"


def test_a_follower_that_joins_alike_is_told_what_is(rig):
    stable_pair(rig)
    answer = rig.joined(rig.join("b"))
    assert (answer.generation, answer.leader, answer.members) == (2, "a", ())
    assert rig.group.state == "stable"


def test_a_leader_that_joins_asks_for_a_rebalance(rig):
    stable_pair(rig)
    rig.join("a")
    assert rig.group.state == "preparing"


def test_a_follower_with_other_metadata_asks_for_a_rebalance(rig):
    stable_pair(rig)
    rig.join("b", protocols=(RANGE, STICKY))
    assert rig.group.state == "preparing"


def test_a_member_that_is_silent_is_dropped(rig):
    stable_pair(rig)
    rig.now = 5.0
    rig.beat("b")
    rig.expire(SESSION)
    assert (rig.group.state, rig.member_ids) == ("preparing", ["b"])
    with pytest.raises(UnknownMemberError):
        rig.beat("a")


def test_a_member_that_leaves_is_dropped_at_once(rig):
    stable_pair(rig)
    rig.leave("b")
    assert (rig.group.state, rig.member_ids) == ("preparing", ["a"])
    assert rig.joined(rig.join("a")).generation == 3


# --- dead -------------------------------------------------------------------------------------


def test_a_dead_group_knows_nobody(rig):
    rig.group.delete()
    assert rig.group.state == "dead"
    for call in (
        lambda: rig.join(),
        lambda: rig.sync("a", 0),
        lambda: rig.beat("a", 0),
        lambda: rig.leave("a"),
        lambda: rig.group.check_commit("a", 0, 0.0),
    ):
        with pytest.raises(UnknownMemberError):
            call()


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"session_timeout_ms": 499}, InvalidRequestError),
        ({"session_timeout_ms": 10**9}, InvalidRequestError),
        ({"rebalance_timeout_ms": -1}, InvalidRequestError),
        ({"instance_id": "i" * (ID_LENGTH_MAX + 1)}, InvalidRequestError),
        ({"protocol_type": ""}, GroupKindError),
        ({"protocol_type": "connect"}, GroupKindError),
        ({"protocols": ()}, GroupKindError),
        ({"protocols": (STICKY,)}, GroupKindError),
        ({"protocols": (RANGE,) * (PROTOCOLS_MAX + 1)}, GroupKindError),
    ],
)
def test_a_refused_join_changes_nothing(rig, asked, error):
    stable_pair(rig)
    before = (rig.group.describe(), rig.group.next_deadline())
    for member_id in ("", "b"):
        with pytest.raises(error):
            rig.join(member_id, **asked)
    assert (rig.group.describe(), rig.group.next_deadline()) == before


def test_another_generation_is_illegal(rig):
    stable_pair(rig)
    for generation in (1, 3, -1):
        for call in (rig.beat, rig.sync):
            with pytest.raises(IllegalGenerationError) as caught:
                call("a", generation)
            assert caught.value.details["generation"] == "2"


def test_another_protocol_is_not_the_groups(rig):
    stable_pair(rig)
    with pytest.raises(GroupKindError):
        rig.sync("a", protocol="sticky")
    with pytest.raises(GroupKindError):
        rig.sync("a", protocol_type="connect")


def test_most_votes_choose_the_protocol_and_equals_the_first_by_name(rig):
    rig.join(new_id="a", protocols=(STICKY, RANGE))
    assert rig.group.describe().protocol == ""
    rig.join(new_id="b", protocols=(RANGE, STICKY))
    assert rig.joined(rig.join("a", protocols=(STICKY, RANGE))).protocol == "range"
    rig.join(new_id="c", protocols=(STICKY, RANGE))
    rig.join("b", protocols=(RANGE, STICKY))
    answer = rig.joined(rig.join("a", protocols=(STICKY, RANGE)))
    assert (answer.protocol, {item.metadata for item in answer.members}) == ("sticky", {b"s"})


def test_a_full_group_takes_only_those_it_knows(rig):
    for name in ("a", "b", "c"):
        rig.join(new_id=name)
    rig.join(new_id="d", needs_known_id=True)
    with pytest.raises(GroupFullError):
        rig.join(new_id="e")
    rig.join("d", needs_known_id=True)
    rig.join("c")


# --- the id that is asked for first -----------------------------------------------------------


def test_a_member_is_given_its_id_before_it_joins(rig):
    error = rig.answers[rig.join(new_id="a", needs_known_id=True)]
    assert isinstance(error, MemberIdRequiredError)
    assert error.details["member_id"] == "a"
    assert (rig.group.state, rig.group.is_vacant) == ("empty", False)
    assert rig.joined(rig.join("a", needs_known_id=True)).member_id == "a"


def test_an_id_that_is_not_used_is_forgotten(rig):
    rig.join(new_id="a", needs_known_id=True)
    assert rig.group.next_deadline() == SESSION
    rig.expire(SESSION)
    assert rig.group.is_vacant
    with pytest.raises(UnknownMemberError):
        rig.join("a", needs_known_id=True)


def test_a_rebalance_waits_for_those_who_were_given_an_id(rig):
    stable_pair(rig)
    rig.join(new_id="c", needs_known_id=True)
    leader, follower = rig.join("a"), rig.join("b", protocols=(RANGE, STICKY))
    assert leader not in rig.answers
    rig.join("c", needs_known_id=True)
    assert len(rig.joined(leader).members) == 3
    assert follower in rig.answers


def test_a_rebalance_does_not_wait_for_one_who_left_or_never_came(rig):
    stable_pair(rig)
    for name in ("c", "d"):
        rig.join(new_id=name, needs_known_id=True)
    leader = rig.join("a")
    rig.join("b")
    rig.leave("c")
    assert leader not in rig.answers
    rig.expire(SESSION)
    assert len(rig.joined(leader).members) == 2


def test_a_group_that_all_left_is_empty_though_one_was_given_an_id(rig):
    rig.join(new_id="a")
    rig.join(new_id="b", needs_known_id=True)
    rig.leave("a")
    assert (rig.group.state, rig.group.is_vacant) == ("empty", False)
    assert rig.joined(rig.join("b")).leader == "b"


def test_an_id_given_to_a_dynamic_member_is_none_of_a_static_one(rig):
    rig.join(new_id="a", needs_known_id=True)
    with pytest.raises(UnknownMemberError):
        rig.join("a", instance_id="i")


# --- commits ----------------------------------------------------------------------------------


def test_commits_are_for_members_of_the_present_generation(rig):
    rig.group.check_commit("", -1, 0.0)  # nobody is in it
    completing_pair(rig)
    with pytest.raises(RebalanceInProgressError):
        rig.group.check_commit("a", 2, 0.0)
    rig.sync("a")
    rig.group.check_commit("a", 2, 4.0)
    assert rig.group.next_deadline() == SESSION, "b's; a's heartbeat was the commit"
    rig.expire(SESSION)
    assert rig.member_ids == ["a"]
    rig.group.check_commit("a", 2, SESSION)
    for call in (
        lambda: rig.group.check_commit("", -1, 0.0),
        lambda: rig.group.check_commit("b", 2, 0.0),
    ):
        with pytest.raises(UnknownMemberError):
            call()
    with pytest.raises(IllegalGenerationError):
        rig.group.check_commit("a", 1, 0.0)
