"""Block checksums: the sidecar's bytes, who writes it when, and what a flipped bit comes to."""

from __future__ import annotations

import errno

import pytest

from logstore.errors import CorruptDataError
from logstore.fs import File
from logstore.log.checksums import (
    BlockChecks,
    SumsWriter,
    covers,
    damaged_blocks,
    decode_sums,
    read_sums,
)
from logstore.log.format import BLOCK_BYTES
from logstore.log.salvage import FileBytes
from logstore.record import iter_batches
from logstore.testing import MemoryFileSystem, RecordingFileSystem
from tests.log.support import DIRECTORY, Partition

STEM = f"{0:020d}"
LATEST = {"max_timestamp": 1234, "max_timestamp_at": 7}


def log_file(memory: MemoryFileSystem, content: bytes) -> File:
    file = memory.open("x.log", create=True)
    file.truncate(0)
    file.write([content], 0)
    return file


def noise(count: int) -> bytes:
    return bytes(index * 7 % 251 for index in range(count))


# --- the sidecar ------------------------------------------------------------------------------


def test_golden_bytes() -> None:
    memory = MemoryFileSystem()
    log = log_file(memory, b"abc" * 30_000)  # one block and a part
    SumsWriter(memory, "x").finish(log, 90_000, max_timestamp=1234, max_timestamp_at=7)
    file = memory.open("x.crc")
    assert file.read(100, 0).hex() == (
        "4c534331" "00010000" "0369e674" "56e1a6cd" "0000000000015f90" "7a873b89"
        "00000000000004d2" "00000007" "45a2e1fc"
    )  # fmt: skip


