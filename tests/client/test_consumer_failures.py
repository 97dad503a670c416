"""What a consumer does when something fails: it is told, told again, and nothing is passed over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import logstore
from logstore import Store, StoreConfig
from logstore.api import EPOCH_JOIN, FetchedPartition, TopicPartition
from logstore.config import GroupConfig
from logstore.errors import (
    BatchMagicError,
    CorruptDataError,
    DiskFullError,
    FencedInstanceError,
    GroupError,
    LogStoreError,
    StorageFailedError,
    UnknownTopicError,
)
from logstore.record import encode_batch
from tests.client.test_consumer import SECONDS_MAX, committed, offsets, produce, until

T0 = TopicPartition("t", 0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Topic t: 10 records in partition 0, none in partition 1."""
    config = StoreConfig(group=GroupConfig(session_timeout_ms_min=100, heartbeat_interval_ms=100))
    with logstore.open(tmp_path / "data", config=config) as opened:
        opened.create_topic("t", partitions=2)
        produce(opened, range(10))
        yield opened


class Faulty:
    """A reader whose polls give the prepared items first, then those of the genuine one."""

    def __init__(self, genuine: Any) -> None:
        self._genuine = genuine
        self.items: list[FetchedPartition] = []
        self.positions: list[tuple[str, int, int]] = []

    def set_position(self, topic: str, partition: int, offset: int) -> None:
        self.positions.append((topic, partition, offset))
        self._genuine.set_position(topic, partition, offset)

    def poll(self, timeout: float) -> list[FetchedPartition]:
        items, self.items = self.items, []
        return items or self._genuine.poll(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._genuine, name)


