from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from logstore.config import StoreConfig
from logstore.errors import (
    DiskFullError,
    LogStoreError,
    StorageFailedError,
    StoreClosedError,
    UnknownTopicError,
)
from logstore.fs import File
from logstore.log import Flush
from logstore.log.state_file import StateReader
from logstore.record import encode_batch
from logstore.testing import MemoryFileSystem
from logstore.testing.memory_file import MemoryFile
from tests.log.support import DIRECTORY, TOPIC_ID, Partition

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def outcomes(part: Partition, offset: int) -> list[LogStoreError | None]:
    found: list[LogStoreError | None] = []
    part.log.on_high_watermark(offset, found.append)
    return found


def test_a_failed_write_is_told_to_those_who_wait_for_an_earlier_one() -> None:
    part = Partition()
    part.append(b"a")
    waiting = outcomes(part, 1)
    part.memory.inject("write", errno.EIO, path_contains=".log")
    with pytest.raises(StorageFailedError):
        part.append(b"b")
    assert [type(error) for error in waiting] == [StorageFailedError]
    assert part.flusher.run_round() == 0  # nothing is synced any more
    assert part.log.log_end_offset == part.log.high_watermark == 0


def test_each_refused_append_gets_an_error_of_its_own() -> None:
    part = Partition()
    part.memory.inject("write", errno.EIO, path_contains=".log")
    errors = []
    for _ in range(3):
        with pytest.raises(StorageFailedError) as caught:
            part.append(b"a")
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 3
    assert len({str(error) for error in errors}) == 1


def test_readers_at_the_end_of_a_failed_partition_are_told() -> None:
    part = Partition()
    part.put(b"a")
    part.append(b"b")
    part.memory.inject("sync", errno.EIO, path_contains=".log")
    part.flusher.run_round()
    assert part.values() == [b"a"]
    with pytest.raises(StorageFailedError):
        part.log.read(1, bytes_max=100)
    with pytest.raises(StorageFailedError):
        part.log.check_offset(1)


def test_after_close_nothing_can_be_done() -> None:
    part = Partition()
    part.put(b"a")
    waiting = outcomes(part, 2)
    part.close()
    assert [type(error) for error in waiting] == [StoreClosedError]
    for use in (
        lambda: part.append(b"b"),
        lambda: part.log.read(0, bytes_max=100),
        lambda: part.log.delete_records(1),
    ):
        with pytest.raises(StoreClosedError):
            use()
    assert part.log.apply_retention(0) == 0


def test_a_flush_that_ends_after_deletion_changes_nothing() -> None:
    part = Partition()
    part.append(b"a")
    plan = part.log._writer.begin_flush()
    assert plan is not None
    part.log.abandon()
    part.log._writer.finish_flush(plan)
    assert part.log.high_watermark == 0
    assert part.cache.open_count == 0
    with pytest.raises(UnknownTopicError):
        part.append(b"b")


def test_records_appended_during_a_flush_wait_for_the_next() -> None:
    part = Partition(segment_bytes=str(16 << 10))
    part.append(b"a")
    plan = part.log._writer.begin_flush()
    assert plan is not None
    for _ in range(20):  # rolls under the round
        part.append(bytes(2000))
    for sync in plan.syncs:
        sync()
    part.log._writer.finish_flush(plan)
    assert part.log.high_watermark == 1
    part.flusher.run_round()
    assert part.log.high_watermark == part.log.flushed_offset == 21
    part.lose_power_and_open()
    assert len(part.values()) == 21


@pytest.mark.parametrize("durability", ["fsync", "page_cache"])
def test_segments_not_yet_sealed_are_deleted_once_they_are(durability: str) -> None:
    part = Partition(segment_bytes=str(16 << 10), durability=durability)
    for _ in range(20):
        part.append(bytes(2000))
    if durability == "fsync":
        part.flusher.run_round()
    assert part.log.delete_records(20) == 20
    assert part.log.segment_count == 1
    assert part.log.error is None
    part.append(b"next")
    part.lose_power_and_open()
    assert part.log.log_start_offset == 20
    assert part.log.log_end_offset in (20, 21)


def test_a_rolled_segment_is_trimmed_before_anyone_hears_of_the_next() -> None:
    part = Partition(segment_bytes=str(64 << 10), durability="page_cache")
    while part.log.segment_count < 2:
        part.append(bytes(5000))
    first, _ = part.files(".log")
    size = part.memory.open(f"{DIRECTORY}/{first}", write=False).size()
    assert size == part.log._view.segments[0].size
    assert size % 4096


