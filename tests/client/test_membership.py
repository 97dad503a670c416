from __future__ import annotations

from logstore.api import EPOCH_LEAVE, EPOCH_LEAVE_STATIC, GroupAssignment, TopicPartition
from logstore.client.membership import Membership, Subscription

A, B, C = (TopicPartition("t", number) for number in range(3))


def answer(*parts: TopicPartition, epoch: int = 1) -> GroupAssignment:
    return GroupAssignment("m", epoch, 3000, parts)


def member(**fields: object) -> Membership:
    return Membership(Subscription("g", topics=("t",), **fields), "m")  # type: ignore[arg-type]


def joined(*parts: TopicPartition) -> Membership:
    found = member()
    found.accept(answer(*parts))
    found.took(set(parts))
    return found


def test_the_first_request_joins_with_everything_the_group_must_know() -> None:
    found = member(assignor="range", session_timeout_ms=9000, client_id="c", instance_id="i")
    request = found.request()
    assert (request.member_epoch, request.member_id, request.owned) == (0, "m", ())
    assert request.subscribed_topics == ("t",)
    assert (request.assignor, request.session_timeout_ms) == ("range", 9000)
    assert (request.client_id, request.instance_id) == ("c", "i")
    assert not found.is_member


def test_later_requests_say_only_that_it_lives_and_what_it_owns() -> None:
    request = joined(B, A).request()
    assert (request.member_epoch, request.owned) == (1, (A, B))
    assert request.subscribed_topics is None
    assert request.assignor is None
    assert request.session_timeout_ms is None


def test_what_is_assigned_is_claimed_before_it_is_taken() -> None:
    found = member()
    assert found.accept(answer(A)) is True
    assert found.owned == set()
    assert found.request().owned == (A,)
    assert found.to_take == {A}
    found.took({A})
    assert not found.has_changes
    assert found.heartbeat_interval == 3.0


def test_what_is_to_be_given_up_is_claimed_until_it_is() -> None:
    found = joined(A, B)
    assert found.accept(answer(A, epoch=2)) is True
    assert found.to_revoke == {B}
    assert found.request().owned == (A, B)
    found.gave_up({B})
    assert found.request().owned == (A,)
    assert not found.has_changes


def test_what_was_assigned_and_taken_back_before_it_was_taken_is_claimed_no_more() -> None:
    found = joined(A)
    found.accept(answer(A, B, epoch=2))
    found.accept(answer(A, epoch=3))
    assert found.request().owned == (A,)
    assert not found.has_changes


def test_a_lost_membership_joins_again_once_the_loss_is_dealt_with() -> None:
    found = joined(A)
    turn = found.turn
    found.lost()
    assert found.is_lost
    assert found.has_changes
    assert found.turn > turn
    assert found.request().member_epoch == 0
    assert found.request().owned == ()
    found.accept(answer(A, C, epoch=5))
    assert found.is_lost, "a new answer does not make up for the loss"
    found.cleared()
    assert found.to_take == {A, C}
    assert not found.is_lost


def test_without_anything_owned_a_loss_costs_nothing() -> None:
    found = member()
    found.accept(answer())
    found.lost()
    assert not found.is_lost
    assert not found.has_changes


def test_static_members_leave_for_a_while_unless_for_good() -> None:
    assert member().leave_request(for_good=False).member_epoch == EPOCH_LEAVE
    static = member(instance_id="i")
    assert static.leave_request(for_good=False).member_epoch == EPOCH_LEAVE_STATIC
    assert static.leave_request(for_good=True).member_epoch == EPOCH_LEAVE
    assert static.leave_request(for_good=True).instance_id == "i"
