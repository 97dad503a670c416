from __future__ import annotations

import pytest

from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import GROUP, SUBSCRIPTION, assign_one, join, join_fields
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", range(10))
def test_a_first_member_leads(wire, version):
    joined = join(wire, version)
    assert (joined.generation_id, joined.protocol_name) == (1, "range")
    assert joined.leader == joined.member_id
    assert [(member.member_id, member.metadata) for member in joined.members] == [
        (joined.member_id, SUBSCRIPTION)
    ]
    if version >= 7:
        assert joined.protocol_type == "consumer"


@pytest.mark.parametrize("version", range(10))
def test_the_id_is_given_first_from_version_4_on(wire, version):
    answer = wire.ask("join_group", version, **join_fields(version))
    assert answer.member_id.startswith("t-"), "the client's id is in it"
    expected = ErrorCode.MEMBER_ID_REQUIRED if version >= 4 else ErrorCode.NONE
    assert answer.error_code == expected


@pytest.mark.parametrize("version", range(10))
def test_a_refusal_of_every_version(wire, version):
    fields = join_fields(version, "nobody", session_timeout=1)
    answer = wire.ask("join_group", version, **fields)
    assert answer.error_code == ErrorCode.INVALID_SESSION_TIMEOUT
    assert (answer.generation_id, answer.member_id, answer.members) == (-1, "nobody", ())
    answer = wire.ask("join_group", version, **join_fields(version, "nobody"))
    assert answer.error_code == ErrorCode.UNKNOWN_MEMBER_ID


def test_a_join_waits_for_the_others_and_holds_up_its_connection_only(server, wire):
    first = assign_one(wire)
    with Wire(server.kafka) as other:
        fields = join_fields(3)
        asked = other.send("join_group", 3, **fields)
        beat = {
            "group_id": GROUP,
            "generation_id": first.generation_id,
            "member_id": first.member_id,
        }
        while wire.ask("heartbeat", 4, **beat).error_code != ErrorCode.REBALANCE_IN_PROGRESS:
            pass
        again = join(wire, 9, first.member_id)
        answered, second = other.receive("join_group", 3)
        assert answered == asked
        assert second.generation_id == again.generation_id == first.generation_id + 1
        assert (len(second.members), len(again.members)) == (0, 2)


def test_a_static_member_that_leads_skips_its_assignment(server, wire):
    joined = join(wire, group_instance_id="i")
    wire.ask(
        "sync_group",
        5,
        group_id=GROUP,
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        group_instance_id="i",
        protocol_type="consumer",
        protocol_name="range",
        assignments=[],
    )
    again = join(wire, group_instance_id="i")
    assert again.skip_assignment
    assert again.generation_id == joined.generation_id
    fenced = wire.ask("join_group", 9, **join_fields(9, joined.member_id, group_instance_id="i"))
    assert fenced.error_code == ErrorCode.FENCED_INSTANCE_ID


def test_a_join_that_waits_when_the_server_stops_is_answered(server, wire):
    assign_one(wire)
    with Wire(server.kafka) as other:
        other.send("join_group", 3, **join_fields(3))
        while server.store.describe_group(GROUP).state != "preparing":
            pass
        server.begin_stop()
        _, answer = other.receive("join_group", 3)
    assert answer.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
