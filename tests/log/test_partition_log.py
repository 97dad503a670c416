from __future__ import annotations

import errno

import pytest

from logstore.config import StoreConfig, TopicConfig
from logstore.errors import (
    BatchTooLargeError,
    DiskFullError,
    InvalidBatchError,
    LogStoreError,
    OffsetOutOfRangeError,
    StorageFailedError,
    StoreClosedError,
    TooManyRequestsError,
    UnknownTopicError,
)
from logstore.record import encode_batch, parse_header
from logstore.testing import MemoryFileSystem
from tests.log.support import DIRECTORY, Partition


def test_offsets_go_up_and_only_the_flushed_is_visible() -> None:
    partition = Partition()
    assert partition.append(b"a", b"b") == 0
    assert partition.append(b"c") == 2
    log = partition.log
    assert (log.high_watermark, log.log_end_offset, log.flushed_offset) == (0, 3, 0)
    assert partition.read() == []
    partition.flusher.run_round()
    assert (log.high_watermark, log.flushed_offset) == (3, 3)
    assert partition.read() == [(0, b"a"), (1, b"b"), (2, b"c")]
    assert partition.read(1) == [(1, b"b"), (2, b"c")]


def test_page_cache_durability_publishes_at_once() -> None:
    partition = Partition(durability="page_cache")
    partition.append(b"a")
    assert partition.log.high_watermark == 1
    assert partition.log.flushed_offset == 0


def test_the_stored_bytes_are_the_senders_but_for_offset_and_epoch() -> None:
    partition = Partition()
    partition.put(b"x")
    batch = encode_batch([b"a", b"b"], timestamps=5)
    partition.log.append(batch)
    partition.flusher.run_round()
    with partition.log.read(1, bytes_max=1000) as lease:
        stored = bytes(lease.data)
    assert stored[16:] == batch[16:]
    assert parse_header(stored).base_offset == 1


def test_log_append_time_overwrites_the_senders() -> None:
    partition = Partition(message_timestamp_type="LogAppendTime")
    appended = partition.log.append(encode_batch([b"a"], timestamps=5))
    partition.flusher.run_round()
    assert appended.log_append_time_ms == partition.clock.now_ms()
    assert partition.log.offset_for_timestamp(6) == (0, partition.clock.now_ms())


def test_segments_roll_by_bytes_and_reads_cross_them() -> None:
    partition = Partition(segment_bytes=str(16 << 10))
    for index in range(20):
        partition.put(bytes([index]) * 3000)
    assert partition.log.segment_count == 4
    assert [offset for offset, _ in partition.read()] == list(range(20))
    sealed = partition.files(".log")[0]
    assert len(partition.content(sealed)) < 16 << 10  # what was preallocated was given back


def test_segments_roll_by_the_time_of_their_records() -> None:
    partition = Partition(segment_ms="1000")
    partition.put(b"a", timestamp=10_000)
    partition.put(b"b", timestamp=11_000)
    partition.put(b"c", timestamp=11_001)
    assert partition.files(".log") == [f"{0:020d}.log", f"{2:020d}.log"]


def test_a_small_topic_stays_small_on_disk() -> None:
    partition = Partition()
    partition.put(b"a")
    assert len(partition.content(f"{0:020d}.log")) == 64 << 10


def test_at_least_one_whole_batch_comes_whatever_the_limit() -> None:
    partition = Partition()
    for value in (b"a" * 1000, b"b" * 1000, b"c" * 1000):
        partition.put(value)
    with partition.log.read(0, bytes_max=1) as lease:
        one = lease.data.nbytes
    with partition.log.read(0, bytes_max=one * 2 + 10) as lease:
        assert lease.data.nbytes == 2 * one
    with partition.log.read(0, bytes_max=1 << 20, up_to=2) as lease:
        assert lease.data.nbytes == 2 * one
    with partition.log.read(3, bytes_max=1 << 20) as lease:
        assert lease.data.nbytes == 0


@pytest.mark.parametrize("offset", [-1, 2])
def test_an_offset_outside_is_an_error_with_the_bounds(offset: int) -> None:
    partition = Partition()
    partition.put(b"a")
    with pytest.raises(OffsetOutOfRangeError, match="0 up to 1"):
        partition.log.read(offset, bytes_max=1)


