"""Leaving a server-assigned group, for good or for a while, and the ids of static members."""

from __future__ import annotations

import pytest

from logstore.api import (
    EPOCH_LEAVE,
    EPOCH_LEAVE_STATIC,
)
from logstore.errors import (
    FencedInstanceError,
    FencedMemberError,
    UnknownMemberError,
    UnreleasedInstanceError,
)
from tests.group.rig import SESSION, Rig, new_rig, settled_pair, tp


@pytest.fixture
def rig() -> Rig:
    return new_rig()


def test_what_a_leaving_member_had_is_given_on(rig):
    settled_pair(rig)
    answer = rig.send("a", EPOCH_LEAVE)

    assert (answer.member_epoch, answer.partitions) == (EPOCH_LEAVE, ())
    assert set(rig.beat("b").partitions) == tp(0, 1, 2, 3)
    with pytest.raises(UnknownMemberError):
        rig.send("a", 2)


def test_a_dynamic_member_that_says_it_will_be_back_is_gone(rig):
    rig.join("a")
    rig.send("a", EPOCH_LEAVE_STATIC)
    assert rig.group.state == "empty"


def test_a_static_member_that_returns_finds_what_it_had(rig):
    rig.join("a", instance_id="i")
    rig.join("b")
    rig.beat("a")
    had = set(rig.beat("a").partitions)
    rig.beat("b")
    epoch = rig.group.epoch

    rig.send("a", EPOCH_LEAVE_STATIC, instance_id="i")
    assert rig.info("a").member_epoch == EPOCH_LEAVE_STATIC
    assert set(rig.beat("b").partitions) == tp(0, 1, 2, 3) - had, "nothing is given on"
    assert rig.group.state == "stable"

    back = rig.join("a2", instance_id="i")
    assert set(back.partitions) == had
    assert (back.member_epoch, rig.group.epoch, back.settled) == (epoch, epoch, True)
    assert rig.group.member_count == 2


def test_a_static_member_may_come_back_under_its_own_id(rig):
    had = rig.join("a", instance_id="i").partitions
    rig.send("a", EPOCH_LEAVE_STATIC, instance_id="i")
    assert rig.join("a", instance_id="i").partitions == had


def test_a_static_member_that_leaves_while_revoking_has_given_up(rig):
    rig.join("a", instance_id="i")
    rig.join("b")
    kept = set(rig.beat("a").partitions)
    rig.send("a", EPOCH_LEAVE_STATIC, instance_id="i")

    assert set(rig.beat("b").partitions) == tp(0, 1, 2, 3) - kept
    rig.now = SESSION / 2
    assert rig.group.next_deadline() == SESSION, "only the session ends its place"


def test_a_static_member_that_stays_away_is_dropped_with_its_session(rig):
    rig.join("a", instance_id="i")
    rig.send("a", EPOCH_LEAVE_STATIC, instance_id="i")
    assert rig.group.expire(SESSION) == ["a"]
    assert rig.group.state == "empty"
    assert rig.join("b", instance_id="i").partitions


def test_a_static_member_may_leave_for_good(rig):
    rig.join("a", instance_id="i")
    rig.send("a", EPOCH_LEAVE, instance_id="i")
    assert rig.group.state == "empty"


def test_the_instance_id_of_a_live_member_is_not_released(rig):
    rig.join("a", instance_id="i")
    before = rig.snapshot()
    with pytest.raises(UnreleasedInstanceError) as caught:
        rig.join("b", instance_id="i")
    assert caught.value.details["member_id"] == "a"
    assert rig.snapshot() == before


def test_the_member_whose_instance_was_taken_over_is_fenced(rig):
    epoch = rig.join("a", instance_id="i").member_epoch
    rig.send("a", EPOCH_LEAVE_STATIC, instance_id="i")
    rig.join("b", instance_id="i")

    for sent in (epoch, EPOCH_LEAVE, EPOCH_LEAVE_STATIC):
        with pytest.raises(FencedInstanceError):
            rig.send("a", sent, instance_id="i", owned=())


def test_a_heartbeat_of_one_that_is_away_is_fenced(rig):
    rig.join("a", instance_id="i")
    rig.group.topics_changed({"t": 5})
    epoch = rig.beat("a").member_epoch
    rig.send("a", EPOCH_LEAVE_STATIC, instance_id="i")

    for sent in (epoch, epoch - 1):
        with pytest.raises(FencedMemberError):
            rig.send("a", sent, instance_id="i", owned=())


def test_who_waits_for_news_of_one_that_left_for_a_while_hears_of_it(rig):
    answer = rig.join("a", instance_id="i")
    revision = rig.group.revision
    rig.send("a", EPOCH_LEAVE_STATIC, instance_id="i")
    assert rig.group.would_change("a", answer)
    assert rig.group.revision > revision


def test_a_member_that_joins_as_another_instance_gives_up_its_former_place(rig):
    rig.join("a", instance_id="i")
    rig.join("b", instance_id="j")
    rig.beat("a")
    rig.beat("a")
    rig.beat("b")
    rig.send("b", EPOCH_LEAVE_STATIC, instance_id="j")

    assert rig.join("a", instance_id="j").partitions
    assert set(rig.beat("a").partitions) == tp(0, 1, 2, 3)
    assert [info.instance_id for info in rig.group.describe()] == ["j"]
    rig.join("c", instance_id="i")
    assert rig.group.member_count == 2
