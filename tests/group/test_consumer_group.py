"""Each state and rule of a server-assigned group; see the module's docstring for the names."""

from __future__ import annotations

import pytest

from logstore.api import (
    EPOCH_JOIN,
    EPOCH_LEAVE,
    EPOCH_LEAVE_STATIC,
    GroupAssignment,
)
from logstore.errors import (
    FencedMemberError,
    GroupFullError,
    InvalidPatternError,
    InvalidRequestError,
    LogStoreError,
    StaleMemberEpochError,
    UnknownAssignorError,
    UnknownMemberError,
)
from logstore.group.consumer_member import ID_LENGTH_MAX, PATTERN_LENGTH_MAX
from tests.group.rig import CONFIG, REBALANCE, SESSION, Rig, new_rig, settled_pair, tp


@pytest.fixture
def rig() -> Rig:
    return new_rig()


# --- the states of a member and of the group --------------------------------------------------


def test_a_group_without_members_is_empty(rig):
    assert (rig.group.state, rig.group.member_count, rig.group.epoch) == ("empty", 0, 0)
    assert rig.group.describe() == ()
    assert rig.group.next_deadline() is None
    assert rig.group.assignor == "sticky"


def test_the_first_member_gets_everything_at_once(rig):
    answer = rig.join("a")

    assert answer == GroupAssignment("a", 1, 3000, tuple(sorted(tp(0, 1, 2, 3))), settled=True)
    assert rig.group.state == "stable"
    assert set(rig.info("a").assigned) == set(answer.partitions)


def test_a_second_member_waits_until_the_first_gave_up(rig):
    rig.join("a")
    waiting = rig.join("b")
    assert (waiting.partitions, waiting.member_epoch, waiting.settled) == ((), 2, False)

    revoking = rig.beat("a")
    assert revoking.member_epoch == 1, "the epoch rises only with nothing left to give up"
    assert not revoking.settled
    given_up = tp(0, 1, 2, 3) - set(revoking.partitions)
    assert len(given_up) == 2
    assert rig.info("a").assigned == tuple(sorted(tp(0, 1, 2, 3))), "what it revokes is its own"
    assert rig.beat("b").partitions == (), "nobody owns a partition that another may still have"
    assert rig.group.state == "reconciling"

    done = rig.beat("a")
    assert (done.member_epoch, done.settled) == (2, True)
    assert set(rig.beat("b").partitions) == given_up
    assert rig.group.state == "stable"


def test_the_epoch_stays_while_a_heartbeat_still_reports_what_was_to_be_given_up(rig):
    everything = set(rig.join("a").partitions)
    rig.join("b")
    target = set(rig.beat("a").partitions)

    assert rig.beat("a", owned=everything).member_epoch == 1
    one_left = target | {min(everything - target)}
    assert rig.beat("a", owned=one_left).member_epoch == 1
    assert rig.beat("b").partitions == ()
    assert rig.send("a", 1).member_epoch == 1, "owned None: as in the last heartbeat"
    assert rig.beat("a", owned=target).member_epoch == 2


def test_who_waits_keeps_what_it_was_promised_when_another_comes(rig):
    rig.group.topics_changed({"t": 9})
    rig.join("a")
    rig.join("b")
    promised = set(rig.info("b").target)
    rig.join("c")
    assert set(rig.info("b").target) < promised
    assert len(rig.info("b").target) == 3


def test_what_was_promised_to_one_who_left_stays_with_who_has_it(rig):
    rig.group.topics_changed({"t": 6})
    for member_id in ("b", "a"):
        rig.join(member_id)
    for member_id in ("b", "b", "a"):
        rig.beat(member_id)
    before = {name: rig.info(name).assigned for name in ("a", "b")}
    rig.join("c")
    assert {len(rig.info(name).target) for name in ("a", "b", "c")} == {2}
    rig.send("c", EPOCH_LEAVE)

    assert {name: rig.info(name).target for name in ("a", "b")} == before
    assert rig.beat("a").partitions == before["a"]


def test_what_was_given_up_is_free_before_all_of_the_target_is(rig):
    rig.join("a")
    rig.join("b")
    rig.beat("a")
    rig.join("c")  # a has to give up more, c waits for both
    rig.beat("a")
    first = set(rig.beat("b").partitions)
    assert first, "b takes over from a while a is told to give up yet more"

    for _ in range(4):
        for member_id in ("a", "b", "c"):
            rig.beat(member_id)
    shares = [set(rig.answers[member_id].partitions) for member_id in ("a", "b", "c")]
    assert sorted(map(len, shares)) == [1, 1, 2]
    assert set.union(*shares) == tp(0, 1, 2, 3)
    assert rig.group.state == "stable"


