"""A compacted partition on a file system in memory, which may die at any call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from logstore.config import StoreConfig
from logstore.record import (
    BatchHeader,
    decode_records,
    encode_batch,
    iter_batches,
    parse_header,
)
from logstore.testing import Call, MemoryFileSystem, RecordingFileSystem
from tests.log.support import LIMIT, Partition

T = TypeVar("T")
SECRET = b"secret"
SEGMENT_BYTES = 16 << 10
DAY_MS = 24 * 60 * 60 * 1000
PAD = bytes(2000)  # some eight values of it fill a segment


class PowerLost(BaseException):
    """Not an Exception: nothing that handles errors may handle this one."""


class DyingFileSystem(RecordingFileSystem):
    """Calls work until `calls_left` of them were made; then none does."""

    calls_left: int | None = None

    def run(self, call: Call, action: Callable[[], T]) -> T:
        if self.calls_left is not None:
            if self.calls_left == 0:
                raise PowerLost
            self.calls_left -= 1
        return super().run(call, action)


class Found(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None


class CompactedPartition(Partition):
    fs: DyingFileSystem

    def __init__(self, seed: int = 0, *, limits: StoreConfig | None = None, **overrides: str):
        memory = MemoryFileSystem(seed)
        options = {
            "segment_bytes": str(SEGMENT_BYTES),
            "cleanup_policy": "compact",
            "min_cleanable_dirty_ratio": "0",
            **overrides,
        }
        super().__init__(memory, fs=DyingFileSystem(memory), limits=limits, **options)

    def send(
        self,
        *records: tuple[bytes | None, bytes | None],
        timestamp: int = -1,
        **fields: Any,
    ) -> int:
        """One batch of (key, value), not flushed; its base offset."""
        batch = encode_batch(
            [value for _, value in records],
            [key for key, _ in records],
            timestamps=timestamp if timestamp >= 0 else self.clock.now_ms(),
            **fields,
        )
        # As the engine's own: transactional batches and markers too, and records without a key.
        return self.log.append(batch, validated=True).base_offset

    def fill(self, segments: int = 1) -> None:
        """Records of the key "pad" until so many segments more are sealed."""
        wanted = self.log.segment_count + segments
        while self.log.segment_count < wanted:
            self.send((b"pad", PAD))
        self.flusher.run_round()

    def clean(self) -> None:
        for _ in self.log.cleaner.clean(secret=SECRET):
            pass

    def batches(self) -> list[tuple[BatchHeader, bytes]]:
        """All that is visible."""
        found = []
        position = self.log.log_start_offset
        while position < self.log.high_watermark:
            with self.log.read(position, bytes_max=1 << 20, cold_ok=True) as lease:
                if not lease.data.nbytes:
                    break
                for batch in iter_batches(lease.data):
                    header = parse_header(batch)
                    found.append((header, bytes(batch)))
                    position = header.last_offset + 1
        return found

    def records(self) -> list[Found]:
        """Of all batches but markers, from the log start on."""
        return [
            Found(record.offset, record.key, record.value)
            for header, batch in self.batches()
            if not header.is_control
            for record in decode_records(
                batch, from_offset=self.log.log_start_offset, decompressed_bytes_max=LIMIT
            )
        ]

    def without_pad(self) -> list[Found]:
        return [found for found in self.records() if found.key != b"pad"]

    def latest(self) -> dict[bytes | None, tuple[int, bytes | None]]:
        return {key: (offset, value) for offset, key, value in self.records()}

    def reopen(self) -> None:
        self.fs = DyingFileSystem(self.memory)
        super().reopen()
