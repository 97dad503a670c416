from __future__ import annotations

import uuid

import pytest

from logstore.api import TopicPartition, TopicSpec
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import GROUP, assign_one, assigned_heartbeat

ROWS = (
    # topic, partition, metadata, error
    ("t", 0, "kept", ErrorCode.NONE),
    ("t", 9, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ("none", 0, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ("u", 0, "x" * 5000, ErrorCode.OFFSET_METADATA_TOO_LARGE),
    ("v", 0, None, ErrorCode.NONE),
)


@pytest.fixture
def topics(store) -> dict[str, uuid.UUID]:
    return {name: store.create_topic(TopicSpec(name, 1)).topic_id for name in "tuv"}


def fields(version: int, topics: dict[str, uuid.UUID], rows=ROWS, **asked):
    found = [
        {
            "name": name,
            "topic_id": topics.get(name, uuid.UUID(int=9)),
            "partitions": [
                {
                    "partition_index": partition,
                    "committed_offset": 5,
                    "committed_leader_epoch": 3,
                    "committed_metadata": metadata,
                }
            ],
        }
        for name, partition, metadata, _ in rows
    ]
    member = {"group_id": GROUP, "generation_id_or_member_epoch": -1, "member_id": ""}
    return member | {"topics": found} | asked


@pytest.mark.parametrize("version", range(2, 11))
def test_what_is_refused_leaves_the_others_be(wire, store, topics, version):
    answer = wire.ask("offset_commit", version, **fields(version, topics))
    codes = [topic.partitions[0].error_code for topic in answer.topics]
    expected = [code for *_, code in ROWS]
    if version >= 10:
        expected[2] = ErrorCode.UNKNOWN_TOPIC_ID
        assert answer.topics[0].topic_id == topics["t"]
    else:
        assert [topic.name for topic in answer.topics] == [name for name, *_ in ROWS]
    assert codes == expected
    found = store.committed_offsets(GROUP)
    assert [(item.topic, item.offset, item.metadata) for item in found] == [
        ("t", 5, "kept"),
        ("v", 5, ""),
    ]
    assert found[0].leader_epoch == (3 if version >= 6 else -1)


@pytest.mark.parametrize("version", range(2, 11))
def test_only_members_of_this_generation_commit(wire, store, topics, version):
    joined = assign_one(wire)
    good = {
        "member_id": joined.member_id,
        "generation_id_or_member_epoch": joined.generation_id,
    }
    rows = ROWS[:1]
    for asked, code in (
        ({}, ErrorCode.UNKNOWN_MEMBER_ID),
        (good | {"generation_id_or_member_epoch": 0}, ErrorCode.ILLEGAL_GENERATION),
        (good | {"member_id": "nobody"}, ErrorCode.UNKNOWN_MEMBER_ID),
    ):
        answer = wire.ask("offset_commit", version, **fields(version, topics, rows, **asked))
        assert answer.topics[0].partitions[0].error_code == code
    assert store.committed_offsets(GROUP) == []
    answer = wire.ask("offset_commit", version, **fields(version, topics, rows, **good))
    assert answer.topics[0].partitions[0].error_code == ErrorCode.NONE
    part = TopicPartition("t", 0)
    assert store.committed_offsets(GROUP, [part])[0].offset == 5


def test_an_old_member_epoch_is_stale(wire, topics):
    told = wire.ask("consumer_group_heartbeat", 1, **assigned_heartbeat("m", 0))
    asked = {"member_id": "m", "generation_id_or_member_epoch": told.member_epoch + 1}
    for version, code in (
        (8, ErrorCode.UNSUPPORTED_VERSION),
        (9, ErrorCode.STALE_MEMBER_EPOCH),
    ):
        answer = wire.ask("offset_commit", version, **fields(version, topics, ROWS[:1], **asked))
        assert answer.topics[0].partitions[0].error_code == code
