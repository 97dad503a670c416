from __future__ import annotations

import errno
from typing import Any

import pytest

from logstore.config import StoreConfig
from logstore.errors import OffsetOutOfRangeError, StorageFailedError
from logstore.record import encode_batch
from logstore.testing import MemoryFileSystem
from tests.log.support import DIRECTORY, Partition

SEGMENT = str(16 << 10)


def filled(count: int = 20, **configs: str) -> Partition:
    """Five records of 3000 bytes a segment, a second apart."""
    partition = Partition(None, fs=None, limits=None, segment_bytes=SEGMENT, **configs)
    now = partition.clock.now_ms()
    for index in range(count):
        partition.put(bytes([index]) * 3000, timestamp=now + index * 1000)
    return partition


def test_without_limits_everything_is_kept() -> None:
    partition = filled()
    partition.clock.advance(10 * 365 * 86400)
    assert partition.log.apply_retention(partition.clock.now_ms()) == 0
    assert partition.log.log_start_offset == 0


@pytest.mark.parametrize("limit", ["retention_ms", "retention_bytes"])
def test_a_compacted_topic_keeps_whatever_its_age_and_size_unless_both_are_wanted(
    limit: str,
) -> None:
    for policy, removed in (("compact", 0), ("compact,delete", 3)):
        configs = {"segment_bytes": SEGMENT, "cleanup_policy": policy, limit: "1"}
        partition = Partition(None, fs=None, limits=None, **configs)
        now = partition.clock.now_ms()
        for index in range(16):
            batch = encode_batch([bytes(3000)], [b"%d" % index], timestamps=now)
            partition.log.append(batch)
        partition.flusher.run_round()
        partition.clock.advance(1)
        assert partition.log.apply_retention(partition.clock.now_ms()) >= removed
        assert (partition.log.log_start_offset > 0) == (removed > 0)


def test_bytes_are_kept_by_whole_segments() -> None:
    partition = filled(retention_bytes=str(40_000))
    assert partition.log.apply_retention(partition.clock.now_ms()) == 1
    assert partition.log.log_start_offset == 5
    assert partition.log.size_bytes >= 40_000
    assert partition.files(".log")[0] == f"{5:020d}.log"


def test_old_segments_go_and_in_the_end_even_the_active_one() -> None:
    partition = filled(retention_ms="1000")
    partition.clock.advance(11)  # records 0 to 9 are older than a second
    assert partition.log.apply_retention(partition.clock.now_ms()) == 2
    assert partition.read()[0][0] == 10
    partition.clock.advance(100)
    partition.log.apply_retention(partition.clock.now_ms())
    partition.flusher.run_round()
    partition.log.apply_retention(partition.clock.now_ms())
    assert partition.read() == []
    assert partition.log.log_start_offset == partition.log.high_watermark == 20
    assert partition.put(b"next") == 20


def test_the_log_start_survives_every_end() -> None:
    for end in ("close_and_open", "kill_and_open", "lose_power_and_open"):
        partition = filled()
        partition.log.delete_records(7)
        getattr(partition, end)()
        assert partition.log.log_start_offset == 7, end
        with pytest.raises(OffsetOutOfRangeError):
            partition.log.read(6, bytes_max=1)
        assert partition.read()[0] == (7, bytes([7]) * 3000)


def test_a_removal_that_was_cut_short_is_finished_on_opening() -> None:
    partition = filled()
    partition.memory.inject("rename", path_contains=".log")
    partition.log.delete_records(7)
    assert len(partition.files(".log")) == 4
    partition.kill_and_open()
    assert partition.files(".log")[0] == f"{5:020d}.log"
    partition.memory.open(f"{DIRECTORY}/{0:020d}.log.deleted", create=True)
    partition.kill_and_open()
    assert partition.files(".deleted") == []


def test_records_above_the_watermark_cannot_be_deleted() -> None:
    partition = Partition(MemoryFileSystem())
    partition.put(b"a")
    partition.append(b"b")
    with pytest.raises(OffsetOutOfRangeError):
        partition.log.delete_records(2)
    assert partition.log.delete_records(0) == 0


PRODUCER: dict[str, Any] = {"producer_id": 9, "producer_epoch": 0}
BATCHES = 6


def new_partition(seed: int) -> Partition:
    limits = StoreConfig(syncfs_threshold=1000)  # each file is synced by itself, or not at all
    memory = MemoryFileSystem(seed)
    return Partition(memory, limits=limits, segment_bytes=SEGMENT, retention_bytes="20000")


def with_producer_in(partition: Partition) -> Partition:
    """Its batches are in the first segment, those of others fill the next three."""
    for sequence in range(BATCHES):
        partition.append(bytes(2000), **PRODUCER, base_sequence=sequence)
        partition.flusher.run_round()
    for _ in range(20):
        partition.put(bytes(3000))
    return partition


def is_known(partition: Partition) -> bool:
    batch = encode_batch([bytes(2000)], timestamps=1000, **PRODUCER, base_sequence=BATCHES - 1)
    return partition.log.append(batch).duplicate


@pytest.mark.parametrize("end", ["lose_power_and_open", "kill_and_open"])
@pytest.mark.parametrize("by", ["delete_records", "retention"])
def test_a_producer_is_known_when_its_batches_are_gone(by: str, end: str) -> None:
    for seed in range(12):
        partition = with_producer_in(new_partition(seed))
        partition.append(b"in flight")
        if by == "retention":
            assert partition.log.apply_retention(partition.clock.now_ms()) >= 2
        else:
            partition.log.delete_records(20)
        getattr(partition, end)()
        assert partition.log.log_start_offset >= BATCHES
        assert is_known(partition)


@pytest.mark.parametrize("end", ["lose_power_and_open", "kill_and_open"])
def test_a_producer_is_known_when_its_segment_comes_to_be_behind_the_log_start(end: str) -> None:
    """The log start is raised within the active segment; then another is begun, and the next
    opening removes the one behind it."""
    for seed in range(12):
        partition = new_partition(seed)
        for sequence in range(BATCHES):
            partition.append(bytes(2000), **PRODUCER, base_sequence=sequence)
            partition.flusher.run_round()
        assert partition.log.delete_records(BATCHES) == BATCHES
        partition.append(bytes(6000))
        assert partition.log.segment_count == 2
        getattr(partition, end)()
        assert is_known(partition)


def test_and_when_no_snapshot_could_be_written_before() -> None:
    for seed in range(12):
        partition = new_partition(seed)
        partition.memory.inject("write", errno.EIO, path_contains=".snapshot", times=None)
        partition = with_producer_in(partition)
        with pytest.raises(StorageFailedError):
            partition.log.delete_records(20)
        assert partition.log.log_start_offset == 0
        partition.memory.heal()
        partition.append(b"in flight")
        partition.log.delete_records(20)
        partition.lose_power_and_open()
        assert is_known(partition)


def test_on_a_full_disk_its_batches_go_first_and_it_is_kept_with_the_room_that_makes() -> None:
    partition = new_partition(0)
    partition.memory.inject("write", errno.ENOSPC, path_contains=".snapshot", times=None)
    partition = with_producer_in(partition)
    partition.memory.heal()
    partition.memory.inject("write", errno.ENOSPC, path_contains=".snapshot", times=1)
    assert partition.log.delete_records(20) == 20
    partition.lose_power_and_open()
    assert is_known(partition)
