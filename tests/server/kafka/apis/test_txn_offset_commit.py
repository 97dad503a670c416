from __future__ import annotations

from typing import Any

import pytest

from logstore.api import GroupHeartbeat, TopicPartition, TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add_offsets, commit_offsets, end, init
from tests.server.kafka.wire import Wire

VERSIONS = range(6)


@pytest.fixture(autouse=True)
def topic(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))


def committed(store: LocalLogStore) -> int:
    return store.committed_offsets("g", [TopicPartition("t", 0)])[0].offset


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_commit", [True, False])
def test_offsets_count_with_the_transaction(
    wire: Wire, store: LocalLogStore, version: int, is_commit: bool
) -> None:
    producer = init(wire)
    if version < 5:
        missing = ErrorCode.TRANSACTION_ABORTABLE if version == 4 else ErrorCode.INVALID_TXN_STATE
        assert commit_offsets(wire, producer, 7, version=version) == missing
        assert add_offsets(wire, producer) == 0
    assert commit_offsets(wire, producer, 7, version=version) == 0
    assert end(wire, producer, commit=is_commit, version=5).error_code == 0
    assert committed(store) == (7 if is_commit else -1)


@pytest.mark.parametrize("version", VERSIONS)
def test_who_is_over_is_fenced(wire: Wire, version: int) -> None:
    old = init(wire)
    init(wire)
    assert commit_offsets(wire, old, 7, version=version) == ErrorCode.INVALID_PRODUCER_EPOCH


def test_the_members_of_the_group(wire: Wire, store: LocalLogStore) -> None:
    member = store.heartbeat_now(GroupHeartbeat("g", subscribed_topics=("t",)))
    producer = init(wire)
    assert add_offsets(wire, producer) == 0
    of: dict[str, Any] = {"member_id": member.member_id, "generation_id": member.member_epoch}
    assert commit_offsets(wire, producer, 1) == 0  # by nobody: the epoch fences
    assert commit_offsets(wire, producer, 2, version=0) == 0
    assert commit_offsets(wire, producer, 3, **of) == 0
    stale = of | {"generation_id": member.member_epoch - 1}
    assert commit_offsets(wire, producer, 4, **stale) == ErrorCode.ILLEGAL_GENERATION
    stranger = of | {"member_id": "other"}
    assert commit_offsets(wire, producer, 5, **stranger) == ErrorCode.UNKNOWN_MEMBER_ID
    unknown = commit_offsets(wire, producer, 6, topic="nope")
    assert unknown == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert end(wire, producer).error_code == 0
    assert committed(store) == 3
