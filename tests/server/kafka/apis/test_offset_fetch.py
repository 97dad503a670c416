from __future__ import annotations

import uuid
from typing import Any

import pytest

from logstore.api import OffsetToCommit, TopicSpec
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import GROUP, assigned_heartbeat

STRANGER = uuid.UUID(int=9)


@pytest.fixture
def topics(store) -> dict[str, uuid.UUID]:
    topics = {name: store.create_topic(TopicSpec(name, 2)).topic_id for name in "tu"}
    offsets = [OffsetToCommit("t", 0, 5, 3, "kept"), OffsetToCommit("u", 1, 6)]
    pending = store.commit_offsets(GROUP, offsets)
    store.run_flush()
    pending.result(10)
    return topics


def fields(version: int, wanted: Any, **asked: Any) -> dict[str, Any]:
    group = {"group_id": GROUP, "topics": wanted} | asked
    return {"groups": [group, group | {"group_id": "none"}]} if version >= 8 else group


def rows(topics) -> list[tuple[int, int, str, int]]:
    return [
        (row.partition_index, row.committed_offset, row.metadata, row.error_code)
        for topic in topics
        for row in topic.partitions
    ]


@pytest.mark.parametrize("version", range(1, 11))
def test_what_is_asked_for(wire, topics, version):
    wanted = [
        {"name": name, "topic_id": topic_id, "partition_indexes": [0, 1]}
        for name, topic_id in (("t", topics["t"]), ("none", STRANGER))
    ]
    answer = wire.ask("offset_fetch", version, **fields(version, wanted))
    groups = answer.groups if version >= 8 else [answer]
    missing = ErrorCode.UNKNOWN_TOPIC_ID if version >= 10 else ErrorCode.NONE
    nothing = [(0, -1, "", missing), (1, -1, "", missing)]
    assert rows(groups[0].topics) == [(0, 5, "kept", 0), (1, -1, "", 0), *nothing]
    if version >= 5:
        assert groups[0].topics[0].partitions[0].committed_leader_epoch == 3
    if version >= 8:
        assert rows(groups[1].topics) == [(0, -1, "", 0), (1, -1, "", 0), *nothing]
    if version >= 10:
        assert [topic.topic_id for topic in groups[0].topics] == [topics["t"], STRANGER]


@pytest.mark.parametrize("version", range(2, 11))
def test_all_that_a_group_has(wire, topics, version):
    answer = wire.ask("offset_fetch", version, **fields(version, None))
    groups = answer.groups if version >= 8 else [answer]
    assert rows(groups[0].topics) == [(0, 5, "kept", 0), (1, 6, "", 0)]
    if version >= 10:
        assert [topic.topic_id for topic in groups[0].topics] == [topics["t"], topics["u"]]
    if version >= 8:
        assert groups[1].topics == ()


@pytest.mark.parametrize("version", range(7, 11))
def test_an_offset_that_a_transaction_may_move(wire, store, topics, version):
    producer = store.init_producer("x")
    store.commit_offsets_in_transaction("x", producer, GROUP, [OffsetToCommit("t", 0, 9)])
    wanted = [{"name": "t", "topic_id": topics["t"], "partition_indexes": [0]}]
    asked = fields(version, wanted)
    answer = wire.ask("offset_fetch", version, **asked, require_stable=True)
    groups = answer.groups if version >= 8 else [answer]
    assert rows(groups[0].topics) == [(0, -1, "kept", ErrorCode.UNSTABLE_OFFSET_COMMIT)]
    answer = wire.ask("offset_fetch", version, **asked, require_stable=False)
    groups = answer.groups if version >= 8 else [answer]
    assert rows(groups[0].topics) == [(0, 5, "kept", 0)]


@pytest.mark.parametrize("version", range(9, 11))
def test_a_member_must_be_right_about_itself(wire, topics, version):
    told = wire.ask("consumer_group_heartbeat", 1, **assigned_heartbeat("m", 0))
    for member_id, epoch, code in (
        ("m", told.member_epoch, ErrorCode.NONE),
        ("m", told.member_epoch + 1, ErrorCode.STALE_MEMBER_EPOCH),
        ("nobody", told.member_epoch, ErrorCode.UNKNOWN_MEMBER_ID),
        (None, -1, ErrorCode.NONE),
    ):
        asked = fields(version, None, member_id=member_id, member_epoch=epoch)
        group = wire.ask("offset_fetch", version, **asked).groups[0]
        assert group.error_code == code
        assert (rows(group.topics) == []) is (code != ErrorCode.NONE)


def test_an_error_of_version_1_is_each_partitions(wire, topics):
    wanted = [{"name": "t", "partition_indexes": [0, 1]}]
    answer = wire.ask("offset_fetch", 1, **fields(1, wanted) | {"group_id": ""})
    code = ErrorCode.INVALID_GROUP_ID
    assert rows(answer.topics) == [(0, -1, "", code), (1, -1, "", code)]
