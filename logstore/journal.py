"""Internal logs as the engine's parts see them: append records durably, replay them all.

`Journal` writes to one internal topic; its users (catalog, groups) know nothing of logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from logstore.clock import Clock
from logstore.errors import LogStoreError
from logstore.flush_wait import pending_flush
from logstore.log import Flusher, Lease, PartitionLog
from logstore.pending import Pending
from logstore.record import decode_records, encode_batch, iter_batches

READ_BYTES = 1 << 20  # what a replay holds of the log at a time

KeyValue = tuple[bytes, bytes | None]


def append_records(
    log: PartitionLog, flusher: Flusher, records: Sequence[KeyValue], now_ms: int
) -> Pending[None]:
    """One batch, in the order given; done when it is on disk."""
    batch = encode_batch(
        [value for _, value in records], [key for key, _ in records], timestamps=now_ms
    )
    appended = log.append(batch)
    return pending_flush(log, flusher, appended.last_offset, None)


class ReadableLog(Protocol):
    @property
    def log_start_offset(self) -> int: ...

    @property
    def high_watermark(self) -> int: ...

    def read(self, offset: int, *, bytes_max: int, cold_ok: bool = ...) -> Lease: ...


def replay(
    log: ReadableLog, decompressed_bytes_max: int, from_offset: int = 0
) -> Iterator[tuple[bytes | None, bytes | None, int]]:
    """(key, value, timestamp) of every record from there on, oldest first."""
    offset = max(from_offset, log.log_start_offset)
    while offset < log.high_watermark:
        with log.read(offset, bytes_max=READ_BYTES, cold_ok=True) as lease:
            if not lease.data.nbytes:
                return  # only a hole is left
            for batch in iter_batches(lease.data):
                for record in decode_records(
                    batch, from_offset=offset, decompressed_bytes_max=decompressed_bytes_max
                ):
                    yield record.key, record.value, record.timestamp
                    offset = record.offset + 1


def java_string_hash(text: str) -> int:
    """String.hashCode of Java without its sign, as Kafka finds a group's partition with it."""
    units = text.encode("utf-16-be", "surrogatepass")
    code = 0
    for high, low in zip(units[::2], units[1::2], strict=True):
        code = (31 * code + (high << 8 | low)) & 0xFFFFFFFF
    return code & 0x7FFFFFFF


class Journal:
    """The internal topic of committed offsets.

    A group's records are all in one partition, so their order is kept. Thread-safe.
    """

    def __init__(
        self,
        logs: Sequence[PartitionLog],
        flusher: Flusher,
        clock: Clock,
        decompressed_bytes_max: int,
    ) -> None:
        self._logs = logs
        self._flusher = flusher
        self._clock = clock
        self._decompressed_bytes_max = decompressed_bytes_max

    def append(self, records: Sequence[KeyValue], group_id: str) -> Pending[None]:
        try:
            log = self._logs[java_string_hash(group_id) % len(self._logs)]
            return append_records(log, self._flusher, records, self._clock.now_ms())
        except LogStoreError as error:
            return Pending.failed(error)

    def replay(self) -> Iterator[tuple[bytes, bytes | None, int]]:
        for log in self._logs:
            for key, value, timestamp in replay(log, self._decompressed_bytes_max):
                yield key or b"", value, timestamp