def test_leases_are_counted_and_limited() -> None:
    partition = Partition(limits=StoreConfig(leases_max=2))
    partition.put(b"a")
    leases = [partition.log.read(0, bytes_max=1) for _ in range(2)]
    with pytest.raises(TooManyRequestsError, match="leases_max"):
        partition.log.read(0, bytes_max=1)
    leases.pop().close()
    partition.log.read(0, bytes_max=1).close()


def test_a_lease_outlives_deletion_of_its_segment() -> None:
    partition = Partition(segment_bytes=str(16 << 10))
    for index in range(12):
        partition.put(bytes([index]) * 3000)
    lease = partition.log.read(0, bytes_max=1)
    before = bytes(lease.data)
    partition.log.delete_records(8)
    assert partition.log.log_start_offset == 8
    assert len(partition.files(".log")) < 3
    assert bytes(lease.data) == before
    with pytest.raises(OffsetOutOfRangeError):
        partition.log.read(7, bytes_max=1)


@pytest.mark.parametrize("by", ["delete_records", "retention"])
def test_what_is_not_kept_makes_room_on_a_full_disk(by: str) -> None:
    partition = Partition(segment_bytes=str(16 << 10))
    for index in range(12):
        partition.put(bytes([index]) * 3000)
    partition.memory.capacity_bytes = partition.memory.used_bytes  # nothing can be written
    if by == "retention":
        config = TopicConfig.from_overrides({"segment_bytes": "16384", "retention_bytes": "20000"})
        partition.log.update_config(config)
        assert partition.log.apply_retention(partition.clock.now_ms()) > 0
    else:
        assert partition.log.delete_records(6) == 6
    start = partition.log.log_start_offset
    assert start > 0
    assert partition.memory.used_bytes < partition.memory.capacity_bytes
    partition.lose_power_and_open()
    assert [offset for offset, _ in partition.read()] == list(range(start, 12))


def test_no_hole_is_left_if_the_log_start_can_never_be_written() -> None:
    for seed in range(20):
        partition = Partition(MemoryFileSystem(seed), segment_bytes=str(16 << 10))
        for index in range(12):
            partition.put(bytes([index]) * 3000)
        partition.memory.inject("write", errno.ENOSPC, path_contains="log-start-offset", times=None)
        with pytest.raises(DiskFullError):
            partition.log.delete_records(11)
        start = partition.log.log_start_offset
        assert start == 10  # where the first segment that is left begins
        partition.lose_power_and_open()
        assert [offset for offset, _ in partition.read()] == list(range(start, 12))


def test_many_segments_share_few_open_files() -> None:
    partition = Partition(limits=StoreConfig(open_segments_max=8), segment_bytes=str(16 << 10))
    for index in range(100):
        partition.put(bytes([index]) * 8000)
    assert partition.log.segment_count > 40
    assert [offset for offset, _ in partition.read()] == list(range(100))
    assert partition.cache.open_count <= 8


def test_a_batch_over_the_limit_is_refused() -> None:
    partition = Partition(max_message_bytes="1000")
    with pytest.raises(BatchTooLargeError, match="max_message_bytes"):
        partition.append(b"x" * 1000)
    assert partition.log.log_end_offset == 0


# --- time -------------------------------------------------------------------------------------


def test_records_are_found_by_time_to_the_record() -> None:
    partition = Partition(index_interval_bytes="64", segment_bytes=str(16 << 10))
    times = [(index * 37) % 500 for index in range(300)]
    for start in range(0, 300, 3):
        batch = encode_batch([b"v" * 200] * 3, timestamps=times[start : start + 3])
        partition.log.append(batch)
    partition.flusher.run_round()
    assert partition.log.segment_count > 3
    for wanted in range(0, 520, 7):
        expected = next(((o, t) for o, t in enumerate(times) if t >= wanted), None)
        assert partition.log.offset_for_timestamp(wanted) == expected
    latest = max(times)
    assert partition.log.offset_for_max_timestamp() == (times.index(latest), latest)


def test_what_is_not_visible_is_not_found_by_time() -> None:
    partition = Partition()
    partition.put(b"a", timestamp=10)
    partition.append(b"b", timestamp=20)
    assert partition.log.offset_for_timestamp(15) is None
    assert partition.log.offset_for_max_timestamp() == (0, 10)


# --- waiting ----------------------------------------------------------------------------------