@pytest.mark.parametrize("size", [1, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 5])
def test_a_finished_sidecar_tells_of_every_byte(size: int) -> None:
    memory = MemoryFileSystem()
    content = noise(size)
    SumsWriter(memory, "x").finish(log_file(memory, content), size, **LATEST)
    sums = read_sums(memory, "x")
    assert (sums.is_whole, sums.size, len(sums.crcs)) == (True, size, -(-size // BLOCK_BYTES))
    assert covers(memory, "x", size)
    assert not covers(memory, "x", size + 1)
    for position in {0, size // 2, size - 1}:
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        block = position // BLOCK_BYTES * BLOCK_BYTES
        end = min(block + BLOCK_BYTES, size)
        source = FileBytes(log_file(memory, bytes(flipped)), size)
        assert damaged_blocks(source, sums) == [(block, end)]
        checks = BlockChecks(sums)
        assert not checks.is_sound(memoryview(flipped), position, position + 1)
        assert checks.damaged_blocks() == [(block, end)]
    assert BlockChecks(sums).is_sound(memoryview(content), 0, size)


def test_a_sidecar_grows_with_its_log_and_is_gone_on_with() -> None:
    memory = MemoryFileSystem()
    content = noise(5 * BLOCK_BYTES)
    log = log_file(memory, content)
    writer = SumsWriter(memory, "x")
    writer.extend(log, BLOCK_BYTES - 1)
    assert not memory.exists("x.crc")
    writer.extend(log, 2 * BLOCK_BYTES + 9)
    assert read_sums(memory, "x").size == 2 * BLOCK_BYTES
    SumsWriter(memory, "x").finish(log, 2 * BLOCK_BYTES + 9, **LATEST)  # closed
    again = SumsWriter(memory, "x")
    assert again.covered == 2 * BLOCK_BYTES
    again.extend(log, 4 * BLOCK_BYTES)
    grown = read_sums(memory, "x")
    assert (grown.size, grown.is_whole) == (4 * BLOCK_BYTES, False)
    again.finish(log, len(content), **LATEST)
    fresh = MemoryFileSystem()
    SumsWriter(fresh, "x").finish(log_file(fresh, content), len(content), **LATEST)
    assert read_sums(memory, "x") == read_sums(fresh, "x")


def test_of_a_damaged_sidecar_what_lies_before_the_damage_is_believed() -> None:
    memory = MemoryFileSystem()
    size = 4 * BLOCK_BYTES + 1
    SumsWriter(memory, "x").finish(log_file(memory, noise(size)), size, **LATEST)
    data = memory.open("x.crc").read(1000, 0)
    sums = decode_sums(data)
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            found = decode_sums(bytes(damaged))
            assert not found.is_whole
            assert list(found.crcs) == list(sums.crcs[: len(found.crcs)])
            assert len(found.crcs) == min(4, max(0, position - 8) // 8) * (position >= 8)
    for end in range(len(data)):
        cut = decode_sums(data[:end])
        assert not cut.is_whole
        assert list(cut.crcs) == list(sums.crcs[: max(0, min(4, (end - 8) // 8))])


def test_a_sidecar_that_cannot_be_written_is_left_out() -> None:
    partition = Partition()
    partition.memory.inject("write", errno.EIO, path_contains=".crc", times=None)
    partition.put(bytes(70_000))
    assert partition.append(b"x") == 1
    partition.memory.heal()
    partition.put(bytes(70_000))
    assert read_sums(partition.memory, f"{DIRECTORY}/{STEM}").size == 2 * BLOCK_BYTES


# --- who writes it ----------------------------------------------------------------------------


def test_a_sealed_segment_has_its_sidecar_synced_before_its_end_is_flushed() -> None:
    memory = MemoryFileSystem()
    recording = RecordingFileSystem(memory)
    partition = Partition(memory, fs=recording, segment_bytes=str(16 << 10))
    for _ in range(3):
        partition.put(bytes(10_000))
    synced = recording.index("sync", f"{STEM}.crc")
    assert recording.index("write", f"{STEM}.crc") < synced
    assert recording.index("write", "state", synced) > synced
    assert partition.files(".crc") == [f"{0:020d}.crc", f"{1:020d}.crc"]


def test_a_clean_close_leaves_a_sidecar_of_everything() -> None:
    partition = Partition()
    partition.put(b"a" * 100)
    partition.close_and_open()
    assert not partition.log.recovery_report.was_unclean
    partition.put(b"b" * 100_000)
    partition.close_and_open()
    assert not partition.log.recovery_report.was_unclean
    size = len(partition.content(f"{STEM}.log"))
    assert covers(partition.memory, f"{DIRECTORY}/{STEM}", size)


@pytest.mark.parametrize("is_torn", [False, True])
def test_a_sidecar_that_is_missing_or_torn_is_made_anew(is_torn: bool) -> None:
    partition = Partition(segment_bytes=str(16 << 10))
    for index in range(5):
        partition.put(bytes([index]) * 7000)
    partition.close()
    name = f"{0:020d}.crc"
    before = partition.content(name)
    if is_torn:
        flip(partition, name, len(before) - 3)
    else:
        partition.memory.unlink(f"{DIRECTORY}/{name}")
    partition.reopen()
    assert partition.content(name) == before
    (note,) = partition.log.recovery_notes
    assert name in note
    assert "made anew" in note
    assert [offset for offset, _ in partition.read()] == list(range(5))


def test_recovery_makes_no_checksum_of_damaged_bytes() -> None:
    partition = Partition(segment_bytes=str(16 << 10))
    for index in range(5):
        partition.put(bytes([index]) * 7000)
    partition.close()
    partition.memory.unlink(f"{DIRECTORY}/{STEM}.crc")
    partition.damage(f"{STEM}.log", 7100, b"?")  # in the second batch
    partition.reopen()
    assert any("are damaged; they were moved to" in note for note in partition.log.recovery_notes)
    assert [offset for offset, _ in partition.read()] == [0, 2, 3, 4]


def test_a_killed_log_is_walked_from_where_its_checksums_end() -> None:
    partition = Partition()
    for index in range(100):
        partition.put(bytes([index]) * 5000)
    partition.kill_and_open()
    assert partition.log.recovery_report.bytes_scanned < 2 * BLOCK_BYTES
    partition.lose_power_and_open()
    assert partition.log.recovery_report.bytes_scanned > 500_000


# --- what a flipped bit comes to --------------------------------------------------------------


def flip(partition: Partition, name: str, position: int) -> None:
    value = partition.content(name)[position]
    partition.damage(name, position, bytes([value ^ 1]))


def sizes(partition: Partition, name: str) -> list[int]:
    return [len(batch) for batch in iter_batches(partition.content(name))]


def readable(partition: Partition) -> tuple[list[int], list[int]]:
    """(offsets that are served, first offsets of what is refused)."""
    served: list[int] = []
    refused: list[int] = []
    position = 0
    while position < partition.log.high_watermark:
        try:
            found = [offset for offset, _ in partition.read(position)]
        except CorruptDataError as error:
            first = int(str(error.details["first_offset"]))
            if first > position:
                # What lies before is served; `read` throws it away with the error.
                with partition.log.read(position, bytes_max=1, cold_ok=True) as lease:
                    (batch,) = iter_batches(lease.data)
                    served.append(int.from_bytes(bytes(batch[:8]), "big"))
                    position = served[-1] + 1
                    continue
            refused.append(first)
            position = int(str(error.details["next_offset"]))
        else:
            served += found
            break
    return served, refused


HEADER_OF_NO_CRC = [0, 7, 8, 11, 15, 16, 17, 20]


@pytest.mark.parametrize("at", [*HEADER_OF_NO_CRC, 21, 60, 400], ids="byte {}".format)
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
def test_a_flipped_bit_of_a_sealed_segment_is_refused_and_the_rest_served(
    at: int, clean: bool
) -> None:
    partition = Partition(segment_bytes=str(512 << 10))
    for index in range(200):
        partition.put(bytes([index]) * 3000)
    if clean:
        partition.close()
    else:
        partition.memory.kill()
    name = f"{STEM}.log"
    lengths = sizes(partition, name)
    assert sum(lengths) > 500_000
    flip(partition, name, sum(lengths[:50]) + at)
    partition.reopen()
    served, refused = readable(partition)
    assert 50 not in served
    assert refused
    lost = sorted(set(range(200)) - set(served))
    if at == 15:  # the leader epoch: the block's batches cannot be told apart
        assert 50 in lost
        assert len(lost) <= BLOCK_BYTES // 3000 + 2
    else:
        assert lost == [50]
        assert refused == [50]


def test_a_flipped_bit_of_the_active_segment_after_a_clean_close() -> None:
    partition = Partition()
    for index in range(10):
        partition.put(bytes([index]) * 300)
    partition.close()
    flip(partition, f"{STEM}.log", sum(sizes(partition, f"{STEM}.log")[:4]) + 7)
    partition.reopen()
    served, _ = readable(partition)
    assert 4 not in served
    assert served == sorted(set(served))
    assert set(served) >= {0, 1, 2, 3, 5, 6, 7, 8, 9}


def test_a_flipped_leader_epoch_of_a_killed_log_is_put_right() -> None:
    partition = Partition()
    for index in range(10):
        partition.put(bytes([index]) * 300)
    before = partition.content(f"{STEM}.log")
    partition.memory.kill()
    flip(partition, f"{STEM}.log", 15)
    partition.reopen()
    assert partition.content(f"{STEM}.log")[:2000] == before[:2000]
    (note,) = partition.log.recovery_notes
    assert "offset 0, has leader epoch 1, leader-epoch-checkpoint says 0; it was put right" in note


def test_a_checkpoint_that_no_batch_agrees_with_changes_none() -> None:
    partition = Partition()
    for index in range(3):
        partition.put(bytes([index]) * 300)
    before = partition.content(f"{STEM}.log")
    partition.memory.kill()
    partition.damage("leader-epoch-checkpoint", 4, b"1")
    partition.reopen()
    assert partition.content(f"{STEM}.log")[:900] == before[:900]
    assert len(partition.log.recovery_notes) == 3
    assert partition.log.leader_epoch == 2


def test_a_time_look_up_does_not_answer_from_damaged_batches() -> None:
    partition = Partition()
    for index in range(10):
        partition.put(b"x" * 300, timestamp=1000 + index)
    partition.close()
    flip(partition, f"{STEM}.log", sum(sizes(partition, f"{STEM}.log")[:4]) + 100)
    partition.reopen()
    assert partition.log.offset_for_timestamp(1003) == (3, 1003)
    with pytest.raises(CorruptDataError, match="offsets 4 to 4"):
        partition.log.offset_for_timestamp(1004)


def test_the_time_index_is_not_what_tells_the_largest_timestamp_of_a_segment() -> None:
    partition = Partition(segment_bytes=str(16 << 10))
    for index in range(6):
        partition.put(bytes(6000), timestamp=1000 + index)
    partition.close()
    name = f"{STEM}.timeindex"
    partition.damage(name, 0, bytes(len(partition.content(name))))
    partition.reopen()
    assert not partition.log.recovery_report.was_unclean
    assert partition.log.offset_for_timestamp(1001) == (1, 1001)
    assert partition.log.offset_for_max_timestamp() == (5, 1005)


@pytest.mark.parametrize("position", range(24))
def test_a_time_index_entry_that_no_batch_bears_out_is_not_used(position: int) -> None:
    partition = Partition(segment_bytes=str(512 << 10), index_interval_bytes="1000")
    for index in range(100):
        partition.put(bytes(6000), timestamp=1000 + 10 * index)
    partition.close()
    flip(partition, f"{STEM}.timeindex", 12 * 40 + position)
    partition.reopen()
    for index in range(85):
        assert partition.log.offset_for_timestamp(995 + 10 * index) == (index, 1000 + 10 * index)


@pytest.mark.parametrize("position", range(12))
def test_a_killed_log_does_not_take_its_largest_timestamp_from_a_wrong_entry(position: int) -> None:
    partition = Partition(segment_bytes=str(1 << 20), index_interval_bytes="1000")
    for index in range(100):
        partition.put(bytes(6000), timestamp=5001 if index == 3 else 1000)
    partition.memory.kill()
    flip(partition, f"{STEM}.timeindex", 12 + position)  # the last one, which is of batch 3
    partition.reopen()
    assert partition.log.offset_for_timestamp(5001) == (3, 5001)
    assert partition.log.offset_for_max_timestamp() == (3, 5001)
