"""Appends, reads, deletions and cleanings at once on a real file system, with few open files."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from logstore.clock import SystemClock
from logstore.config import StoreConfig, TopicConfig
from logstore.errors import LogStoreError, OffsetOutOfRangeError
from logstore.fs import RealFileSystem
from logstore.log import Cleaner, Flusher, Lease, PartitionLog, SegmentCache, StateFile
from logstore.record import check_crc, decode_records, encode_batch, iter_batches, parse_header

SECONDS = 2.0
PARTITIONS = 20
OPEN_SEGMENTS = 8
LEASES_HELD = 50


class Crowd:
    def __init__(self, root: Path, executor: ThreadPoolExecutor) -> None:
        fs, clock = RealFileSystem(), SystemClock()
        limits = StoreConfig(open_segments_max=OPEN_SEGMENTS)
        self.state = StateFile.open(fs, f"{root}/state")
        self.cache = SegmentCache(OPEN_SEGMENTS)
        self.flusher = Flusher(fs, str(root), limits=limits, clock=clock, executor=executor)
        self.logs: list[PartitionLog] = []
        self.held: list[tuple[Lease, bytes]] = []
        self.appended = self.reads = 0
        self.latest: dict[tuple[PartitionLog, bytes], int] = {}  # offset of a key's last record
        self.noting = threading.Lock()
        self.cleaner = Cleaner(lambda: self.logs, secret=b"secret")
        for number in range(PARTITIONS):
            topic_id = uuid.uuid4()
            overrides = {
                "segment_bytes": str(16 << 10),
                "durability": "fsync" if number % 2 else "page_cache",
                "retention_bytes": "200000",
                "cleanup_policy": "delete" if number % 4 < 2 else "compact,delete",
                "min_cleanable_dirty_ratio": "0.1",
            }
            self.logs.append(
                PartitionLog.create(
                    fs,
                    f"{root}/t-{number}",
                    topic="t",
                    topic_id=topic_id,
                    partition=number,
                    config=TopicConfig.from_overrides(overrides),
                    limits=limits,
                    clock=clock,
                    slot=self.state.slot(topic_id, number),
                    segments=self.cache,
                    flusher=self.flusher,
                )
            )

    def append(self) -> None:
        log = random.choice(self.logs)
        key = b"%d" % random.randrange(5)
        value = random.randbytes(random.randrange(3000))
        last_offset = log.append(encode_batch([value], [key], self.appended)).last_offset
        with self.noting:
            self.latest[log, key] = max(last_offset, self.latest.get((log, key), 0))
            self.appended += 1
        if self.appended % 3 == 0:
            outcome: list[LogStoreError | None] = []
            log.on_high_watermark(last_offset + 1, outcome.append)
            self.flusher.help(lambda: bool(outcome), 20)
            assert outcome == [None]

    def read(self) -> None:
        log = random.choice(self.logs)
        start, end = log.log_start_offset, log.high_watermark
        if start >= end:
            return
        offset = random.randrange(start, end)
        try:
            lease = log.read(offset, bytes_max=random.randrange(20_000), cold_ok=True)
            log.offset_for_timestamp(random.randrange(self.appended))
            log.offset_for_max_timestamp()
        except OffsetOutOfRangeError:  # deleted meanwhile
            return
        batches = list(iter_batches(lease.data))
        first = parse_header(batches[0])
        assert offset <= first.last_offset
        assert first.base_offset <= offset or log.config.is_compacted
        assert all(check_crc(batch) for batch in batches)
        self.reads += 1
        self.held.append((lease, bytes(lease.data)))
        if len(self.held) > LEASES_HELD:
            lease, content = self.held.pop(0)
            assert lease.data == content
            lease.close()

    def delete(self) -> None:
        log = random.choice(self.logs)
        log.apply_retention(0)
        log.delete_records(
            max(log.log_start_offset, log.high_watermark - (300 if log.config.is_compacted else 40))
        )
        time.sleep(0.01)

    def clean(self) -> None:
        self.cleaner.begin()
        while self.cleaner.step():
            pass
        time.sleep(0.01)

    def check_latest(self) -> None:
        for (log, key), offset in self.latest.items():
            if offset >= log.log_start_offset:
                with log.read(offset, bytes_max=1, cold_ok=True) as lease:
                    (record,) = decode_records(lease.data, decompressed_bytes_max=1 << 20)
                    assert (record.offset, record.key) == (offset, key)


def test_everybody_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as executor:
        crowd = Crowd(tmp_path, executor)
        end = time.monotonic() + SECONDS
        failures: list[BaseException] = []

        def run(work: Callable[[], None]) -> None:
            try:
                while time.monotonic() < end and not failures:
                    work()
            except BaseException as failure:
                failures.append(failure)

        works = (*[crowd.append] * 2, *[crowd.read] * 2, crowd.delete, crowd.clean)
        threads = [threading.Thread(target=run, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if failures:
            raise failures[0]
        assert crowd.appended > 100
        assert crowd.reads > 100
        assert crowd.cleaner.cleaned >= 3
        for log in crowd.logs:
            log.flush()
        crowd.check_latest()
        assert crowd.cache.open_count <= OPEN_SEGMENTS + 2  # two append at once
        crowd.held.clear()
        assert crowd.cache.leases.count == 0
        closed = [log.close() for log in crowd.logs]
        assert all(closed)
        assert crowd.cache.open_count == 0
        crowd.state.close(clean=True)
