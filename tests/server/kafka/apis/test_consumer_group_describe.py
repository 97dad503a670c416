from __future__ import annotations

import pytest

from logstore.api import OffsetToCommit, TopicSpec
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import GROUP, assign_one, assigned_heartbeat, join


def describe(wire, version: int, *groups: str):
    return wire.ask(
        "consumer_group_describe",
        version,
        group_ids=groups,
        include_authorized_operations=False,
    ).groups


def partitions(assignment) -> list[tuple[str, tuple[int, ...]]]:
    return [(topic.topic_name, topic.partitions) for topic in assignment.topic_partitions]


@pytest.mark.parametrize("version", range(2))
def test_members_and_what_they_have_and_are_to_have(wire, store, version):
    topic_id = store.create_topic(TopicSpec("t", 2)).topic_id
    asked = assigned_heartbeat("m", 0, instance_id="i", subscribed_topic_regex="x.*")
    epoch = wire.ask("consumer_group_heartbeat", 1, **asked).member_epoch
    joined = join(wire)
    (group,) = describe(wire, version, GROUP)
    assert (group.error_code, group.group_state) == (0, "Reconciling")
    assert group.group_epoch == group.assignment_epoch == joined.generation_id
    assert group.assignor_name == "uniform"
    first, second = group.members
    assert (first.member_id, first.instance_id, first.member_epoch) == ("m", "i", epoch)
    assert (first.client_id, first.client_host) == ("t", "/127.0.0.1")
    assert first.subscribed_topic_names == ("t",)
    assert (first.subscribed_topic_regex, second.subscribed_topic_regex) == ("x.*", None)
    assert partitions(first.assignment) == [("t", (0, 1))]
    assert first.assignment.topic_partitions[0].topic_id == topic_id
    assert len(partitions(first.target_assignment)[0][1]) == 1
    assert partitions(second.assignment) == []
    if version >= 1:
        assert (first.member_type, second.member_type) == (1, 0)


def test_other_groups_are_for_the_other_api(wire, store):
    store.create_topic(TopicSpec("t", 1))
    pending = store.commit_offsets("offsets", [OffsetToCommit("t", 0, 5)])
    store.run_flush()
    pending.result(10)
    assign_one(wire)
    for group in describe(wire, 1, GROUP, "none", "offsets"):
        assert group.error_code == ErrorCode.GROUP_ID_NOT_FOUND
        assert group.error_message
