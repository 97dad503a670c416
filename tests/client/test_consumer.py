from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest

import logstore
from logstore import Consumer, Store
from logstore.api import FetchedPartition, TopicPartition
from logstore.errors import (
    ClientClosedError,
    GroupNotEmptyError,
    InvalidRequestError,
    LogStoreError,
    OffsetOutOfRangeError,
    UnknownTopicError,
)

SECONDS_MAX = 30.0  # any wait of a test; reached only if it fails
T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Topic t: 10 records "0".."9" in partition 0, at 1000 ms and on; none in partition 1."""
    with logstore.open(tmp_path / "data") as opened:
        opened.create_topic("t", partitions=2)
        produce(opened, range(10))
        yield opened


def produce(store: Store, numbers: range, partition: int = 0, topic: str = "t") -> None:
    with store.producer() as producer:
        producer.send_many(
            topic,
            [b"%d" % number for number in numbers],
            timestamps_ms=[1000 + number for number in numbers],
            partition=partition,
        )


def until(done: Callable[[], object], *consumers: Consumer) -> None:
    """Poll the consumers in turn until `done`; fails after SECONDS_MAX."""
    clock = threading.Event()
    for _ in range(int(SECONDS_MAX / 0.02)):
        for consumer in consumers:
            consumer.poll(0.01)
        if done():
            return
        if not consumers:
            clock.wait(0.02)
    raise AssertionError("it did not come to that")


def offsets(consumer: Consumer, timeout: float = SECONDS_MAX, **options: Any) -> list[int]:
    return [record.offset for record in consumer.poll(timeout, **options)]


def committed(store: Store, group: str = "g") -> dict[int, int]:
    return {item.partition: item.offset for item in store.committed_offsets(group)}


# --- what to read -----------------------------------------------------------------------------


def test_without_a_group_all_partitions_are_read(store: Store) -> None:
    produce(store, range(2), partition=1)
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        assert consumer.assignment() == {T0, T1}
        records = list(consumer.records(idle_timeout=0.0))
    assert sorted((record.partition, record.offset) for record in records) == [
        *((0, number) for number in range(10)),
        *((1, number) for number in range(2)),
    ]
    first = min(records, key=lambda record: (record.partition, record.offset))
    assert (first.topic, first.value, first.timestamp, first.key) == ("t", b"0", 1000, None)


def test_assigned_partitions_are_read_from_where_the_option_says(store: Store) -> None:
    with store.consumer(auto_offset_reset="earliest") as consumer:
        consumer.assign([("t", 0)])
        assert consumer.position("t", 0) == 0
    with store.consumer(auto_offset_reset="latest") as consumer:
        consumer.assign([("t", 0)])
        assert consumer.position("t", 0) == 10
        produce(store, range(1))
        assert offsets(consumer) == [10]
    with (
        store.consumer(auto_offset_reset="error", group="g") as consumer,
        pytest.raises(OffsetOutOfRangeError, match="no committed offset for t-0"),
    ):
        consumer.assign([("t", 0)])


@pytest.mark.parametrize(("reset", "expected"), [("earliest", [4]), ("latest", [])])
def test_an_offset_that_is_gone_is_reset(store: Store, reset: str, expected: list[int]) -> None:
    with store.consumer(auto_offset_reset=reset) as consumer:
        consumer.assign([("t", 0)])
        store.delete_records("t", 0, before_offset=4)
        consumer.seek("t", 0, 2)
        assert offsets(consumer, SECONDS_MAX if expected else 0.0, max_records=1) == expected
        assert consumer.position("t", 0) == (5 if expected else 10)


def test_an_offset_that_is_gone_is_told_if_asked_for(store: Store) -> None:
    with store.consumer(auto_offset_reset="error", group="g") as consumer:
        with store.consumer(group="g", enable_auto_commit=False) as other:
            other.assign([("t", 0)])
            other.commit({T0: 2})
        store.delete_records("t", 0, before_offset=4)
        consumer.assign([("t", 0)])
        with pytest.raises(OffsetOutOfRangeError):
            consumer.poll(SECONDS_MAX)
        consumer.seek("t", 0, 4)
        assert offsets(consumer)[0] == 4


def test_a_new_subscription_ends_the_old(store: Store) -> None:
    store.create_topic("u")
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        assert len(consumer.poll(SECONDS_MAX, max_records=2)) == 2
        consumer.subscribe(["u"])
        assert consumer.assignment() == {TopicPartition("u", 0)}
        assert consumer.poll(0) == []
        consumer.unsubscribe()
        assert consumer.assignment() == set()


@pytest.mark.parametrize("options", [{"auto_offset_reset": "newest"}, {"max_poll_records": 0}])
def test_options_out_of_range_are_refused(store: Store, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        store.consumer(**options)


def test_what_needs_a_group_says_so(store: Store) -> None:
    with store.consumer("t") as consumer:
        for call in (
            consumer.commit,
            lambda: consumer.committed(T0),
            lambda: consumer.subscribe(pattern="t.*"),
        ):
            with pytest.raises(InvalidRequestError, match="group"):
                call()
    with store.consumer(group="g") as member, pytest.raises(InvalidRequestError):
        member.subscribe()


def test_an_unknown_topic_is_told(store: Store) -> None:
    with pytest.raises(UnknownTopicError):
        store.consumer("nowhere")
    with store.consumer() as consumer, pytest.raises(LogStoreError):
        consumer.assign([("t", 9)])


# --- records ----------------------------------------------------------------------------------


def test_poll_gives_no_more_than_asked_for(store: Store) -> None:
    with store.consumer("t", auto_offset_reset="earliest", max_poll_records=4) as consumer:
        assert offsets(consumer) == [0, 1, 2, 3]
        assert offsets(consumer, max_records=1) == [4]
        assert consumer.position("t", 0) == 5
        assert offsets(consumer, max_records=100) == [5, 6, 7, 8, 9]
        assert consumer.poll(0) == []


def test_poll_batch_gives_all_that_arrived(store: Store) -> None:
    produce(store, range(10, 15))
    produce(store, range(3), partition=1)
    with store.consumer("t", auto_offset_reset="earliest", max_poll_records=1) as consumer:
        found = consumer.poll_batch(SECONDS_MAX)
        assert {
            (item.topic, item.partition): [record.offset for record in item.records]
            for item in found
        } == {("t", 0): list(range(15)), ("t", 1): [0, 1, 2]}
        assert consumer.poll_batch(0) == []


def test_poll_columns_and_arrow(store: Store) -> None:
    produce(store, range(10, 12))
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        (found,) = consumer.poll_columns(SECONDS_MAX)
        assert (found.topic, found.partition) == ("t", 0)
        table = found.columns.to_arrow()
        assert isinstance(table, pyarrow.RecordBatch)
        assert table.num_rows == 12
        assert table.column("value").to_pylist() == [b"%d" % number for number in range(12)]
        assert list(found.columns.timestamps) == list(range(1000, 1012))
        assert consumer.position("t", 0) == 12
        assert consumer.poll_columns(0) == []


def test_poll_and_poll_columns_take_turns_without_a_gap(store: Store) -> None:
    produce(store, range(10, 20))
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        assert offsets(consumer, max_records=3) == [0, 1, 2]
        (found,) = consumer.poll_columns(SECONDS_MAX)
        assert list(found.columns.offsets) == list(range(3, 20))


def test_iteration_ends_after_idle_timeout_or_close(store: Store) -> None:
    consumer = store.consumer("t", auto_offset_reset="earliest")
    assert [record.offset for record in consumer.records(idle_timeout=0.05)] == list(range(10))
    consumer.seek_to_beginning()
    seen = []
    for record in consumer:
        seen.append(record.offset)
        if record.offset == 4:
            consumer.close()
    assert seen == [0, 1, 2, 3, 4]


def test_wake_ends_a_waiting_poll(store: Store) -> None:
    with store.consumer("t") as consumer:
        ended = threading.Event()

        def poll() -> None:
            assert consumer.poll(3600) == []
            ended.set()

        thread = threading.Thread(target=poll)
        thread.start()
        consumer.wake()
        assert ended.wait(SECONDS_MAX)
        thread.join()
        produce(store, range(1))
        assert offsets(consumer) == [10]


def test_an_error_of_one_partition_costs_no_record_of_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.consumer(auto_offset_reset="earliest") as consumer:
        consumer.assign([T1, T0])
        reader = consumer._reader
        failed = FetchedPartition("t", 1, memoryview(b""), 0, 0, 0, UnknownTopicError("gone"))
        genuine = reader.poll
        answers = [lambda timeout: [failed, *genuine(timeout)], genuine]
        monkeypatch.setattr(reader, "poll", lambda timeout: answers.pop(0)(timeout))
        with pytest.raises(UnknownTopicError):
            consumer.poll(0)
        assert offsets(consumer) == list(range(10))


# --- positions --------------------------------------------------------------------------------


def test_seeking(store: Store) -> None:
    with store.consumer("t") as consumer:
        consumer.seek("t", 0, 7)
        assert offsets(consumer) == [7, 8, 9]
        consumer.seek_to_beginning()
        assert offsets(consumer, max_records=2) == [0, 1]
        consumer.seek("t", 0, 5)
        assert offsets(consumer, max_records=1) == [5], "what was read ahead is dropped"
        consumer.seek_to_end([T0])
        assert consumer.position("t", 0) == 10
        consumer.seek_to_timestamp(1003, [T0])
        assert offsets(consumer, max_records=1) == [3]
        consumer.seek_to_timestamp(99_999)
        assert consumer.position("t", 0) == 10
        with pytest.raises(InvalidRequestError, match="negative"):
            consumer.seek("t", 0, -1)
        for call in (consumer.seek_to_end, consumer.seek_to_beginning):
            with pytest.raises(InvalidRequestError, match="not assigned"):
                call([("u", 0)])


def test_a_paused_partition_gives_nothing_and_loses_nothing(store: Store) -> None:
    produce(store, range(1), partition=1)
    with store.consumer("t", auto_offset_reset="earliest") as consumer:
        consumer.pause(T0)
        assert consumer.paused() == {T0}
        assert [record.partition for record in consumer.records(idle_timeout=0.0)] == [1]
        consumer.seek("t", 0, 2)
        assert consumer.poll(0) == []
        consumer.resume(T0, T1)
        assert offsets(consumer, max_records=3) == [2, 3, 4]
        consumer.pause()
        assert consumer.paused() == {T0, T1}
        assert consumer.poll(0) == [], "what was read ahead is not given either"
        consumer.resume()
        assert offsets(consumer) == [5, 6, 7, 8, 9]


# --- offsets ----------------------------------------------------------------------------------


def member(store: Store, **options: Any) -> Consumer:
    chosen = {"group": "g", "auto_offset_reset": "earliest", "enable_auto_commit": False}
    return store.consumer("t", **(chosen | options))


def test_commit_says_where_the_next_one_goes_on(store: Store) -> None:
    with member(store) as consumer:
        assert len(offsets(consumer, max_records=4)) == 4
        consumer.commit()
        assert committed(store)[0] == 4
        assert [item.offset for item in consumer.committed(T0)] == [4]
        offsets(consumer, max_records=2)
    assert committed(store)[0] == 4, "close commits only if that is automatic"
    with member(store) as consumer:
        assert offsets(consumer)[0] == 4


def test_commit_of_given_offsets_and_without_waiting(store: Store) -> None:
    done: list[LogStoreError | None] = []
    told = threading.Event()

    def on_done(error: LogStoreError | None) -> None:
        done.append(error)
        told.set()

    with member(store) as consumer:
        until(lambda: consumer.assignment() == {T0, T1}, consumer)
        consumer.commit({T0: 3})
        assert committed(store) == {0: 3}
        consumer.commit_async({T0: 5, T1: 0}, on_done)
        assert told.wait(SECONDS_MAX)
        assert done == [None]
        assert committed(store) == {0: 5, 1: 0}
        consumer.commit_async({})


def test_automatic_commits_cover_only_what_earlier_polls_handed_out(store: Store) -> None:
    with member(store, enable_auto_commit=True, auto_commit_interval=0.0) as consumer:
        assert offsets(consumer, max_records=3) == [0, 1, 2]
        assert committed(store).get(0, 0) == 0, "these may be in work"
        assert offsets(consumer, max_records=2) == [3, 4]
        until(lambda: committed(store).get(0) == 3)
    assert committed(store)[0] == 5, "close commits all that was handed out"


def test_a_stranger_cannot_commit_while_there_are_members(store: Store) -> None:
    with member(store) as consumer, store.consumer(group="g") as stranger:
        until(lambda: consumer.assignment(), consumer)
        stranger.assign([T0])
        with pytest.raises(LogStoreError) as caught:
            stranger.commit({T0: 1})
        assert not caught.value.retriable
        with pytest.raises(GroupNotEmptyError):
            store.delete_group("g")


def test_assigned_partitions_commit_to_a_group_without_members(store: Store) -> None:
    with store.consumer(group="g", auto_offset_reset="earliest") as consumer:
        consumer.assign([T0])
        offsets(consumer, max_records=6)
    assert committed(store) == {0: 6}


# --- the end ----------------------------------------------------------------------------------


def test_a_closed_consumer_does_nothing_any_more(store: Store) -> None:
    consumer = store.consumer("t")
    consumer.close()
    consumer.close()
    assert consumer.closed
    for call in (
        consumer.poll,
        consumer.poll_batch,
        consumer.poll_columns,
        lambda: consumer.subscribe(["t"]),
        lambda: consumer.assign([T0]),
    ):
        with pytest.raises(ClientClosedError):
            call()
    assert list(consumer) == []
    assert consumer.take_ready() is None
