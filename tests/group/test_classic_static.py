"""Static members of a classic group: they come back under a new id, and are fenced."""

from __future__ import annotations

import pytest

from logstore.errors import FencedInstanceError, RebalanceInProgressError, UnknownMemberError
from tests.group.classic_rig import RANGE, REBALANCE, SESSION, STICKY, ClassicRig, new_rig


@pytest.fixture
def rig() -> ClassicRig:
    """i-a leads, i-b follows; both are static and assigned at generation 2."""
    rig = new_rig()
    rig.join(new_id="a", instance_id="i")
    rig.sync("i-a")
    rig.join(new_id="b", instance_id="j")
    rig.join("i-a", instance_id="i")
    rig.sync("j-b", instance_id="j")
    rig.sync("i-a", instance_id="i", assignments={"i-a": b"one", "j-b": b"two"})
    assert rig.group.state == "stable"
    return rig


def test_a_follower_that_comes_back_finds_what_it_had(rig):
    answer = rig.joined(rig.join(new_id="b2", instance_id="j"))
    assert (answer.member_id, answer.generation, answer.leader) == ("j-b2", 2, "i-a")
    assert answer.members == ()
    assert rig.synced(rig.sync("j-b2", instance_id="j")) == b"two"
    assert (rig.group.state, rig.member_ids) == ("stable", ["i-a", "j-b2"])


def test_a_leader_that_comes_back_is_told_to_leave_things_as_they_are(rig):
    answer = rig.joined(rig.join(new_id="a2", instance_id="i", may_skip_assignment=True))
    assert (answer.leader, answer.skip_assignment) == ("i-a2", True)
    assert {item.member_id for item in answer.members} == {"i-a2", "j-b"}
    assert rig.group.describe().leader == "i-a2"
    assert rig.group.state == "stable"


def test_an_old_client_that_led_is_told_that_another_does(rig):
    answer = rig.joined(rig.join(new_id="a2", instance_id="i"))
    assert (answer.leader, answer.members, answer.skip_assignment) == ("i-a", (), False)
    assert rig.synced(rig.sync("i-a2", instance_id="i")) == b"one"
    rig.join("i-a2", instance_id="i")
    assert rig.group.state == "preparing", "it leads all the same"


def test_coming_back_with_another_protocol_is_a_rebalance(rig):
    rig.join("j-b", instance_id="j", protocols=(RANGE, STICKY))
    rig.join("i-a", instance_id="i", protocols=(RANGE, STICKY))
    rig.sync("i-a", instance_id="i")
    rig.sync("j-b", instance_id="j")
    both = (STICKY, RANGE)
    rig.join(new_id="a2", instance_id="i", protocols=both)
    assert rig.group.state == "stable", "one vote each: still the first by name"
    rig.join(new_id="b2", instance_id="j", protocols=both)
    assert rig.group.state == "preparing"
    assert rig.joined(rig.join("i-a2", instance_id="i", protocols=both)).protocol == "sticky"


def test_the_one_that_was_replaced_is_fenced(rig):
    rig.join(new_id="b2", instance_id="j")
    for call in (
        lambda: rig.join("j-b", instance_id="j"),
        lambda: rig.sync("j-b", instance_id="j"),
        lambda: rig.beat("j-b", instance_id="j"),
        lambda: rig.leave("j-b", instance_id="j"),
    ):
        with pytest.raises(FencedInstanceError):
            call()
    with pytest.raises(UnknownMemberError):
        rig.beat("j-b")
    with pytest.raises(UnknownMemberError):
        rig.beat("j-b2", instance_id="k")


def test_the_one_that_waits_is_fenced_when_it_is_replaced(rig):
    waiting = rig.join("i-a", instance_id="i")
    back = rig.join(new_id="a2", instance_id="i")
    assert rig.refused(waiting) is FencedInstanceError
    rig.join("j-b", instance_id="j")
    assert rig.joined(back).leader == "i-a2"


def test_replacing_one_that_waits_for_its_assignment_begins_anew(rig):
    rig.join("i-a", instance_id="i")
    rig.join("j-b", instance_id="j")
    waiting = rig.sync("j-b", instance_id="j")
    rig.join(new_id="b2", instance_id="j")
    assert rig.refused(waiting) is FencedInstanceError
    assert rig.group.state == "preparing"


def test_a_static_member_that_has_not_synced_is_dropped_under_its_new_id(rig):
    rig.join("i-a", instance_id="i")
    rig.join("j-b", instance_id="j")
    rig.sync("i-a", instance_id="i", assignments={"j-b": b"two"})
    rig.join(new_id="b2", instance_id="j")
    while rig.now < REBALANCE - 5:
        rig.now += 5.0
        rig.beat("i-a")
        rig.beat("j-b2")
    rig.expire(REBALANCE)
    assert rig.member_ids == ["i-a"]


def test_a_static_member_keeps_its_place_in_a_rebalance_without_it(rig):
    ticket = rig.join(new_id="c", rebalance_timeout_ms=1000)
    rig.join("i-a", instance_id="i", rebalance_timeout_ms=1000)
    while rig.now < REBALANCE - 5:
        rig.expire(rig.now + 5.0)
        with pytest.raises(RebalanceInProgressError):
            rig.beat("j-b")
    rig.expire(REBALANCE)
    assert rig.joined(ticket).generation == 3
    assert rig.member_ids == ["c", "i-a", "j-b"]
    rig.expire(rig.now + SESSION)
    assert "j-b" not in rig.member_ids, "its session is over"


def test_static_members_that_are_all_away_are_waited_for(rig):
    rig.join("i-a", instance_id="i", session_timeout_ms=120_000)
    rig.join("j-b", instance_id="j", session_timeout_ms=120_000)
    rig.sync("i-a", instance_id="i")
    rig.sync("j-b", instance_id="j")
    third = rig.join(new_id="c")
    rig.leave("c")
    assert rig.refused(third) is UnknownMemberError
    generation = rig.group.generation
    rig.expire(REBALANCE)
    assert (rig.group.state, rig.group.generation) == ("preparing", generation)
    assert rig.group.next_deadline() == 2 * REBALANCE
    back = rig.join("j-b", instance_id="j")
    rig.expire(2 * REBALANCE)
    assert rig.joined(back).leader == "j-b"
    assert rig.member_ids == ["i-a", "j-b"]


def test_a_static_member_may_leave_by_its_instance_id(rig):
    rig.leave(instance_id="j")
    assert rig.member_ids == ["i-a"]
    with pytest.raises(UnknownMemberError):
        rig.leave(instance_id="j")
