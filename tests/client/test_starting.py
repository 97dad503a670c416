"""Where a consumer starts: the rest is in test_consumer.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logstore.api import OffsetSpec, OffsetToCommit, TopicPartition, TopicSpec
from logstore.client.starting import StartingPoints
from logstore.clock import SystemClock
from logstore.errors import OffsetOutOfRangeError, UnknownPartitionError
from logstore.record import encode_batch
from logstore.store import LocalLogStore

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalLogStore]:
    store = LocalLogStore.open(str(tmp_path / "data"))
    store.create_topic(TopicSpec("t", 2))
    for timestamp in (1000, 2000):
        store.append("t", 0, encode_batch([b"v", b"w"], timestamps=timestamp)).result(5)
    yield store
    store.close()


def points(store: LocalLogStore, reset: OffsetSpec | None) -> StartingPoints:
    return StartingPoints(store, "g", reset, retry_seconds=1, clock=SystemClock())


def test_committed_offsets_come_before_the_reset(store: LocalLogStore) -> None:
    store.commit_offsets("g", [OffsetToCommit("t", 0, 3)]).result(5)
    assert points(store, OffsetSpec.EARLIEST).of([P0, P1]) == {P0: 3, P1: 0}
    assert points(store, None).of([P0]) == {P0: 3}
    with pytest.raises(OffsetOutOfRangeError, match="t-1"):
        points(store, None).of([P0, P1])
    assert points(store, None).of([]) == {}


def test_by_time(store: LocalLogStore) -> None:
    find = points(store, None).look_up
    assert find([P0, P1], 1500) == {P0: 2, P1: 0}
    assert find([P0], 2001) == {P0: 4}  # the end: no record is as late
    with pytest.raises(UnknownPartitionError):
        find([TopicPartition("t", 9)], 0)