def test_waiters_are_called_when_the_watermark_passes() -> None:
    partition = Partition()
    calls: list[tuple[str, LogStoreError | None]] = []
    partition.log.on_high_watermark(1, lambda error: calls.append(("one", error)))
    cancelled = partition.log.on_high_watermark(1, lambda error: calls.append(("no", error)))
    partition.log.on_high_watermark(3, lambda error: calls.append(("three", error)))
    cancelled.cancel()
    partition.put(b"a")
    assert calls == [("one", None)]
    partition.log.on_high_watermark(1, lambda error: calls.append(("at once", error)))
    partition.close()
    assert calls[1] == ("at once", None)
    assert isinstance(calls[2][1], StoreClosedError)
    with pytest.raises(StoreClosedError):
        partition.append(b"b")


def test_a_deleted_topics_waiters_are_told() -> None:
    partition = Partition()
    errors: list[LogStoreError | None] = []
    partition.log.on_high_watermark(1, errors.append)
    partition.log.abandon()
    assert isinstance(errors[0], UnknownTopicError)


# --- trouble ----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["write", "allocate"])
def test_a_full_disk_refuses_and_recovers_by_itself(operation: str) -> None:
    partition = Partition()
    partition.put(b"a" * 60_000)
    partition.memory.inject(operation, errno.ENOSPC, path_contains=".log", times=2)
    with pytest.raises(DiskFullError) as caught:
        partition.append(b"b" * 10_000)
    assert caught.value.retriable
    assert partition.values() == [b"a" * 60_000]
    partition.memory.heal()
    assert partition.put(b"c") == 1
    partition.kill_and_open()
    assert partition.values() == [b"a" * 60_000, b"c"]


def test_a_nearly_full_disk_is_used_to_the_end() -> None:
    partition = Partition()
    partition.put(b"a")
    partition.memory.capacity_bytes = 70_000
    assert partition.put(b"b" * 1000) == 1


def test_a_failed_sync_stops_the_partition_until_it_is_reopened() -> None:
    partition = Partition()
    partition.put(b"a")
    errors: list[LogStoreError | None] = []
    partition.memory.inject("sync", path_contains=DIRECTORY)
    partition.append(b"lost")
    partition.log.on_high_watermark(2, errors.append)
    partition.flusher.run_round()
    assert isinstance(errors[0], StorageFailedError)
    with pytest.raises(StorageFailedError, match="reopened"):
        partition.append(b"b")
    assert partition.values() == [b"a"]
    assert not partition.close()
    partition.reopen()
    assert partition.put(b"c") == partition.log.high_watermark - 1
    seen = partition.values()
    partition.lose_power_and_open()
    assert partition.values() == seen


def test_a_write_error_that_is_not_a_full_disk_stops_the_partition() -> None:
    partition = Partition()
    partition.memory.inject("write", errno.EIO, path_contains=".log")
    with pytest.raises(StorageFailedError):
        partition.append(b"a")
    with pytest.raises(StorageFailedError):
        partition.append(b"a")


# --- producers --------------------------------------------------------------------------------


def test_producer_state_survives_every_way_to_end() -> None:
    for end in ("close_and_open", "kill_and_open", "lose_power_and_open"):
        partition = Partition(segment_bytes=str(16 << 10))
        fields = {"producer_id": 9, "producer_epoch": 0}
        for sequence in range(12):
            partition.append(b"x" * 3000, base_sequence=sequence, **fields)
        partition.flusher.run_round()
        getattr(partition, end)()
        batch = encode_batch([b"x" * 3000], timestamps=1000, base_sequence=11, **fields)  # type: ignore[arg-type]
        again = partition.log.append(batch)
        assert (again.base_offset, again.duplicate) == (11, True), end


# --- configuration ----------------------------------------------------------------------------


def test_a_new_configuration_counts_from_the_next_append() -> None:
    partition = Partition()
    partition.log.update_config(TopicConfig.from_overrides({"max_message_bytes": "100"}))
    with pytest.raises(BatchTooLargeError):
        partition.append(b"x" * 100)


@pytest.mark.parametrize("is_transactional", [True, False])
def test_a_producers_batch_without_a_sequence_is_refused(is_transactional: bool) -> None:
    """Only the engine's own have none: one of a higher epoch would fence a marker."""
    partition = Partition()
    batch = encode_batch([b"a"], producer_id=7, producer_epoch=3, is_transactional=is_transactional)
    with pytest.raises(InvalidBatchError):
        partition.log.append(batch)
    assert partition.log.log_end_offset == 0
    partition.log.append(batch, validated=True)
