from __future__ import annotations

import pytest

from logstore.api import OffsetToCommit, TopicSpec
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.group_members import GROUP, assign_one


@pytest.mark.parametrize("version", range(3))
def test_groups_without_members_are_forgotten(wire, store, version):
    store.create_topic(TopicSpec("t", 1))
    assign_one(wire)
    pending = store.commit_offsets("empty", [OffsetToCommit("t", 0, 5)])
    store.run_flush()
    pending.result(10)
    answer = wire.ask("delete_groups", version, groups_names=[GROUP, "empty", "none", ""])
    assert [(item.group_id, item.error_code) for item in answer.results] == [
        (GROUP, ErrorCode.NON_EMPTY_GROUP),
        ("empty", ErrorCode.NONE),
        ("none", ErrorCode.GROUP_ID_NOT_FOUND),
        ("", ErrorCode.GROUP_ID_NOT_FOUND),
    ]
    assert [group.group_id for group in store.list_groups()] == [GROUP]
    assert store.committed_offsets("empty") == []
