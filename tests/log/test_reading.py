from __future__ import annotations

import errno
import os
import random
import uuid
from pathlib import Path

import pytest

from logstore.clock import SystemClock
from logstore.config import StoreConfig, TopicConfig
from logstore.errors import StorageFailedError
from logstore.fs import RealFileSystem
from logstore.log import Flusher, PartitionLog, SegmentCache, StateFile
from logstore.record import encode_batch, iter_batches, parse_header
from logstore.testing import MemoryFileSystem
from tests.log.support import DIRECTORY, Partition


def real_log(root: Path) -> PartitionLog:
    fs, limits, topic_id = RealFileSystem(), StoreConfig(), uuid.uuid4()
    state = StateFile.open(fs, str(root / "state"))
    return PartitionLog.create(
        fs,
        str(root / "t-0"),
        topic="t",
        topic_id=topic_id,
        partition=0,
        config=TopicConfig.from_overrides({"durability": "page_cache"}),
        limits=limits,
        clock=SystemClock(),
        slot=state.slot(topic_id, 0),
        segments=SegmentCache(100),
        flusher=Flusher(fs, str(root), limits=limits, clock=SystemClock()),
    )


def test_bytes_on_the_disk_only_are_not_waited_for_unless_that_is_wanted(tmp_path: Path) -> None:
    log = real_log(tmp_path)
    for _ in range(20):
        log.append(encode_batch([bytes(100_000)], timestamps=1))
    with log.read(3, bytes_max=1 << 20) as lease:
        if lease.cold:
            pytest.skip("this kernel cannot say what is in memory")
        expected = bytes(lease.data)
    log._writer.flush_now()
    del lease
    files = log._view.segments[0].files
    assert files is not None
    log._cache._open.clear()  # the map keeps its pages: let go of it
    log._view.segments[0].files = None
    files.close()
    fd = os.open(tmp_path / "t-0" / f"{0:020d}.log", os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    with log.read(3, bytes_max=1 << 20) as lease:
        assert lease.cold
        assert not lease.data.nbytes
    with log.read(3, bytes_max=1 << 20, cold_ok=True) as lease:
        assert not lease.cold
        assert lease.data == expected
    with log.read(3, bytes_max=1 << 20) as lease:
        assert lease.data == expected
    log.close()


def test_an_error_of_the_disk_is_an_exception_and_reads_go_on() -> None:
    part = Partition()
    part.put(b"a")
    part.memory.drop_caches()
    part.memory.inject("read", errno.EIO, path_contains=".log")
    with pytest.raises(StorageFailedError):
        part.log.read(0, bytes_max=100, cold_ok=True)
    assert part.values() == [b"a"]
    assert part.put(b"b") == 1


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
@pytest.mark.parametrize("seed", range(5))
def test_offsets_are_found_even_by_a_damaged_index(suffix: str, seed: int) -> None:
    chance = random.Random(seed)
    part = Partition(MemoryFileSystem(), segment_bytes=str(64 << 10), index_interval_bytes="200")
    for number in range(150):
        part.append(bytes(chance.randrange(400)), bytes(3), timestamp=number)
    part.flusher.run_round()
    part.damage(f"{0:020d}{suffix}", 0, chance.randbytes(400))
    segment = part.log._view.segments[0]
    segment.hints.clear()
    for offset in chance.sample(range(300), 100):
        segment.hints.clear()
        with part.log.read(offset, bytes_max=chance.randrange(5000), cold_ok=True) as lease:
            found = [parse_header(batch) for batch in iter_batches(lease.data)]
        assert found[0].base_offset <= offset <= found[0].last_offset
        ends = [header.last_offset for header in found]
        assert ends == list(range(ends[0], ends[0] + 2 * len(ends), 2))


def test_a_lost_time_index_is_made_up_by_the_batches() -> None:
    part = Partition(segment_bytes=str(16 << 10))
    for number in range(30):
        part.put(bytes(2000), timestamp=1000 + number)
    part.close()
    for name in part.files(".timeindex"):
        part.memory.unlink(f"{DIRECTORY}/{name}")
    part.reopen()
    for number in (0, 6, 7, 15, 29):
        assert part.log.offset_for_timestamp(1000 + number) == (number, 1000 + number)
    assert part.log.offset_for_max_timestamp() == (29, 1029)
