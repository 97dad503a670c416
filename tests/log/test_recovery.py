from __future__ import annotations

import errno

import pytest

from logstore.config import StoreConfig
from logstore.errors import CorruptDataError, DiskFullError, StorageFailedError
from logstore.log import PartitionLog
from logstore.record import encode_batch
from logstore.testing import MemoryFileSystem, RecordingFileSystem
from tests.log.support import DIRECTORY, Partition

FIRST = f"{0:020d}.log"


def test_a_clean_close_needs_no_recovery() -> None:
    partition = Partition(segment_bytes=str(16 << 10))
    for index in range(12):
        partition.put(bytes([index]) * 3000)
    epoch = partition.log.leader_epoch
    partition.close_and_open()
    assert not partition.log.recovery_report.was_unclean
    assert partition.log.leader_epoch == epoch
    assert [offset for offset, _ in partition.read()] == list(range(12))
    assert partition.append(b"next") == 12


def test_an_unclean_end_raises_the_epoch_before_the_first_append() -> None:
    partition = Partition()
    partition.put(b"a")
    partition.kill_and_open()
    assert partition.log.leader_epoch == 1
    assert partition.content("leader-epoch-checkpoint") == b"0\n2\n0 0\n1 1\n"
    assert partition.log.end_offset_for_epoch(0) == (0, 1)


def test_after_a_kill_everything_appended_is_there() -> None:
    partition = Partition()
    partition.put(b"a")
    partition.append(b"not flushed")
    partition.kill_and_open()
    assert partition.values() == [b"a", b"not flushed"]
    assert partition.log.recovery_notes == []


def test_a_failure_that_nobody_was_told_of_does_not_stop_recovery() -> None:
    """Linux tells it to the first who syncs, which is recovery; nothing unsynced is trusted."""
    partition = Partition(index_interval_bytes="64", segment_bytes=str(16 << 10))
    partition.put(b"a" * 100)
    for _ in range(5):
        partition.append(b"not flushed" * 20)
    partition.memory.inject("sync_file_system")
    with pytest.raises(OSError, match="Input/output"):
        partition.memory.sync_file_system("store")
    partition.kill_and_open()
    expected = [b"a" * 100] + [b"not flushed" * 20] * 5
    assert partition.values() == expected
    partition.lose_power_and_open()
    assert partition.values() == expected


def test_the_accepted_tail_is_synced_before_it_is_published() -> None:
    memory = MemoryFileSystem()
    partition = Partition(memory)
    partition.put(b"a")
    partition.append(b"tail")
    memory.kill()
    recording = RecordingFileSystem(memory)
    partition.fs = recording
    partition.reopen()
    written = recording.index("write", FIRST)
    synced = recording.index("sync", FIRST, written)
    directory = recording.index("sync_directory", DIRECTORY, synced)
    epoch = recording.index("rename", "leader-epoch-checkpoint.new", directory)
    published = recording.index("write", "state", epoch)
    assert written < synced < directory < epoch < published
    assert partition.log.high_watermark == 2


def test_a_tail_torn_at_any_byte_is_cut() -> None:
    sample = Partition()
    sample.put(b"kept")
    start = sample.log.size_bytes
    sample.append(b"torn" * 10)
    whole = sample.content(FIRST)[: sample.log.size_bytes]
    for end in range(start, len(whole) - 1):  # the last byte is a zero, as what follows
        partition = Partition()
        partition.put(b"kept")
        partition.damage(FIRST, start, whole[start:end])
        partition.kill_and_open()
        assert partition.values() == [b"kept"], end
        assert partition.files(".quarantine") == []
        assert partition.put(b"next") == 1
        partition.close_and_open()
        assert partition.values() == [b"kept", b"next"]


def test_valid_batches_behind_a_damaged_one_are_kept_for_people() -> None:
    partition = Partition()
    partition.put(b"a")
    position = partition.log.size_bytes
    partition.append(b"damaged")
    partition.append(b"valid")
    before = partition.content(FIRST)[: partition.log.size_bytes]
    partition.damage(FIRST, position + 65, b"\xff")
    partition.kill_and_open()
    assert partition.values() == [b"a"]
    (name,) = partition.files(".quarantine")
    kept = partition.content(name)
    assert kept[66:].startswith(before[position + 66 :])
    assert any("damaged" in note and name in note for note in partition.log.recovery_notes)


def test_what_is_set_aside_twice_at_one_offset_is_kept_twice() -> None:
    partition = Partition()
    partition.put(b"a")
    position = partition.log.size_bytes
    damaged = []
    for number in range(3):
        partition.append(b"damaged%d" % number)
        partition.append(b"valid")
        partition.damage(FIRST, position + 65, b"\xff")
        damaged.append(partition.content(FIRST)[position : partition.log.size_bytes])
        partition.kill_and_open()
    names = partition.files(".quarantine")
    assert names == sorted(f"{1:020d}{part}.quarantine" for part in ("", ".1", ".2"))
    found = [partition.content(name) for name in names]
    assert all(any(kept.startswith(part) for kept in found) for part in damaged)
    assert partition.values() == [b"a"]


