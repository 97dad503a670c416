"""Internal logs as the engine's parts see them: append records durably, replay them all.

`Journal` writes to one internal topic; its users (catalog, groups) know nothing of logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from logstore.api import ProducerIdentity
from logstore.clock import Clock
from logstore.errors import LogStoreError
from logstore.flush_wait import pending_flush
from logstore.log import AbortedTransaction, Flush, Flusher, Lease, PartitionLog
from logstore.pending import Pending
from logstore.record import (
    NO_PRODUCER_ID,
    BatchFields,
    BatchHeader,
    decode_records,
    encode_batch,
    iter_batches,
    parse_header,
)

READ_BYTES = 1 << 20  # what a replay holds of the log at a time

KeyValue = tuple[bytes, bytes | None]


def append_records(
    log: PartitionLog,
    flusher: Flusher,
    records: Sequence[KeyValue],
    now_ms: int,
    producer: ProducerIdentity | None = None,
) -> Pending[None]:
    """One batch, in the order given; done when it is on disk. With a producer it is part of that
    one's transaction."""
    fields: BatchFields = {}
    if producer is not None:
        fields = {
            "producer_id": producer.producer_id,
            "producer_epoch": producer.producer_epoch,
            "is_transactional": True,
        }
    batch = encode_batch(
        [value for _, value in records],
        [key for key, _ in records],
        timestamps=now_ms,
        **fields,
    )
    appended = log.append(batch, flush=Flush.LED, validated=True)
    return pending_flush(log, flusher, appended.last_offset, None)


class ReadableLog(Protocol):
    @property
    def log_start_offset(self) -> int: ...

    @property
    def high_watermark(self) -> int: ...

    def read(self, offset: int, *, bytes_max: int, cold_ok: bool = ...) -> Lease: ...


def batches(log: ReadableLog, from_offset: int = 0) -> Iterator[tuple[int, memoryview]]:
    """(offset from which its records count, batch), oldest first; each good until the next."""
    offset = max(from_offset, log.log_start_offset)
    while offset < log.high_watermark:
        with log.read(offset, bytes_max=READ_BYTES, cold_ok=True) as lease:
            if not lease.data.nbytes:
                return  # only a hole is left
            for batch in iter_batches(lease.data):
                yield offset, batch
                offset = parse_header(batch).last_offset + 1


def replay(
    log: ReadableLog, decompressed_bytes_max: int, from_offset: int = 0
) -> Iterator[tuple[bytes | None, bytes | None, int]]:
    """(key, value, timestamp) of every record from there on, oldest first."""
    for offset, batch in batches(log, from_offset):
        for record in decode_records(
            batch, from_offset=offset, decompressed_bytes_max=decompressed_bytes_max
        ):
            yield record.key, record.value, record.timestamp


def java_string_hash(text: str) -> int:
    """String.hashCode of Java without its sign, as Kafka finds a group's partition with it."""
    units = text.encode("utf-16-be", "surrogatepass")
    code = 0
    for high, low in zip(units[::2], units[1::2], strict=True):
        code = (31 * code + (high << 8 | low)) & 0xFFFFFFFF
    return code & 0x7FFFFFFF


class Journal:
    """An internal topic of keyed records, of which the newest of a key counts.

    The records of one entity (a group, a transactional id) are all in one partition, so their order
    is kept. Thread-safe.
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

    def partition_of(self, entity: str) -> int:
        return java_string_hash(entity) % len(self._logs)

    def append(
        self, records: Sequence[KeyValue], entity: str, producer: ProducerIdentity | None = None
    ) -> Pending[None]:
        """Done when all are on disk. With a producer they count when its transaction commits."""
        try:
            log = self._logs[self.partition_of(entity)]
            return append_records(log, self._flusher, records, self._clock.now_ms(), producer)
        except LogStoreError as error:
            return Pending.failed(error)

    def replay(self) -> Iterator[tuple[bytes, bytes | None, int]]:
        """(key, value, timestamp) of all records that count, each entity's in their order."""
        for producer_id, key, value, timestamp in self._read():
            if producer_id == NO_PRODUCER_ID:
                yield key, value, timestamp

    def replay_with_open(self) -> Iterator[tuple[int, bytes, bytes | None]]:
        """(producer id, key, value): those of open transactions with it, all others with -1."""
        for producer_id, key, value, _ in self._read():
            yield producer_id, key, value

    def _read(self) -> Iterator[tuple[int, bytes, bytes | None, int]]:
        """All but those of aborted transactions."""
        for log in self._logs:
            opened = log.open_transactions()
            aborted = _Aborted(log)
            for offset, batch in batches(log):
                header = parse_header(batch)
                began = opened.get(header.producer_id) if header.is_transactional else None
                is_open = began is not None and header.base_offset >= began[1]
                if header.is_control or aborted.has(header):
                    continue
                producer_id = header.producer_id if is_open else NO_PRODUCER_ID
                for record in decode_records(
                    batch,
                    from_offset=offset,
                    decompressed_bytes_max=self._decompressed_bytes_max,
                ):
                    yield producer_id, record.key or b"", record.value, record.timestamp


class _Aborted:
    """The aborted transactions of a log, asked for its batches in order."""

    def __init__(self, log: PartitionLog) -> None:
        self._by_producer: dict[int, list[AbortedTransaction]] = {}
        for entry in reversed(log.aborted):
            self._by_producer.setdefault(entry.producer_id, []).append(entry)

    def has(self, header: BatchHeader) -> bool:
        if not header.is_transactional:
            return False
        entries = self._by_producer.get(header.producer_id, [])
        while entries and entries[-1].last_offset < header.base_offset:
            entries.pop()
        return bool(entries) and entries[-1].first_offset <= header.base_offset
