from __future__ import annotations

from typing import Any

import pytest

from logstore.api import TopicSpec
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import GROUP, assign_one, assigned_heartbeat, join


@pytest.fixture
def topic_id(store):
    return store.create_topic(TopicSpec("t", 4)).topic_id


def beat(wire, member_id: str, epoch: int, version: int = 1, **asked: Any):
    fields = assigned_heartbeat(member_id, epoch, **asked)
    return wire.ask("consumer_group_heartbeat", version, **fields)


def owned(topic_id, *partitions: int) -> list[dict[str, Any]]:
    return [{"topic_id": topic_id, "partitions": partitions}]


def assigned(answer) -> tuple[int, ...] | None:
    if answer.assignment is None:
        return None
    return tuple(
        number for topic in answer.assignment.topic_partitions for number in topic.partitions
    )


@pytest.mark.parametrize("version", range(2))
def test_a_members_life(wire, store, topic_id, version):
    told = beat(wire, "m", 0, version)
    assert (told.error_code, told.member_id, told.member_epoch > 0) == (0, "m", True)
    assert told.assignment.topic_partitions[0].topic_id == topic_id
    assert assigned(told) == (0, 1, 2, 3)
    assert told.heartbeat_interval.total_seconds() == 3.0
    epoch = told.member_epoch

    assert assigned(beat(wire, "m", epoch, version)) == (0, 1, 2, 3), "it has not reported it"
    told = beat(wire, "m", epoch, version, topic_partitions=owned(topic_id, 0, 1, 2, 3))
    assert assigned(told) is None
    assert assigned(beat(wire, "m", epoch, version)) is None

    assert assigned(beat(wire, "n", 0, version)) == ()
    kept = assigned(beat(wire, "m", epoch, version))
    assert kept is not None
    assert len(kept) == 2
    told = beat(wire, "m", epoch, version, topic_partitions=owned(topic_id, *kept))
    assert told.member_epoch > epoch
    second = beat(wire, "n", told.member_epoch, version)
    assert set(assigned(second) or ()) == {0, 1, 2, 3} - set(kept)

    told = beat(wire, "m", -1, version)
    assert (told.error_code, told.member_epoch, told.assignment) == (0, -1, None)
    assert [member.member_id for member in store.describe_group(GROUP).members] == ["n"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"member_id": "nobody", "member_epoch": 1}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"member_id": "m", "member_epoch": 99}, ErrorCode.FENCED_MEMBER_EPOCH),
        ({"member_id": "m", "member_epoch": -3}, ErrorCode.INVALID_REQUEST),
        ({"member_id": "m", "member_epoch": -2}, ErrorCode.INVALID_REQUEST),
        ({"member_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"server_assignor": "best"}, ErrorCode.UNSUPPORTED_ASSIGNOR),
        ({"subscribed_topic_regex": "("}, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"subscribed_topic_names": None}, ErrorCode.INVALID_REQUEST),
        ({"topic_partitions": None}, ErrorCode.INVALID_REQUEST),
        ({"rebalance_timeout": -1}, ErrorCode.INVALID_REQUEST),
        ({"instance_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
    ],
)
def test_what_is_refused(wire, store, topic_id, asked, code):
    beat(wire, "m", 0)
    before = store.describe_group(GROUP)
    fields = assigned_heartbeat(asked.pop("member_id", "n"), asked.pop("member_epoch", 0))
    told = wire.ask("consumer_group_heartbeat", 1, **fields | asked)
    assert told.error_code == code
    assert told.error_message
    assert store.describe_group(GROUP) == before


def test_version_0_may_be_given_its_id(wire, topic_id):
    told = beat(wire, "", 0, 0)
    assert told.error_code == 0
    assert told.member_id


def test_a_pattern_and_a_named_assignor(wire, store, topic_id):
    store.create_topic(TopicSpec("other", 1))
    for name, assignor in (("m", "uniform"), ("n", "range")):
        asked: dict[str, Any] = {"subscribed_topic_names": [], "subscribed_topic_regex": "o.*"}
        assert beat(wire, name, 0, server_assignor=assignor, **asked).error_code == 0
    info = store.describe_group(GROUP)
    assert {member.subscribed_pattern for member in info.members} == {"o.*"}
    assert {part.topic for member in info.members for part in member.target} == {"other"}


def test_a_static_member_leaves_for_a_while(wire, topic_id):
    assert assigned(beat(wire, "m", 0, instance_id="i")) == (0, 1, 2, 3)
    assert beat(wire, "n", 0, instance_id="i").error_code == ErrorCode.UNRELEASED_INSTANCE_ID
    assert beat(wire, "m", -2, instance_id="i").member_epoch == -2
    assert assigned(beat(wire, "n", 0, instance_id="i")) == (0, 1, 2, 3)
    assert beat(wire, "m", 1, instance_id="i").error_code == ErrorCode.FENCED_INSTANCE_ID


def test_partitions_of_topics_that_are_gone_are_passed_over(wire, store, topic_id):
    epoch = beat(wire, "m", 0).member_epoch
    store.delete_topic("t")
    told = beat(wire, "m", epoch, topic_partitions=owned(topic_id, 0))
    assert (told.error_code, assigned(told)) == (0, None)


def test_a_classic_group_of_consumers_becomes_mixed(wire, store, topic_id):
    assign_one(wire)
    assert beat(wire, "m", 0).error_code == 0
    assert [member.is_classic for member in store.describe_group(GROUP).members] == [False, True]


def test_a_classic_group_of_others_does_not(wire, topic_id):
    join(wire, protocol_type="connect")
    assert beat(wire, "m", 0).error_code == ErrorCode.GROUP_ID_NOT_FOUND
