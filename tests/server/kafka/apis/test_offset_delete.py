from __future__ import annotations

from typing import Any

import pytest

from logstore.api import OffsetToCommit, TopicSpec
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import GROUP, assign_one, join


@pytest.fixture
def committed(store) -> None:
    for name in "tu":
        store.create_topic(TopicSpec(name, 1))
    pending = store.commit_offsets(GROUP, [OffsetToCommit(name, 0, 5) for name in "tu"])
    store.run_flush()
    pending.result(10)


def delete(wire, **asked: Any):
    topics = [
        {"name": name, "partitions": [{"partition_index": 0}, {"partition_index": 7}]}
        for name in ("t", "u", "none")
    ]
    return wire.ask("offset_delete", 0, **{"group_id": GROUP, "topics": topics} | asked)


def codes(answer) -> list[list[int]]:
    return [[item.error_code for item in topic.partitions] for topic in answer.topics]


UNKNOWN = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_of_an_empty_group_all_go(wire, store, committed):
    answer = delete(wire)
    assert answer.error_code == ErrorCode.NONE
    assert codes(answer) == [[0, UNKNOWN], [0, UNKNOWN], [UNKNOWN, UNKNOWN]]
    assert store.committed_offsets(GROUP) == []


def test_what_members_read_stays(wire, store, committed):
    assign_one(wire)
    answer = delete(wire)
    reads = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
    assert codes(answer) == [[reads, UNKNOWN], [0, UNKNOWN], [UNKNOWN, UNKNOWN]]
    assert [item.topic for item in store.committed_offsets(GROUP)] == ["t"]


def test_of_members_that_say_not_what_they_read_nothing_goes(wire, store, committed):
    join(wire, protocol_type="connect")
    assert delete(wire).error_code == ErrorCode.NON_EMPTY_GROUP
    assert len(store.committed_offsets(GROUP)) == 2


def test_of_no_group(wire):
    assert delete(wire, group_id="none").error_code == ErrorCode.GROUP_ID_NOT_FOUND
    assert delete(wire, group_id="none", topics=[]).error_code == ErrorCode.GROUP_ID_NOT_FOUND
