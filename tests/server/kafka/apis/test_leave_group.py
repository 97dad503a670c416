from __future__ import annotations

import pytest

from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import GROUP, assign_one, join


@pytest.mark.parametrize("version", range(3))
def test_one_leaves(wire, server, version):
    joined = assign_one(wire)
    answer = wire.ask("leave_group", version, group_id=GROUP, member_id=joined.member_id)
    assert answer.error_code == ErrorCode.NONE
    assert server.store.describe_group(GROUP).state == "empty"
    answer = wire.ask("leave_group", version, group_id=GROUP, member_id=joined.member_id)
    assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("version", range(3, 6))
def test_several_leave_and_are_told_one_by_one(wire, server, version):
    joined = join(wire, group_instance_id="i")
    members = [
        {"member_id": "nobody", "group_instance_id": None},
        {"member_id": "", "group_instance_id": "i"},
        {"member_id": "another", "group_instance_id": "i"},
    ]
    answer = wire.ask("leave_group", version, group_id=GROUP, members=members)
    assert answer.error_code == ErrorCode.NONE
    assert [(m.member_id, m.group_instance_id, m.error_code) for m in answer.members] == [
        ("nobody", None, ErrorCode.UNKNOWN_MEMBER_ID),
        ("", "i", ErrorCode.NONE),
        ("another", "i", ErrorCode.FENCED_INSTANCE_ID),
    ]
    assert joined.member_id
    assert server.store.describe_group(GROUP).members == ()


def test_of_no_group(wire):
    answer = wire.ask("leave_group", 5, group_id="", members=[])
    assert answer.error_code == ErrorCode.INVALID_GROUP_ID
