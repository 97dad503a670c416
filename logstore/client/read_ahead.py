"""What a consumer has fetched and not handed out: whole batches, then the records of some of them.

Handing out moves the positions; what lies below a partition's position, or belongs to a partition
that has none any more, is never handed out. Used by the consumer's thread.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from logstore.api import TopicPartition
from logstore.client.positions import Positions
from logstore.record import Columns, Record, concat_columns, decode_columns, decode_records
from logstore.record import iter_batches as split_batches

DECOMPRESSED_BYTES_MAX = 1 << 30  # of one batch; stores refuse far smaller ones


class _Fetched(NamedTuple):
    part: TopicPartition
    batch: memoryview


class ReadAhead:
    def __init__(self, positions: Positions) -> None:
        self._positions = positions
        self._batches: deque[_Fetched] = deque()
        self._records: deque[Record] = deque()

    @property
    def has_batches(self) -> bool:
        return bool(self._batches)

    def add(self, part: TopicPartition, data: memoryview) -> None:
        self._batches.extend(_Fetched(part, batch) for batch in split_batches(data))

    def decode(self, records: int) -> bool:
        """Decode until there are so many records; whether there is any."""
        while self._batches and len(self._records) < records:
            part, batch = self._batches.popleft()
            position = self._positions.get(part)
            if position is not None:
                self._records.extend(
                    decode_records(
                        batch,
                        *part,
                        from_offset=position,
                        decompressed_bytes_max=DECOMPRESSED_BYTES_MAX,
                    )
                )
        return bool(self._records)

    def take(self, records: int) -> list[Record]:
        """Hand out up to so many decoded records."""
        count = min(records, len(self._records))
        taken = [self._records.popleft() for _ in range(count)]
        for record in taken:
            self._positions.advance(
                TopicPartition(record.topic, record.partition), record.offset + 1
            )
        return taken

    def take_columns(self) -> list[tuple[TopicPartition, Columns]]:
        """Hand out all batches; none of their partitions may have decoded records left."""
        found: dict[TopicPartition, list[Columns]] = {}
        while self._batches:
            part, batch = self._batches.popleft()
            position = self._positions.get(part)
            if position is None:
                continue
            columns = decode_columns(
                batch, from_offset=position, decompressed_bytes_max=DECOMPRESSED_BYTES_MAX
            )
            if len(columns):
                found.setdefault(part, []).append(columns)
                self._positions.advance(part, columns.offsets[-1] + 1)
        return [(part, concat_columns(parts)) for part, parts in found.items()]

    def drop_decoded(self) -> set[TopicPartition]:
        """Forget all of the partitions with decoded records: they have to be read again."""
        parts = {TopicPartition(record.topic, record.partition) for record in self._records}
        self.drop(parts)
        return parts

    def drop(self, parts: set[TopicPartition]) -> None:
        """Forget what was read ahead of these."""
        self._batches = deque(item for item in self._batches if item.part not in parts)
        self._records = deque(
            record
            for record in self._records
            if TopicPartition(record.topic, record.partition) not in parts
        )