def test_what_is_set_aside_again_after_a_crash_is_kept_once() -> None:
    partition = Partition()
    partition.put(b"a")
    position = partition.log.size_bytes
    partition.append(b"damaged")
    partition.append(b"valid")
    partition.damage(FIRST, position + 65, b"\xff")
    for _ in range(2):
        partition.memory.kill()
        partition.memory.inject("truncate", errno.EIO, path_contains=FIRST)
        with pytest.raises(StorageFailedError):
            partition.reopen()
    partition.kill_and_open()
    assert partition.files(".quarantine") == [f"{1:020d}.quarantine"]
    assert partition.files(".tmp") == []


def test_damage_below_the_flushed_offset_costs_only_the_damaged_batch() -> None:
    partition = Partition()
    places = []
    for value in (b"a", b"b", b"c", b"d"):
        places.append(partition.log.size_bytes)
        partition.put(value)
    partition.damage(FIRST, places[1] + 16, b"\x07")  # its magic: the chain of headers breaks
    partition.kill_and_open()
    assert partition.read() == [(0, b"a"), (2, b"c"), (3, b"d")]
    assert partition.log.high_watermark == 4
    assert len(partition.files(".quarantine")) == 1
    assert partition.put(b"e") == 4
    partition.close_and_open()
    assert partition.read() == [(0, b"a"), (2, b"c"), (3, b"d"), (4, b"e")]


def test_an_offset_is_never_used_twice_even_if_its_record_is_gone() -> None:
    partition = Partition()
    partition.put(b"a", b"b")
    partition.memory.open(f"{DIRECTORY}/{FIRST}").truncate(0)
    partition.kill_and_open()
    assert partition.log.high_watermark == 2
    assert any("missing" in note for note in partition.log.recovery_notes)
    assert partition.put(b"c") == 2
    assert partition.read(2) == [(2, b"c")]


def test_a_power_loss_loses_only_what_was_not_flushed() -> None:
    for seed in range(300):
        partition = Partition(MemoryFileSystem(seed), segment_bytes=str(16 << 10))
        for index in range(8):
            partition.put(bytes([index]) * 3000)
        for index in range(8, 14):
            partition.append(bytes([index]) * 3000)
        partition.lose_power_and_open()
        found = partition.read()
        assert len(found) >= 8
        assert found == [(index, bytes([index]) * 3000) for index in range(len(found))]
        assert partition.put(b"next") == len(found)


def test_indexes_that_were_lost_are_made_anew() -> None:
    partition = Partition(segment_bytes=str(64 << 10), index_interval_bytes="100")
    for index in range(50):
        partition.append(bytes([index]) * 300, timestamp=index * 10)
    partition.flusher.run_round()
    partition.memory.power_loss()
    for suffix in (".index", ".timeindex"):
        partition.memory.open(f"{DIRECTORY}/{0:020d}{suffix}", create=True).write(
            [b"\x7f" * 4000], 0
        )
    partition.reopen()
    assert partition.log.offset_for_timestamp(255) == (26, 260)
    assert [offset for offset, _ in partition.read(33)] == list(range(33, 50))