def test_the_revoking_member_is_told_no_new_partition(rig):
    rig.join("a")
    rig.join("b")
    rig.beat("a")
    rig.group.topics_changed({"t": 8, "u": 2})

    assert set(rig.beat("a", owned=tp(0, 1, 2, 3)).partitions) < tp(0, 1, 2, 3)


def test_a_revocation_that_became_needless_is_carried_out_all_the_same(rig):
    rig.join("a")
    rig.join("b")
    kept = set(rig.beat("a").partitions)
    rig.send("b", EPOCH_LEAVE)

    assert set(rig.beat("a", owned=tp(0, 1, 2, 3)).partitions) == kept
    assert set(rig.beat("a", owned=kept).partitions) == tp(0, 1, 2, 3)


# --- joining ----------------------------------------------------------------------------------


def test_a_member_without_an_id_is_given_one(rig):
    assert rig.send("", EPOCH_JOIN, subscribed_topics=("t",)).member_id == "given"


def test_joining_again_after_a_lost_answer_changes_nothing(rig):
    settled_pair(rig)
    before = rig.answers["b"]
    again = rig.join("b")

    assert again == before
    assert rig.group.state == "stable"
    assert rig.group.member_count == 2


def test_joining_again_with_another_subscription_is_a_change(rig):
    settled_pair(rig)
    epoch = rig.group.epoch
    answer = rig.join("b", "u")

    assert answer.member_epoch == rig.group.epoch == epoch + 1
    assert set(answer.partitions) == tp(0, 1, topic="u")


def test_a_member_that_joins_again_starts_with_nothing_given_up(rig):
    rig.join("a")
    rig.join("b")
    rig.beat("a")  # has to give up two
    again = rig.join("a")

    assert again.member_epoch == rig.group.epoch, "who joins owns nothing, so gave up everything"
    assert set(rig.beat("b").partitions) == tp(0, 1, 2, 3) - set(again.partitions)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"subscribed_topics": ()},
        {"subscribed_pattern": ""},
        {"subscribed_topics": ("t",), "session_timeout_ms": CONFIG.session_timeout_ms_min - 1},
        {"subscribed_topics": ("t",), "session_timeout_ms": CONFIG.session_timeout_ms_max + 1},
        {"subscribed_topics": ("t",), "rebalance_timeout_ms": 0},
        {"subscribed_topics": ("t",), "instance_id": "i" * (ID_LENGTH_MAX + 1)},
        {"subscribed_topics": ("t",), "client_id": "c" * (ID_LENGTH_MAX + 1)},
        {"subscribed_topics": ("t",), "assignor": "best"},
        {"subscribed_pattern": "("},
    ],
)
def test_a_refused_join_changes_nothing(rig, asked):
    rig.join("a")
    before = rig.snapshot()
    with pytest.raises((InvalidRequestError, UnknownAssignorError)):
        rig.send("b", EPOCH_JOIN, **asked)
    assert rig.snapshot() == before


def test_a_full_group_takes_only_those_it_knows(rig):
    for member_id in ("a", "b", "c"):
        rig.join(member_id, instance_id=member_id)
    with pytest.raises(GroupFullError):
        rig.join("d")
    rig.join("c", instance_id="c")
    rig.send("b", EPOCH_LEAVE_STATIC, instance_id="b")
    rig.join("b2", instance_id="b")
    assert rig.group.member_count == 3


def test_most_votes_choose_the_assignor_and_equals_the_first_by_name(rig):
    rig.join("a", assignor="range")
    assert rig.group.assignor == "range"
    rig.join("b", assignor="sticky")
    assert rig.group.assignor == "range"
    rig.join("c")
    assert rig.group.assignor == "sticky"
    rig.beat("c", assignor="roundrobin")
    assert rig.group.assignor == "range"


# --- epochs -----------------------------------------------------------------------------------


def test_an_unknown_member_has_to_join(rig):
    with pytest.raises(UnknownMemberError):
        rig.send("a", 1)
    with pytest.raises(UnknownMemberError):
        rig.send("a", EPOCH_LEAVE)


def test_an_epoch_that_is_not_the_members_is_fenced(rig):
    settled_pair(rig)
    before = rig.snapshot()
    for epoch in (rig.answers["a"].member_epoch + 1, -3):
        with pytest.raises(FencedMemberError) as caught:
            rig.send("a", epoch, owned=())
        assert caught.value.details["member_epoch"] == str(rig.answers["a"].member_epoch)
    assert rig.snapshot() == before


