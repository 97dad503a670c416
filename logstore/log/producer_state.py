"""Producers of one partition: which sequence numbers it has seen, which transactions are open.

Rules (KIP-98, and as Kafka's brokers do since 3.x):
- Known per producer id: its epoch and its last five batches, the most a client has in flight.
- The same first and last sequence as one of the five: a duplicate, answered with its offsets.
- The successor of the last sequence (2^31-1 is followed by 0): new. Ahead of it: a gap, refused.
  Behind it: DuplicateSequenceError, stored before but its offset is forgotten.
- An old epoch is fenced. A new epoch starts at sequence 0.
- A producer id that is not known is accepted at any sequence: its state may have expired.
- The first transactional batch of a producer opens its transaction here, a marker ends it. The
  marker's epoch is the producer's from there on: it is raised with each transaction (KIP-890), so
  that a batch held up on its way is fenced.
- Who has written nothing for a while is forgotten (`expire`), unless a transaction is open.

`check` looks, `update` changes: an append that fails in between leaves no trace. Owned by the
partition, used under its lock.

Snapshot file, big-endian: Kafka's layout (so its tools read it), then what Kafka leaves out:

    0  2  version 1
    2  4  CRC-32C of everything after this field
    6  4  number of producers
       per producer:
        8  producer id      2  epoch       4  last sequence    8  last offset
        4  offset delta     8  timestamp   4  coordinator epoch (-1)
        8  first offset of the open transaction (-1)
    then per producer, in the same order:
        1  number of older batches (0 to 4), oldest first, each:
           4  last sequence   8  last offset   4  offset delta   8  timestamp
    then the aborted transactions of the log, ascending:
        4  their number
           8  producer id     8  first offset  8  offset of the marker  8  last stable offset then
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import crc32c

from logstore.errors import (
    DuplicateSequenceError,
    InvalidTransactionStateError,
    OutOfOrderSequenceError,
    ProducerFencedError,
)
from logstore.log.transactions import AbortedTransaction, Ended
from logstore.record import NO_PRODUCER_ID, NO_SEQUENCE, BatchHeader, Marker

SEQUENCES: Final = 1 << 31  # they wrap from SEQUENCES - 1 to 0
BATCHES_KEPT: Final = 5  # max.in.flight.requests.per.connection of an idempotent producer

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">hI")
_COUNT: Final = struct.Struct(">i")
_PRODUCER: Final = struct.Struct(">qhiqiqiq")
_OLDER: Final = struct.Struct(">iqiq")
_ABORTED: Final = struct.Struct(">qqqq")
NO_OFFSET: Final = -1


class SeenBatch(NamedTuple):
    base_sequence: int
    last_sequence: int
    base_offset: int
    last_offset: int
    timestamp_ms: int


class ProducerEntry(NamedTuple):
    epoch: int
    batches: tuple[SeenBatch, ...]  # oldest first; empty after a marker of a new epoch
    open_since: int = NO_OFFSET  # first offset of its open transaction
    used_ms: int = -1  # monotonic, when it last wrote; -1: before the log was opened


class KnownProducers(NamedTuple):
    """All of a partition, as they were when it was flushed up to `flushed_offset`."""

    entries: Mapping[int, ProducerEntry]
    flushed_offset: int
    end_offset: int

    def needs(self, header: BatchHeader, *, is_last: bool) -> bool:
        """Whether the batch, which is on disk, tells its producer's last sequence, or would if a
        crash took what is not. `is_last`: of those of the producer that may go, or the like; too
        many may be needed, never too few."""
        entry = self.entries.get(header.producer_id)
        if entry is None:
            return False
        for batch in reversed(entry.batches):
            if batch.last_offset < self.flushed_offset:
                return batch.last_offset == header.last_offset
        if entry.batches or self.flushed_offset < self.end_offset:
            return is_last  # which one on disk is the last is not known any more
        return header.is_control and header.producer_epoch == entry.epoch


class ProducerState:
    __slots__ = ("_open", "_producers")

    def __init__(self) -> None:
        self._producers: dict[int, ProducerEntry] = {}
        self._open: dict[int, int] = {}  # producer id -> first offset of its transaction

    def __len__(self) -> int:
        return len(self._producers)

    def get(self, producer_id: int) -> ProducerEntry | None:
        return self._producers.get(producer_id)

    def entries(self) -> dict[int, ProducerEntry]:
        """producer id -> what is known of it, as it is now."""
        return dict(self._producers)

    def check(self, header: BatchHeader) -> SeenBatch | None:
        """The batch that `header` repeats; None if it may be appended.

        Raises ProducerFencedError, OutOfOrderSequenceError, DuplicateSequenceError.
        """
        if header.producer_id == NO_PRODUCER_ID:
            return None
        entry = self._producers.get(header.producer_id)
        if entry is None:
            return None
        if header.producer_epoch < entry.epoch:
            raise ProducerFencedError(
                f"producer {header.producer_id}: epoch {header.producer_epoch} is over, "
                f"{entry.epoch} is in use",
                producer_id=header.producer_id,
                epoch=entry.epoch,
            )
        if header.base_sequence == NO_SEQUENCE:  # a marker, or the engine's own
            return None
        if entry.open_since != NO_OFFSET and not header.is_transactional:
            raise InvalidTransactionStateError(
                f"producer {header.producer_id} has an open transaction; a plain batch does not "
                "belong to it",
                producer_id=header.producer_id,
            )
        if header.producer_epoch > entry.epoch:
            if header.base_sequence != 0:
                raise _gap(header, 0)
            return None
        return self._check_sequence(header, entry)

    @staticmethod
    def _check_sequence(header: BatchHeader, entry: ProducerEntry) -> SeenBatch | None:
        if not entry.batches:
            return None
        first = header.base_sequence
        last = (first + header.last_offset_delta) % SEQUENCES
        for seen in entry.batches:
            if seen.base_sequence == first and seen.last_sequence == last:
                return seen
        expected = (entry.batches[-1].last_sequence + 1) % SEQUENCES
        if first == expected:
            return None
        behind = (expected - first) % SEQUENCES
        if behind < SEQUENCES // 2 and header.last_offset_delta < behind:
            raise DuplicateSequenceError(
                f"producer {header.producer_id}: sequence {first} was stored before, its offset is "
                f"not known any more (next is {expected})",
                producer_id=header.producer_id,
                expected_sequence=expected,
            )
        raise _gap(header, expected)

    def update(
        self,
        header: BatchHeader,
        *,
        base_offset: int,
        timestamp_ms: int,
        used_ms: int = -1,
        marker: Marker | None = None,
    ) -> Ended | None:
        """The batch of `header` is in the log at `base_offset`; the transaction that it ends.

        `marker`: what a control batch says (see record.marker_of).
        """
        producer_id = header.producer_id
        if producer_id == NO_PRODUCER_ID:
            return None
        entry = self._producers.get(producer_id)
        batches: tuple[SeenBatch, ...] = ()
        open_since = NO_OFFSET if entry is None else entry.open_since
        if entry is not None and entry.epoch == header.producer_epoch:
            batches = entry.batches
        if header.base_sequence != NO_SEQUENCE:
            seen = SeenBatch(
                header.base_sequence,
                (header.base_sequence + header.last_offset_delta) % SEQUENCES,
                base_offset,
                base_offset + header.last_offset_delta,
                timestamp_ms,
            )
            batches = (*batches[1 - BATCHES_KEPT :], seen)
        ended = None
        if open_since != NO_OFFSET and entry is not None and _is_later(header, entry.epoch):
            # Its marker is lost to damage: nobody knows how it ended, so it is not committed.
            ended = Ended(producer_id, open_since, base_offset - 1, True)
            open_since = NO_OFFSET
            del self._open[producer_id]
        if header.is_control:
            if marker is not None and open_since != NO_OFFSET:
                is_aborted = marker is Marker.ABORT
                ended = Ended(producer_id, open_since, base_offset, is_aborted)
                open_since = NO_OFFSET
                del self._open[producer_id]
        elif header.is_transactional and open_since == NO_OFFSET:
            open_since = self._open[producer_id] = base_offset
        self._producers[producer_id] = ProducerEntry(
            header.producer_epoch, batches, open_since, used_ms
        )
        return ended

    @property
    def open_since(self) -> int | None:
        """The first offset of all open transactions."""
        return min(self._open.values()) if self._open else None

    def open_transactions(self) -> dict[int, int]:
        """producer id -> first offset."""
        return dict(self._open)

    def expire(self, now_ms: int, keep_ms: int) -> int:
        """Forget who has not written for `keep_ms`; how many. Of those known from before the log
        was opened the time counts from now on."""
        count = len(self._producers)
        for producer_id, entry in list(self._producers.items()):
            if entry.used_ms < 0:
                self._producers[producer_id] = entry._replace(used_ms=now_ms)
            elif entry.open_since == NO_OFFSET and now_ms - entry.used_ms > keep_ms:
                del self._producers[producer_id]
        return count - len(self._producers)

    # --- snapshot ---------------------------------------------------------------------------

    def encode(self, aborted: Sequence[AbortedTransaction] = ()) -> bytes:
        parts = [_COUNT.pack(len(self._producers))]
        older: list[bytes] = []
        for producer_id, entry in self._producers.items():
            seen = entry.batches[-1] if entry.batches else SeenBatch(-1, -1, -1, -1, -1)
            parts.append(
                _PRODUCER.pack(
                    producer_id,
                    entry.epoch,
                    seen.last_sequence,
                    seen.last_offset,
                    seen.last_offset - seen.base_offset,
                    seen.timestamp_ms,
                    -1,
                    entry.open_since,
                )
            )
            older.append(bytes([max(0, len(entry.batches) - 1)]))
            older.extend(
                _OLDER.pack(
                    batch.last_sequence,
                    batch.last_offset,
                    batch.last_offset - batch.base_offset,
                    batch.timestamp_ms,
                )
                for batch in entry.batches[:-1]
            )
        older.append(_COUNT.pack(len(aborted)))
        older.extend(_ABORTED.pack(*entry) for entry in aborted)
        body = b"".join(parts + older)
        return _HEAD.pack(_VERSION, crc32c.crc32c(body)) + body

    @classmethod
    def decode(cls, data: bytes) -> tuple[ProducerState, list[AbortedTransaction]]:
        """Raises ValueError for anything that `encode` did not make."""
        state = cls()
        try:
            version, checksum = _HEAD.unpack_from(data)
            if version != _VERSION or checksum != crc32c.crc32c(data[_HEAD.size :]):
                raise ValueError("not a producer snapshot, or a damaged one")
            return state, _decode_aborted(data, state._decode_producers(data))
        except (struct.error, IndexError) as error:
            raise ValueError(f"a damaged producer snapshot: {error}") from None

    def _decode_producers(self, data: bytes) -> int:
        """Where they end."""
        (count,) = _COUNT.unpack_from(data, _HEAD.size)
        start = _HEAD.size + _COUNT.size
        position: int = start + count * _PRODUCER.size
        if count < 0 or position > len(data):
            raise ValueError(f"a producer snapshot cannot hold {count} producers")
        for index in range(count):
            producer_id, epoch, sequence, offset, delta, timestamp, _, open_since = (
                _PRODUCER.unpack_from(data, start + index * _PRODUCER.size)
            )
            batches = []
            older = data[position] if position < len(data) else 0  # Kafka's ends here
            position += 1
            for _ in range(older):
                batches.append(_seen(*_OLDER.unpack_from(data, position)))
                position += _OLDER.size
            if sequence != NO_SEQUENCE:
                batches.append(_seen(sequence, offset, delta, timestamp))
            if min(producer_id, epoch) < 0 or open_since < NO_OFFSET:
                raise ValueError(f"no producer has id {producer_id} and epoch {epoch}")
            if producer_id in self._producers:
                raise ValueError(f"producer {producer_id} is there twice")
            kept = tuple(batches[-BATCHES_KEPT:])
            self._producers[producer_id] = ProducerEntry(epoch, kept, open_since)
            if open_since != NO_OFFSET:
                self._open[producer_id] = open_since
        return position


def _decode_aborted(data: bytes, position: int) -> list[AbortedTransaction]:
    if position >= len(data):  # written before there were transactions
        return []
    (count,) = _COUNT.unpack_from(data, position)
    position += _COUNT.size
    if count < 0 or position + count * _ABORTED.size > len(data):
        raise ValueError(f"a producer snapshot cannot hold {count} aborted transactions")
    return [
        AbortedTransaction(*_ABORTED.unpack_from(data, position + index * _ABORTED.size))
        for index in range(count)
    ]


def _is_later(header: BatchHeader, epoch: int) -> bool:
    """Whether a batch is of a later transaction than one that was begun in `epoch`: each has an
    epoch of its own (KIP-890), and a marker at most the next one."""
    return header.is_transactional and header.producer_epoch > epoch + header.is_control


def _seen(last_sequence: int, last_offset: int, delta: int, timestamp_ms: int) -> SeenBatch:
    if last_sequence < 0 or not 0 <= delta <= last_offset:
        raise ValueError(f"no batch ends at offset {last_offset}, sequence {last_sequence}")
    base_sequence = (last_sequence - delta) % SEQUENCES
    return SeenBatch(base_sequence, last_sequence, last_offset - delta, last_offset, timestamp_ms)


def _gap(header: BatchHeader, expected: int) -> OutOfOrderSequenceError:
    return OutOfOrderSequenceError(
        f"producer {header.producer_id}, epoch {header.producer_epoch}: sequence "
        f"{header.base_sequence} leaves a gap, expected {expected}",
        producer_id=header.producer_id,
        expected_sequence=expected,
        sequence=header.base_sequence,
    )