def test_a_disk_that_fills_at_a_roll_does_not_lose_the_latest_time() -> None:
    part = Partition(segment_bytes=str(16 << 10))
    for number in range(7):
        part.append(bytes(2000), timestamp=1000 + number)
    part.flusher.run_round()
    part.memory.inject("allocate", errno.ENOSPC, path_contains=".timeindex", times=None)
    part.memory.inject("write", errno.ENOSPC, path_contains=".timeindex", times=None)
    for number in range(7, 12):
        part.append(bytes(2000), timestamp=1000 + number)
    part.flusher.run_round()
    assert part.log.error is None
    part.memory.kill()
    part.reopen()
    assert part.log.segment_count == 2
    for number in range(12):
        assert part.log.offset_for_timestamp(1000 + number) == (number, 1000 + number)


def test_a_full_disk_at_a_roll_refuses_the_batch_and_nothing_else() -> None:
    part = Partition(segment_bytes=str(16 << 10))
    while part.log._view.segments[0].size + 2100 < 16 << 10:
        part.append(bytes(2000))
    end = part.log.log_end_offset
    part.memory.inject("allocate", errno.ENOSPC, path_contains=".log", times=None)
    with pytest.raises(DiskFullError):
        part.append(bytes(2000))
    part.flusher.run_round()
    assert part.log.high_watermark == end
    part.memory.heal()
    part.put(bytes(2000))
    assert len(part.values()) == end + 1


class CutShortFile:
    """The disk is full when all but the last byte of a batch is written; it is not told to readers
    of the file, who find the zero that the file held there."""

    def __init__(self, file: File) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, buffers: Sequence[ReadableBuffer], position: int) -> int:
        self._file.write([b"".join(buffers)[:-1]], position)
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("last_byte", [b"\0", b"x"])
def test_a_batch_cut_short_by_a_full_disk_is_stored_or_never_found(last_byte: bytes) -> None:
    """If only zeros are missing it is whole: refused, it could come to life after a power loss."""
    for seed in range(40):
        part = Partition(MemoryFileSystem(seed))
        part.put(b"a")
        files = part.cache.pin(part.log._writer._active)
        part.cache.unpin(part.log._writer._active)
        whole, files.log = files.log, CutShortFile(files.log)
        batch = encode_batch([b"b"], timestamps=0, headers=[(("h", last_byte),)])
        expected = [b"a", b"b"] if last_byte == b"\0" else [b"a"]
        try:
            part.log.append(batch)
        except DiskFullError:
            assert last_byte != b"\0"
        files.log = whole
        if seed % 2:
            part.flusher.run_round()
            part.lose_power_and_open()
            assert part.values() == expected
        else:
            part.lose_power_and_open()
            assert part.values() in ([b"a"], expected)


def test_appends_during_close_are_refused_and_lose_nothing() -> None:
    part = Partition()
    part.append(b"a")
    part.log._writer.begin_close(StoreClosedError("closing"))
    with pytest.raises(StoreClosedError):
        part.log.append(encode_batch([b"b"], timestamps=0))
    assert part.close()
    part.reopen()
    assert part.values() == [b"a"]
    assert not part.log.recovery_report.was_unclean


def test_flushed_segments_keep_their_names_whatever_the_way_to_sync() -> None:
    for seed in range(30):
        limits = StoreConfig(syncfs_threshold=(1, 4, 100)[seed % 3])
        part = Partition(MemoryFileSystem(seed), limits=limits, segment_bytes=str(16 << 10))
        for _ in range(20):
            part.put(bytes(2000))
        part.lose_power_and_open()
        assert len(part.values()) == 20


def test_a_jump_of_the_wall_clock_forgets_no_producer() -> None:
    """A batch that is sent again would be stored a second time."""
    day = 86_400_000
    partition = Partition()
    log = partition.log
    plain = encode_batch([b"a"], producer_id=7, producer_epoch=0, base_sequence=0)
    opened = encode_batch(
        [b"b"], producer_id=8, producer_epoch=0, base_sequence=0, is_transactional=True
    )
    for batch in (plain, opened):
        log.append(batch)
    for jump in (2 * day, -4 * day):
        partition.clock.set_now_ms(partition.clock.now_ms() + jump)
        partition.clock.advance(60)
        assert log.expire_producers(day) == 0
        assert log.append(plain).duplicate
    partition.clock.advance(2 * day / 1000)
    assert log.expire_producers(day) == 1
    assert not log.append(plain).duplicate
    assert log.append(opened).duplicate, "its transaction is open"


