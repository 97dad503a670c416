"""A partition log on a file system in memory, opened, killed and opened again."""

from __future__ import annotations

import uuid
from typing import Any

from logstore.config import StoreConfig, TopicConfig
from logstore.fs import FileSystem
from logstore.log import Flusher, PartitionLog, SegmentCache, StateFile
from logstore.record import decode_records, encode_batch, iter_batches
from logstore.testing import ManualClock, MemoryFileSystem

TOPIC_ID = uuid.UUID(int=7)
DIRECTORY = "store/t-0"
LIMIT = 1 << 30


class Partition:
    """What a store does around one partition log."""

    def __init__(
        self,
        memory: MemoryFileSystem | None = None,
        *,
        fs: FileSystem | None = None,
        limits: StoreConfig | None = None,
        **overrides: str,
    ) -> None:
        self.memory = memory or MemoryFileSystem()
        self.fs = fs or self.memory
        self.clock = ManualClock()
        self.limits = limits or StoreConfig()
        self.config = TopicConfig.from_overrides(overrides)
        self.memory.make_directory("store")
        self.log = self._start(create=True)
        self.memory.sync_file_system("store")

    def _start(self, *, create: bool) -> PartitionLog:
        self.state = StateFile.open(self.fs, "store/state")
        self.cache = SegmentCache(self.limits.open_segments_max)
        self.flusher = Flusher(self.fs, "store", limits=self.limits, clock=self.clock)
        arguments: dict[str, Any] = {
            "topic": "t",
            "topic_id": TOPIC_ID,
            "partition": 0,
            "config": self.config,
            "limits": self.limits,
            "clock": self.clock,
            "slot": self.state.slot(TOPIC_ID, 0),
            "segments": self.cache,
            "flusher": self.flusher,
        }
        if create:
            log = PartitionLog.create(self.fs, DIRECTORY, **arguments)
        else:
            log = PartitionLog.open(self.fs, DIRECTORY, **arguments, clean=self.state.was_clean)
        self.state.begin()
        return log

    def append(self, *values: bytes | None, timestamp: int = 1000, **fields: int) -> int:
        """The base offset; not flushed."""
        batch = encode_batch(list(values), timestamps=timestamp, **fields)  # type: ignore[arg-type]
        return self.log.append(batch).base_offset

    def put(self, *values: bytes | None, timestamp: int = 1000) -> int:
        base = self.append(*values, timestamp=timestamp)
        self.flusher.run_round()
        return base

    def read(self, offset: int | None = None) -> list[tuple[int, bytes | None]]:
        """(offset, value) of everything visible from `offset` on."""
        position = self.log.log_start_offset if offset is None else offset
        found: list[tuple[int, bytes | None]] = []
        while position < self.log.high_watermark:
            with self.log.read(position, bytes_max=1, cold_ok=True) as lease:
                if not lease.data.nbytes:
                    break
                for batch in iter_batches(lease.data):
                    for record in decode_records(
                        batch, from_offset=position, decompressed_bytes_max=LIMIT
                    ):
                        found.append((record.offset, record.value))
                        position = record.offset + 1
        return found

    def values(self) -> list[bytes | None]:
        return [value for _, value in self.read()]

    def close(self) -> bool:
        clean = self.log.close()
        self.state.close(clean=clean)
        return clean

    def reopen(self) -> None:
        self.log = self._start(create=False)

    def close_and_open(self) -> None:
        assert self.close()
        self.reopen()

    def kill_and_open(self) -> None:
        self.memory.kill()
        self.reopen()

    def lose_power_and_open(self) -> None:
        self.memory.power_loss()
        self.reopen()

    def files(self, suffix: str) -> list[str]:
        return [n for n in self.memory.list_directory(DIRECTORY) if n.endswith(suffix)]

    def content(self, name: str) -> bytes:
        file = self.memory.open(f"{DIRECTORY}/{name}", write=False)
        return file.read(file.size(), 0)

    def damage(self, name: str, position: int, data: bytes) -> None:
        self.memory.open(f"{DIRECTORY}/{name}").write([data], position)
