from __future__ import annotations

import pytest

from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import join, join_fields, sync_fields
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", range(6))
def test_the_leader_assigns_itself(wire, version):
    joined = join(wire)
    assignment = {"member_id": joined.member_id, "assignment": b"all"}
    fields = sync_fields(version, joined, assignments=[assignment])
    answer = wire.ask("sync_group", version, **fields)
    assert (answer.error_code, answer.assignment) == (ErrorCode.NONE, b"all")
    if version >= 5:
        assert (answer.protocol_type, answer.protocol_name) == ("consumer", "range")


@pytest.mark.parametrize("version", range(6))
def test_who_is_no_member_or_of_an_old_generation_is_refused(wire, version):
    joined = join(wire)
    for asked, code in (
        ({"member_id": "nobody"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"generation_id": 0}, ErrorCode.ILLEGAL_GENERATION),
    ):
        answer = wire.ask("sync_group", version, **sync_fields(version, joined, **asked))
        assert (answer.error_code, answer.assignment) == (code, b"")


def test_version_5_names_the_protocol(wire):
    joined = join(wire)
    for asked in ({"protocol_name": None}, {"protocol_type": None}, {"protocol_name": "other"}):
        answer = wire.ask("sync_group", 5, **sync_fields(5, joined, **asked))
        assert answer.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_a_follower_waits_for_the_leader(server, wire):
    with Wire(server.kafka) as other:
        wire.send("join_group", 3, **join_fields(3))
        leader = wire.receive("join_group", 3)[1]
        wire.ask("sync_group", 3, **sync_fields(3, leader))
        other.send("join_group", 3, **join_fields(3))
        while server.store.describe_group("g").state != "preparing":
            pass
        leader = join(wire, 3, leader.member_id)
        follower = other.receive("join_group", 3)[1]
        other.send("sync_group", 3, **sync_fields(3, follower))
        assignment = {"member_id": follower.member_id, "assignment": b"yours"}
        wire.ask("sync_group", 3, **sync_fields(3, leader, assignments=[assignment]))
        assert other.receive("sync_group", 3)[1].assignment == b"yours"