@pytest.fixture
def reader(store: Store, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    """That of the next consumer."""
    faulty = Faulty(store.log_store.open_reader(bytes_max=1 << 20, partition_bytes_max=1 << 20))
    monkeypatch.setattr(store.log_store, "open_reader", lambda **_: faulty)
    return faulty


def item(partition: int, *, data: bytes = b"", error: LogStoreError | None = None) -> Any:
    return FetchedPartition("t", partition, memoryview(data), 10, 0, 10, error)


def test_what_may_pass_is_read_again(store: Store, reader: Faulty) -> None:
    error = DiskFullError("it may pass")
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        reader.items = [item(0, error=error), item(1, error=error)]
        assert offsets(consumer) == list(range(10))
        assert reader.positions[2:] == [("t", 0, 0), ("t", 1, 0)]


def test_what_will_not_pass_is_told_and_the_partition_is_read_again(
    store: Store, reader: Faulty
) -> None:
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        for _ in range(2):
            reader.items = [item(0, error=CorruptDataError("damaged"))]
            with pytest.raises(CorruptDataError):
                consumer.poll(SECONDS_MAX)
        assert offsets(consumer) == list(range(10))


def test_what_came_before_an_error_is_handed_out_before_it_is_told(
    store: Store, reader: Faulty
) -> None:
    """As of a partition that takes no writes: it serves what it has, and says so at its end."""
    failed = item(0, error=StorageFailedError("a sync failed"))
    data = bytes(encode_batch([b"a", b"b", b"c"], timestamps=1000))
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        reader.items = [item(0, data=data), failed]
        assert [record.value for record in consumer.poll(SECONDS_MAX, max_records=2)] == [
            b"a",
            b"b",
        ]
        assert reader.positions[2:] == [("t", 0, 3)]
        assert [record.value for record in consumer.poll(SECONDS_MAX)] == [b"c"]
        reader.items = [failed]
        with pytest.raises(StorageFailedError):
            consumer.poll(SECONDS_MAX)
        assert reader.positions[3:] == [("t", 0, 3)]


def test_bytes_that_are_no_batch_are_told_and_read_again(store: Store, reader: Faulty) -> None:
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        reader.items = [item(0, data=bytes(8) + b"\x00\x00\x00\x40" + bytes(105))]
        with pytest.raises(BatchMagicError):
            consumer.poll(SECONDS_MAX)
        assert offsets(consumer) == list(range(10))


def test_a_deleted_topic_is_told_at_every_poll(store: Store) -> None:
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        assert len(offsets(consumer)) == 10
        store.delete_topic("t")
        for _ in range(2):
            with pytest.raises(UnknownTopicError):
                consumer.poll(SECONDS_MAX)


def test_partitions_that_could_not_be_begun_are_begun_by_the_next_poll(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = store.log_store.committed_offsets
    errors = [GroupError("not now")]

    def committed_offsets(*args: Any) -> Any:
        if errors:
            raise errors.pop()
        return genuine(*args)

    monkeypatch.setattr(store.log_store, "committed_offsets", committed_offsets)
    with store.consumer("t", group="g", auto_offset_reset="earliest") as consumer:
        with pytest.raises(GroupError, match="not now"):
            until(lambda: False, consumer)
        assert consumer.assignment() == set()
        assert offsets(consumer) == list(range(10))


def test_partitions_whose_callback_failed_are_assigned_again(store: Store) -> None:
    told: list[list[TopicPartition]] = []

    def on_assigned(parts: list[TopicPartition]) -> None:
        told.append(parts)
        if len(told) == 1:
            raise ZeroDivisionError

    with store.consumer(group="g", auto_offset_reset="earliest") as consumer:
        consumer.subscribe("t", on_assigned=on_assigned)
        with pytest.raises(ZeroDivisionError):
            until(lambda: False, consumer)
        assert consumer.assignment() == set()
        assert offsets(consumer) == list(range(10))
        assert told == [[T0, ("t", 1)]] * 2


@pytest.mark.parametrize("shared", [True, False], ids=["subscribed", "assigned"])
def test_an_iteration_commits_on_its_way_through_a_large_batch(store: Store, shared: bool) -> None:
    with store.consumer(
        group="g", auto_offset_reset="earliest", auto_commit_interval=0.0
    ) as consumer:
        if shared:
            consumer.subscribe(["t"])
        else:
            consumer.assign([T0])
        for record in consumer:
            if record.offset == 5:
                until(lambda: committed(store).get(0) == 5)
                return


def test_a_poll_that_waits_long_is_no_missing_poll(store: Store) -> None:
    lost: list[list[TopicPartition]] = []
    with store.consumer(group="g", max_poll_interval=0.3) as consumer:
        consumer.subscribe(["t"], on_lost=lost.append)
        until(lambda: len(consumer.assignment()) == 2, consumer)
        assert consumer.poll(1.0) == []
        assert lost == []
        assert len(consumer.assignment()) == 2


def test_a_member_that_is_closed_while_it_joins_leaves_nothing_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = store.log_store.group_heartbeat
    joining, may_join = threading.Event(), threading.Event()

    def heartbeat(request: Any, *, wait: float = 0.0) -> Any:
        if request.member_epoch == EPOCH_JOIN:
            joining.set()
            assert may_join.wait(SECONDS_MAX)
        return genuine(request, wait=wait)

    monkeypatch.setattr(store.log_store, "group_heartbeat", heartbeat)
    consumer = store.consumer("t", group="g")
    session = consumer._session
    assert session is not None
    assert joining.wait(SECONDS_MAX)
    closing = threading.Thread(target=consumer.close)
    closing.start()
    assert session._stop.wait(SECONDS_MAX)
    may_join.set()
    closing.join(SECONDS_MAX)
    session._thread.join(SECONDS_MAX)
    assert store.describe_group("g").members == ()


def test_a_member_whose_instance_id_was_taken_over_is_told_at_every_poll(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heartbeat(request: Any, *, wait: float = 0.0) -> Any:
        raise FencedInstanceError("another has it")

    monkeypatch.setattr(store.log_store, "group_heartbeat", heartbeat)
    with store.consumer("t", group="g", group_instance_id="one") as consumer:
        for _ in range(2):
            with pytest.raises(FencedInstanceError):
                until(lambda: False, consumer)


def test_a_consumer_that_cannot_begin_closes_its_reader(store: Store, reader: Faulty) -> None:
    closed = threading.Event()
    reader.close = closed.set  # type: ignore[attr-defined]
    with pytest.raises(UnknownTopicError):
        store.consumer("nosuch")
    assert closed.is_set()


def test_what_on_done_of_a_commit_raises_is_logged(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: LogStoreError | None) -> None:
        raise ZeroDivisionError

    with store.consumer(group="g", auto_offset_reset="earliest") as consumer:
        consumer.assign([T0])
        assert len(offsets(consumer)) == 10
        consumer.commit_async(on_done=fail)
        until(lambda: any(record.exc_info for record in caplog.records))
    assert "callback" in caplog.text
