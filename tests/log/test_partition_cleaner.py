from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress

import pytest

from logstore.errors import DiskFullError, StorageFailedError
from logstore.log.checkpoint import read_cleaned_offset
from logstore.log.log_view import LogView
from logstore.record import decode_records, iter_batches
from tests.log.compacted import (
    DAY_MS,
    SECRET,
    SEGMENT_BYTES,
    CompactedPartition,
    PowerLost,
)
from tests.log.support import DIRECTORY, LIMIT


def ready(seed: int = 0) -> CompactedPartition:
    """Three segments with much to clean, a tombstone that is due and one that is not, and two small
    ones that become one."""
    partition = CompactedPartition(seed, delete_retention_ms=str(DAY_MS))
    partition.send((b"due", b"1"), (b"a", b"1"), (b"b", b"1"))
    partition.send((b"due", None))
    partition.fill(2)
    partition.clean()
    partition.clock.advance(DAY_MS / 1000)
    partition.send((b"a", b"2"), (b"c", b"1"))
    partition.send((b"late", b"1"), (b"late", None))
    partition.fill(2)
    return partition


WANTED = {b"a": b"2", b"b": b"1", b"c": b"1"}


def check(partition: CompactedPartition, end: int) -> None:
    """Whatever part of the cleaning was done."""
    latest = partition.latest()
    found = {key: value for key, (_, value) in latest.items() if value is not None and key}
    found.pop(b"pad")
    assert found == WANTED, "the last value of each key, and no deleted one"
    assert latest[b"late"][1] is None, "not before its time"
    offsets = [record.offset for record in partition.records()]
    assert offsets == sorted(set(offsets))
    assert partition.log.log_end_offset == end
    assert partition.log.recovery_notes == []


def points() -> Iterator[int]:
    partition = ready()
    partition.fs.clear()
    partition.clean()
    yield from range(len(partition.fs.calls) + 1)


@pytest.mark.parametrize("strict", [True, False])
def test_a_power_loss_at_any_call_leaves_the_old_or_the_new(strict: bool) -> None:
    finished = 0
    for point in points():
        partition = ready(seed=point)
        partition.memory._strict = partition.memory._journal._strict = strict
        end = partition.log.log_end_offset
        partition.fs.calls_left = point
        try:
            partition.clean()
            finished += 1
        except PowerLost:
            pass
        partition.lose_power_and_open()
        check(partition, end)
        partition.clean()
        check(partition, end)
        leftovers = [name for name in partition.memory.list_directory("store/t-0") if "ed" in name]
        assert leftovers == []
        partition.close_and_open()
        check(partition, end)
    assert finished == 1, "the last point is behind the last call"


def test_killed_at_any_call_and_cleaned_again() -> None:
    for point in points():
        partition = ready()
        end = partition.log.log_end_offset
        partition.fs.calls_left = point
        with suppress(PowerLost):
            partition.clean()
        partition.kill_and_open()
        check(partition, end)
        partition.clean()
        check(partition, end)
        assert b"due" not in partition.latest()


# --- readers ------------------------------------------------------------------------------------


def test_leases_keep_their_bytes() -> None:
    partition = ready()
    lease = partition.log.read(0, bytes_max=SEGMENT_BYTES, cold_ok=True)
    before = bytes(lease.data)
    partition.clean()
    assert bytes(lease.data) == before
    lease.close()


@pytest.mark.parametrize("open_segments_max", [8, 1000])
def test_a_reader_that_held_the_old_list_reads_the_new_segments(open_segments_max: int) -> None:
    """As one that is overtaken between looking at the list and opening the file."""
    partition = ready()
    view: LogView = partition.log._view
    old = view.segments
    partition.clean()
    new = view.segments
    assert new[0] is not old[0]
    looks: list[int] = []

    class Overtaken(LogView):
        @property
        def segments(self):
            looks.append(1)
            return old if len(looks) == 1 else new

        @segments.setter
        def segments(self, value):
            pass

    view.__class__ = Overtaken
    with partition.log.read(0, bytes_max=1 << 20, cold_ok=True) as lease:
        found = [
            record.key
            for batch in iter_batches(lease.data)
            for record in decode_records(batch, decompressed_bytes_max=LIMIT)
        ]
    assert len(looks) >= 2
    assert found
    looks.clear()
    assert partition.log.offset_for_timestamp(0) is not None
    assert len(looks) >= 2


# --- overtaken and failing ----------------------------------------------------------------------