def test_another_topics_directory_is_refused_untouched() -> None:
    partition = Partition()
    partition.put(b"a")
    assert partition.close()
    partition.damage("partition.metadata", 0, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n")
    with pytest.raises(CorruptDataError, match="another"):
        partition.reopen()


def test_a_missing_identity_is_refused() -> None:
    partition = Partition()
    assert partition.close()
    partition.memory.unlink(f"{DIRECTORY}/{PartitionLog.IDENTITY_FILE}")
    with pytest.raises(CorruptDataError, match="missing"):
        partition.reopen()


def test_a_value_that_looks_like_a_batch_is_no_batch() -> None:
    """A torn record whose value holds a valid batch of high offsets: nothing of it is served."""
    inner = bytearray(encode_batch([b"inner"], timestamps=1, base_offset=5))
    sample = Partition()
    sample.put(b"kept")
    start = sample.log.size_bytes
    sample.append(bytes(inner) * 3)
    whole = sample.content(FIRST)[: sample.log.size_bytes]
    partition = Partition()
    partition.put(b"kept")
    partition.damage(FIRST, start, whole[:-3][start:])
    partition.kill_and_open()
    assert partition.values() == [b"kept"]
    assert partition.log.high_watermark == 1


def test_producers_whose_records_are_gone_are_forgotten_not_remembered_wrongly() -> None:
    def send(partition: Partition, sequence: int, size: int) -> int:
        return partition.append(
            bytes(size), producer_id=1, producer_epoch=0, base_sequence=sequence
        )

    partition = Partition(segment_bytes=str(16 << 10))
    send(partition, 0, 10)
    partition.close_and_open()  # a snapshot that knows sequence 0
    send(partition, 1, 14_000)
    send(partition, 2, 14_000)
    partition.put(bytes(14_000))  # rolls again
    assert partition.log.delete_records(3) == 3
    for name in partition.files(".snapshot")[1:]:
        partition.memory.unlink(f"{DIRECTORY}/{name}")
    partition.kill_and_open()
    assert send(partition, 3, 10) == 4


def test_index_entries_that_a_failed_sync_left_in_memory_are_written_again() -> None:
    partition = Partition(
        limits=StoreConfig(syncfs_threshold=100),
        segment_bytes=str(16 << 10),
        index_interval_bytes="64",
    )
    for number in range(7):
        partition.put(bytes(2000), timestamp=1000 + number)
    partition.memory.inject("sync", path_contains=".timeindex", times=None)
    partition.append(bytes(2000), timestamp=1007)  # rolls: the indexes are synced now
    partition.flusher.run_round()
    partition.memory.heal()
    assert not partition.close()
    partition.reopen()
    partition.flusher.run_round()
    partition.lose_power_and_open()
    for number in range(8):
        assert partition.log.offset_for_timestamp(1000 + number) == (number, 1000 + number)


def test_what_is_moved_is_on_disk_before_it_leaves_its_place() -> None:
    """Power fails while damage below the flushed offset is being mended."""
    for seed in range(40):
        partition = Partition(MemoryFileSystem(seed))
        places = []
        for value in (b"a", b"b", b"c", b"d"):
            places.append(partition.log.size_bytes)
            partition.put(value)
        partition.damage(FIRST, places[1] + 16, b"\x07")
        partition.memory.sync_file_system("store")
        partition.memory.kill()
        partition.memory.inject("sync", path_contains=FIRST, after=1)  # the one after the cut
        with pytest.raises(StorageFailedError):
            partition.reopen()
        partition.lose_power_and_open()
        assert partition.read() == [(0, b"a"), (2, b"c"), (3, b"d")]
        assert partition.put(b"e") == 4


def test_a_log_start_that_the_state_file_contradicts() -> None:
    """The checkpoint has no CRC. After a clean close it is the wrong one; after a kill it may just
    have been written."""
    for kill in (False, True):
        partition = Partition()
        for _ in range(5):
            partition.put(b"x")
        partition.log.delete_records(2)
        if kill:
            partition.memory.kill()
        else:
            partition.close()
        partition.damage("log-start-offset-checkpoint", 8, b"3")
        partition.reopen()
        assert partition.log.log_start_offset == (3 if kill else 2)
        (note,) = partition.log.recovery_notes
        assert "log-start-offset-checkpoint says 3, the state file 2" in note


def test_a_damaged_slot_does_not_contradict_the_log_start() -> None:
    partition = Partition()
    for _ in range(5):
        partition.put(b"x")
    partition.log.delete_records(2)
    partition.close()
    partition.memory.open("store/state").write([b"?"], 128 + 40)
    partition.reopen()
    assert partition.log.log_start_offset == 2


@pytest.mark.parametrize("unlink_fails", [False, True])
def test_a_segment_file_that_a_failed_roll_left_costs_no_record(unlink_fails: bool) -> None:
    partition = Partition(segment_bytes=str(16 << 10))
    partition.put(b"a" * 10_000)
    partition.memory.inject("truncate", errno.ENOSPC, path_contains=FIRST)
    if unlink_fails:
        partition.memory.inject("unlink", path_contains=f"{1:020d}.log")
    with pytest.raises(DiskFullError):
        partition.append(b"b" * 10_000)
    assert partition.files(".log") == [FIRST, f"{1:020d}.log"][: 1 + unlink_fails]
    partition.put(b"c")
    partition.put(b"d")
    partition.lose_power_and_open()
    assert partition.values() == [b"a" * 10_000, b"c", b"d"]
    assert partition.log.recovery_notes == []
    assert partition.put(b"e") == 3


def test_an_empty_segment_that_follows_a_compacted_one_stays() -> None:
    """Without it the compacted one would be the last, in which a gap between offsets is damage."""
    partition = Partition(segment_bytes=str(16 << 10))
    for value in (b"a", b"b", b"c"):
        partition.put(value)
    writer = partition.log._writer
    with writer._lock:
        writer._roll(1)
    writer.flush_now()
    partition.memory.kill()
    content = partition.content(FIRST)
    first = len(content) // 3
    partition.damage(FIRST, 0, content[first:])
    partition.memory.open(f"{DIRECTORY}/{FIRST}").truncate(2 * first)
    partition.memory.unlink(f"{DIRECTORY}/{FIRST.replace('.log', '.crc')}")
    partition.reopen()
    assert partition.read() == [(1, b"b"), (2, b"c")]
    assert partition.files(".quarantine") == []
    assert partition.put(b"d") == 3
