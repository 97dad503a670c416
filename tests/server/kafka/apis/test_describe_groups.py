from __future__ import annotations

import pytest

from logstore.api import OffsetToCommit, TopicSpec
from logstore.group.consumer_protocol import decode_assignment, decode_subscription
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import (
    GROUP,
    SUBSCRIPTION,
    T0,
    assign_one,
    assigned_heartbeat,
)


def describe(wire, version: int, *groups: str):
    fields = {"include_authorized_operations": False} if version >= 3 else {}
    return wire.ask("describe_groups", version, groups=groups, **fields).groups


@pytest.mark.parametrize("version", range(7))
def test_a_classic_group(wire, version):
    joined = assign_one(wire)
    found, missing = describe(wire, version, GROUP, "none")
    assert (found.error_code, found.group_id, found.group_state) == (0, GROUP, "Stable")
    assert (found.protocol_type, found.protocol_data) == ("consumer", "range")
    (member,) = found.members
    assert (member.member_id, member.client_id) == (joined.member_id, "t")
    assert member.client_host == "/127.0.0.1"
    assert member.member_metadata == SUBSCRIPTION
    assert decode_assignment(member.member_assignment) == (T0,)
    expected = ErrorCode.GROUP_ID_NOT_FOUND if version >= 6 else ErrorCode.NONE
    assert (missing.error_code, missing.group_state) == (expected, "Dead")


def test_a_group_that_the_server_assigns_is_shown_too(wire, store):
    store.create_topic(TopicSpec("t", 1))
    wire.ask("consumer_group_heartbeat", 1, **assigned_heartbeat("m", 0))
    (found,) = describe(wire, 6, GROUP)
    assert (found.group_state, found.protocol_type) == ("Stable", "consumer")
    (member,) = found.members
    assert decode_subscription(member.member_metadata).topics == ("t",)
    assert decode_assignment(member.member_assignment) == (T0,)


def test_a_group_of_offsets_only(wire, store):
    store.create_topic(TopicSpec("t", 1))
    pending = store.commit_offsets(GROUP, [OffsetToCommit("t", 0, 5)])
    store.run_flush()
    pending.result(10)
    (found,) = describe(wire, 6, GROUP)
    assert (found.group_state, found.protocol_type, found.members) == ("Empty", "", ())


def test_a_bad_group_id(wire):
    (found,) = describe(wire, 6, "")
    assert (found.error_code, found.group_state) == (ErrorCode.INVALID_GROUP_ID, "")