def test_retention_overtakes_a_cleaning() -> None:
    partition = ready()
    steps = partition.log.cleaner.clean(secret=SECRET)
    next(steps)
    partition.log.delete_records(partition.log.log_end_offset - 2)
    for _ in steps:
        pass
    assert partition.files(".cleaned") == []
    assert partition.log.segment_count <= 2
    partition.kill_and_open()
    assert partition.log.log_start_offset == partition.log.log_end_offset - 2


def test_closing_overtakes_a_cleaning() -> None:
    partition = ready()
    end = partition.log.log_end_offset
    steps = partition.log.cleaner.clean(secret=SECRET)
    for _ in range(25):
        next(steps)
    assert partition.close()
    for _ in steps:
        pass
    assert partition.files(".cleaned") == []
    partition.reopen()
    assert not partition.log.recovery_report.was_unclean
    check(partition, end)


def test_a_full_disk_ends_a_cleaning_and_nothing_else() -> None:
    partition = ready()
    end = partition.log.log_end_offset
    partition.memory.inject("write", errno.ENOSPC, path_contains=".log.cleaned")
    with pytest.raises(DiskFullError, match="tried again"):
        partition.clean()
    assert [segment.pins for segment in partition.log._view.segments] == [0] * 5
    assert partition.files(".cleaned") == []
    check(partition, end)
    partition.send((b"c", b"1"))
    partition.flusher.run_round()
    partition.clean()
    assert b"due" not in partition.latest()


@pytest.mark.parametrize(
    ("operation", "path", "after"),
    [("sync", ".log.cleaned", 0), ("rename", ".cleaned", 0), ("sync_directory", "t-0", 0)],
)
def test_a_failure_before_it_is_decided_changes_nothing(
    operation: str, path: str, after: int
) -> None:
    partition = ready()
    end = partition.log.log_end_offset
    partition.memory.inject(operation, errno.EIO, path_contains=path, after=after)
    with pytest.raises(StorageFailedError, match="nothing was changed"):
        partition.clean()
    assert partition.log.error is None
    check(partition, end)
    partition.clean()
    check(partition, end)
    partition.lose_power_and_open()
    check(partition, end)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_failure_once_it_is_decided_ends_writing_until_it_is_reopened(after: int) -> None:
    partition = ready()
    end = partition.log.log_end_offset
    partition.memory.inject("sync_directory", errno.EIO, path_contains="t-0", after=after)
    with pytest.raises(StorageFailedError, match="reopened"):
        partition.clean()
    assert isinstance(partition.log.error, StorageFailedError)
    latest = partition.latest()
    assert {key: latest[key][1] for key in WANTED} == WANTED, "it still serves"
    assert not partition.log.close()
    partition.lose_power_and_open()
    check(partition, end)


def test_a_deleted_topic_is_not_cleaned_any_more() -> None:
    partition = ready()
    steps = partition.log.cleaner.clean(secret=SECRET)
    next(steps)
    partition.log.abandon()
    partition.memory.rename("store/t-0", "store/t-0-delete")
    assert list(steps) == []
    assert partition.log.cleaner.dirty_ratio() == 0


def test_a_cleaned_offset_beyond_the_end_of_a_damaged_log_is_forgotten() -> None:
    """Other records have those offsets then, and no cleaning has seen them."""
    partition = ready()
    partition.clean()
    assert read_cleaned_offset(partition.memory, DIRECTORY) > 20
    for name in partition.memory.list_directory(DIRECTORY):
        if name[:1].isdigit() and name > f"{10:020d}":
            partition.memory.unlink(f"{DIRECTORY}/{name}")
    partition.memory.unlink("store/state")
    partition.kill_and_open()
    assert partition.log.log_end_offset < 20
    for _ in range(3):
        partition.fill(1)
    partition.close_and_open()
    assert partition.log.log_end_offset > 20
    assert partition.log.cleaner.dirty_ratio() == 1


def test_those_who_are_told_of_a_failure_may_ask_the_partition() -> None:
    """Callbacks run under no lock, or this would wait for ever."""
    partition = ready()
    told: list[int] = []

    def tell(_: object) -> None:
        told.append(partition.log.delete_records(0))

    partition.log.on_high_watermark(partition.log.log_end_offset + 1, tell)
    partition.memory.inject("sync_directory", errno.EIO, path_contains="t-0", after=1)
    with pytest.raises(StorageFailedError):
        partition.clean()
    assert told == [0]


def test_those_who_are_told_of_a_deletion_may_too() -> None:
    partition = ready()
    told: list[int] = []
    partition.log.on_high_watermark(
        partition.log.log_end_offset + 1, lambda _: told.append(partition.log.delete_records(0))
    )
    partition.log.abandon()
    assert told == [0]
