from __future__ import annotations

import pytest

from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import GROUP, assign_one


@pytest.mark.parametrize("version", range(5))
def test_a_member_lives(wire, version):
    joined = assign_one(wire)
    fields = {
        "group_id": GROUP,
        "generation_id": joined.generation_id,
        "member_id": joined.member_id,
    }
    assert wire.ask("heartbeat", version, **fields).error_code == ErrorCode.NONE
    for asked, code in (
        ({"member_id": "nobody"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"generation_id": 0}, ErrorCode.ILLEGAL_GENERATION),
        ({"group_id": "none"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
    ):
        assert wire.ask("heartbeat", version, **fields | asked).error_code == code