def test_the_epoch_before_is_good_after_a_lost_answer(rig):
    rig.join("a")
    rig.join("b")
    kept = set(rig.beat("a").partitions)
    current = rig.beat("a")  # its answer is lost
    assert current.member_epoch == 2

    assert rig.send("a", 1, owned=tuple(kept)) == current
    assert rig.send("a", 1) == current, "owned None: as in the last heartbeat"


def test_the_epoch_before_is_fenced_when_it_claims_more_than_the_member_has(rig):
    rig.join("a")
    rig.join("b")
    rig.beat("a")
    rig.beat("a")

    with pytest.raises(FencedMemberError):
        rig.send("a", 1, owned=tuple(tp(0, 1, 2, 3)))
    with pytest.raises(FencedMemberError):
        rig.send("a", 1, owned=rig.beat("b").partitions)


def test_a_report_of_the_epoch_before_gives_nothing_up(rig):
    """It was sent before the member knew of what it has now."""
    rig.join("a")
    rig.group.topics_changed({"t": 6, "u": 2})
    assert set(rig.beat("a").partitions) == tp(0, 1, 2, 3, 4, 5)  # epoch 2
    rig.join("b")
    kept = set(rig.beat("a").partitions)
    old = tuple(kept & tp(0, 1, 2, 3))
    rig.send("a", 1, owned=old)

    assert rig.beat("b").partitions == ()


def test_two_epochs_before_is_fenced(rig):
    rig.join("a")
    for count in (5, 6):
        rig.group.topics_changed({"t": count, "u": 2})
        rig.beat("a")
    with pytest.raises(FencedMemberError):
        rig.send("a", 1, owned=())


def test_commits_are_for_members_of_the_present_epoch(rig):
    rig.group.check_commit("", -1)  # nobody is in it
    rig.join("a")
    rig.group.check_commit("a", 1)
    with pytest.raises(UnknownMemberError):
        rig.group.check_commit("", -1)
    with pytest.raises(UnknownMemberError):
        rig.group.check_commit("b", 1)
    for epoch in (0, 2, -1):
        with pytest.raises(StaleMemberEpochError) as caught:
            rig.group.check_commit("a", epoch)
        assert caught.value.details["member_epoch"] == "1"


# --- time -------------------------------------------------------------------------------------


def test_a_member_is_dead_when_its_session_is_over(rig):
    settled_pair(rig)
    rig.now = 4.0
    rig.beat("b")
    assert rig.group.next_deadline() == SESSION

    assert rig.group.expire(SESSION - 0.001) == []
    assert rig.group.expire(SESSION) == ["a"]
    assert rig.group.next_deadline() == 4.0 + SESSION
    assert set(rig.beat("b").partitions) == tp(0, 1, 2, 3)
    with pytest.raises(UnknownMemberError):
        rig.beat("a")


def test_a_member_asks_for_its_session_time(rig):
    assert rig.join("a", session_timeout_ms=1500).heartbeat_interval_ms == 500
    assert rig.group.next_deadline() == 1.5
    rig.beat("a", session_timeout_ms=6000)
    assert rig.group.next_deadline() == 6.0


def test_a_member_that_does_not_give_up_in_time_is_dropped(rig):
    rig.join("a")
    rig.join("b")
    rig.now = 1.0
    rig.beat("a")
    everything = tp(0, 1, 2, 3)
    while rig.now < 1.0 + REBALANCE - 5.0:
        rig.now += 5.0
        rig.beat("a", owned=everything)
        rig.beat("b")
        assert rig.group.expire(rig.now) == []

    assert rig.group.next_deadline() == 1.0 + REBALANCE
    assert rig.group.expire(1.0 + REBALANCE) == ["a"]
    assert set(rig.beat("b").partitions) == everything


def test_the_time_to_give_up_is_over_when_it_did(rig):
    rig.join("a", rebalance_timeout_ms=2000)
    rig.join("b")
    rig.beat("a")
    assert rig.group.next_deadline() == 2.0
    rig.beat("a")
    assert rig.group.next_deadline() == SESSION


def test_a_refused_heartbeat_changes_nothing(rig):
    settled_pair(rig)
    before = rig.snapshot()
    for asked in (
        {"session_timeout_ms": 6000, "rebalance_timeout_ms": 0},
        {"subscribed_topics": ("u",), "rebalance_timeout_ms": -1},
        {"subscribed_topics": ("u",), "subscribed_pattern": "("},
        {"subscribed_topics": ("u",), "assignor": "best"},
    ):
        with pytest.raises(LogStoreError):
            rig.beat("a", **asked)
        assert rig.snapshot() == before
    rig.now = 0.0
    rig.beat("a")
    assert rig.group.next_deadline() == SESSION, "the session time of before"


# --- what is read -----------------------------------------------------------------------------