def test_a_closed_segment_has_its_index_files_even_without_an_entry() -> None:
    """Kafka's dump tool takes a log without them for damage."""
    part = Partition(segment_bytes=str(16 << 10))
    part.put(bytes(12_000))
    part.put(bytes(12_000))
    first, second = sorted(part.files(".log"))
    part.close_and_open()
    for log in (first, second):
        assert part.content(log.replace(".log", ".index")) == b""
        assert len(part.content(log.replace(".log", ".timeindex"))) == 12


def test_the_state_file_knows_of_a_flush_before_anybody_sees_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who saw it may be killed with the process at once."""
    part = Partition()
    part.put(b"a")
    seen: list[int] = []
    real = MemoryFile.write

    def write(file: MemoryFile, buffers: Sequence[bytes], position: int) -> int:
        if file.path.endswith("/state"):
            seen.append(part.log.high_watermark)
        return real(file, buffers, position)

    monkeypatch.setattr(MemoryFile, "write", write)
    part.put(b"b")
    assert seen == [1]
    assert part.log.high_watermark == 2


@pytest.mark.parametrize("log_start", [0, 1])
def test_a_slot_that_was_prepared_before_a_change_is_made_anew(log_start: int) -> None:
    """In a round a segment is rolled, and the log start may rise."""
    part = Partition(segment_bytes="16384")
    part.put(b"a" * 5000)
    part.put(b"b" * 5000)
    part.append(b"c" * 5000)
    writer = part.log._writer
    real = writer._sync_directory

    def in_the_round() -> None:
        if log_start:
            writer.drop([], log_start)
        part.append(b"d" * 5000)  # in the next segment
        real()

    writer._sync_directory = in_the_round  # type: ignore[method-assign]
    writer._is_directory_dirty = True
    part.flusher.run_round()
    reader = StateReader(part.fs, "store/state")
    slot = reader.read(TOPIC_ID, 0)
    assert slot is not None
    assert (slot.flushed_offset, slot.log_start_offset) == (3, log_start)
    assert slot.generation == writer._generation


class Idle:
    """Another partition, which has nothing to flush after all."""

    def begin_flush(self) -> None:
        return None

    def finish_flush(self, plan: object) -> None:
        raise AssertionError


def test_the_disk_begins_with_an_append_that_a_round_will_have_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[tuple[int, int]] = []
    monkeypatch.setattr(
        MemoryFile,
        "start_write_back",
        lambda _file, position, count: begun.append((position, count)),
    )
    part = Partition()
    batch = encode_batch([b"v"], timestamps=1)

    def append(flush: Flush) -> None:
        part.log.append(batch, flush=flush)

    append(Flush.LED)
    append(Flush.LED)  # the first is not flushed yet: one write will do for both
    part.flusher.run_round()
    append(Flush.LATER)
    part.flusher.run_round()
    part.flusher._is_running = True
    append(Flush.LED)
    part.flusher._is_running = False
    part.flusher.run_round()
    part.flusher._dirty[Idle()] = None
    append(Flush.LED)
    part.flusher.run_round()
    append(Flush.LED)
    size = len(batch)
    assert begun == [(0, size), (5 * size, size)]


def test_a_write_that_failed_leaves_no_segment_dirty() -> None:
    part = Partition()
    part.memory.inject("write", errno.ENOSPC, path_contains=".log")
    with pytest.raises(DiskFullError):
        part.append(b"a")
    assert not part.log._writer._active.is_dirty
    assert part.put(b"b") == 0


def test_what_is_refused_because_an_index_cannot_be_opened_is_not_there_after_a_crash() -> None:
    part = Partition()
    part.put(b"a")
    part.close_and_open()
    part.memory.inject("open", errno.ENOSPC, path_contains=".timeindex", times=None)
    with pytest.raises(DiskFullError):
        part.append(b"b")
    part.memory.heal()
    part.memory.kill()
    part.reopen()
    assert part.values() == [b"a"]