def test_a_pattern_reads_whole_names_and_what_comes_later(rig):
    rig.send("a", EPOCH_JOIN, subscribed_pattern="t.?", subscribed_topics=("u",))
    assert rig.group.subscribed_topics() == {"t", "u"}

    assert rig.group.topics_changed({"t": 1, "t2": 1, "t22": 1, "at": 1})
    assert rig.group.subscribed_topics() == {"t", "t2"}
    rig.beat("a")
    rig.beat("a", owned=tp(0))
    assert set(rig.answers["a"].partitions) == tp(0) | tp(0, topic="t2")
    assert rig.info("a").subscribed_pattern == "t.?"


def test_an_empty_pattern_takes_the_pattern_back(rig):
    rig.send("a", EPOCH_JOIN, subscribed_pattern=".*", subscribed_topics=("u",))
    rig.beat("a", subscribed_pattern="")
    assert rig.group.subscribed_topics() == {"u"}


@pytest.mark.parametrize("pattern", ["(", "a**", r"\1", "(?=a)", "x" * (PATTERN_LENGTH_MAX + 1)])
def test_an_invalid_pattern_is_refused(rig, pattern):
    with pytest.raises(InvalidPatternError):
        rig.send("a", EPOCH_JOIN, subscribed_pattern=pattern)
    assert rig.group.state == "empty"


def test_a_changed_subscription_is_a_new_epoch(rig):
    rig.join("a")
    answer = rig.beat("a", subscribed_topics=("t", "u"))
    assert answer.member_epoch == 2
    assert set(answer.partitions) == tp(0, 1, 2, 3) | tp(0, 1, topic="u")
    assert rig.beat("a", subscribed_topics=("t", "u")).member_epoch == 2, "as before: no change"


def test_new_partitions_are_given_out(rig):
    settled_pair(rig)
    epoch = rig.group.epoch
    assert rig.group.topics_changed({"t": 6, "u": 2})
    assert rig.group.epoch == epoch + 1
    a, b = (set(rig.beat(member_id).partitions) for member_id in ("a", "b"))
    assert (len(a), len(b), a | b) == (3, 3, tp(0, 1, 2, 3, 4, 5))


def test_topics_that_nobody_reads_do_not_concern_the_group(rig):
    settled_pair(rig)
    epoch = rig.group.epoch
    assert not rig.group.topics_changed({"t": 4, "u": 9, "v": 1})
    assert not rig.group.topics_changed({"t": 4})
    assert (rig.group.epoch, rig.group.state) == (epoch, "stable")


def test_a_topic_that_was_deleted_is_given_up(rig):
    rig.join("a", "t", "u")
    assert rig.group.topics_changed({"t": 4})
    assert set(rig.beat("a").partitions) == tp(0, 1, 2, 3)
    assert rig.beat("a").settled


def test_a_topic_that_is_not_there_yet_may_be_subscribed(rig):
    assert rig.join("a", "later").partitions == ()
    assert rig.group.state == "stable"
    assert rig.group.topics_changed({"later": 1})
    assert set(rig.beat("a").partitions) == tp(0, topic="later")


# --- would_change -----------------------------------------------------------------------------


def test_nothing_would_change_for_a_settled_member(rig):
    settled_pair(rig)
    assert not rig.group.would_change("a", rig.answers["a"])


def test_a_change_of_the_group_would_change_its_members(rig):
    settled_pair(rig)
    rig.join("c")
    assert rig.group.would_change("a", rig.answers["a"])


def test_nothing_would_change_before_the_member_reported(rig):
    rig.join("a")
    rig.join("b")
    answer = rig.beat("a")
    assert not rig.group.would_change("a", answer)


def test_a_waiting_member_would_change_when_its_part_is_free(rig):
    rig.join("a")
    waiting = rig.join("b")
    assert not rig.group.would_change("b", waiting)
    rig.beat("a")
    assert not rig.group.would_change("b", waiting)
    rig.beat("a")
    assert rig.group.would_change("b", waiting)


def test_a_member_that_missed_an_answer_would_change(rig):
    first = rig.join("a")
    rig.group.topics_changed({"t": 5, "u": 2})
    rig.beat("a")
    assert rig.group.would_change("a", first)


def test_a_member_that_is_gone_would_hear_an_error(rig):
    answer = rig.join("a")
    rig.group.expire(SESSION)
    assert rig.group.would_change("a", answer)


def test_an_answer_tells_whether_the_member_has_reported_what_it_says(rig):
    assert not rig.join("a").is_reported
    assert rig.beat("a").is_reported
    assert rig.send("a", 1).is_reported, "it said so before"
    rig.join("b")
    told = rig.beat("a")
    assert len(told.partitions) == 2
    assert not told.is_reported
    assert rig.beat("a").is_reported
