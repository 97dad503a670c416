"""What a consumer has fetched and not handed out: whole batches, then the records of some of them.

Handing out moves the positions; what lies below a partition's position, or belongs to a partition
that has none any more, is never handed out. Used by the consumer's thread.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from logstore.api import TopicPartition
from logstore.client.positions import Positions
from logstore.errors import BatchChecksumError, InvalidBatchError
from logstore.record import (
    Columns,
    Record,
    check_crc,
    concat_columns,
    decode_columns,
    decode_records,
    parse_header,
)
from logstore.record import iter_batches as split_batches

DECOMPRESSED_BYTES_MAX = 1 << 30  # of one batch; stores refuse far smaller ones


class _Fetched(NamedTuple):
    part: TopicPartition
    batch: memoryview


class _Run:
    """Decoded records of one batch; those before `at` were handed out. `end`: the offset that the
    position moves to with the last: behind what the batch has no records of, and behind control
    batches that follow."""

    __slots__ = ("at", "end", "part", "records")

    def __init__(self, part: TopicPartition, records: list[Record], end: int) -> None:
        self.part = part
        self.records = records
        self.at = 0
        self.end = end

    def next_position(self) -> int:
        return self.end if self.at == len(self.records) else self.records[self.at - 1].offset + 1


class ReadAhead:
    def __init__(self, positions: Positions) -> None:
        self._positions = positions
        self._batches: deque[_Fetched] = deque()
        self._runs: deque[_Run] = deque()  # none is empty
        self._decoded = 0  # records in them that were not handed out

    @property
    def has_batches(self) -> bool:
        return bool(self._batches)

    def add(self, part: TopicPartition, data: memoryview) -> None:
        self._batches.extend(_Fetched(part, batch) for batch in split_batches(data))

    def end(self, part: TopicPartition) -> int | None:
        """The offset behind what is here of the partition; None if nothing is."""
        for fetched in reversed(self._batches):
            if fetched.part == part:
                return parse_header(fetched.batch).last_offset + 1
        return next((run.end for run in reversed(self._runs) if run.part == part), None)

    def decode(self, records: int) -> bool:
        """Decode until there are so many records; whether there is any.

        Raises InvalidBatchError for a batch that cannot be decoded, once all before it is handed
        out; and again until the partition is dropped, so that nothing is passed over unseen.
        """
        while self._batches and self._decoded < records:
            part, batch = self._batches[0]
            position = self._positions.get(part)
            if position is not None:
                try:
                    _check(part, batch)
                    header = parse_header(batch)
                    decoded = (
                        []
                        if header.is_control
                        else decode_records(
                            batch,
                            *part,
                            from_offset=position,
                            decompressed_bytes_max=DECOMPRESSED_BYTES_MAX,
                        )
                    )
                except InvalidBatchError:
                    if self._runs:
                        return True
                    raise
                if decoded:
                    self._runs.append(_Run(part, decoded, header.last_offset + 1))
                    self._decoded += len(decoded)
                else:
                    self._pass_over(part, header.last_offset + 1)
            self._batches.popleft()
        return bool(self._runs)

    def _pass_over(self, part: TopicPartition, end: int) -> None:
        """There are no records up to `end`: go on there once what is before it is handed out."""
        for run in reversed(self._runs):
            if run.part == part:
                run.end = end
                return
        self._positions.advance(part, end)

    def take(self, records: int) -> list[Record]:
        """Hand out up to so many decoded records."""
        taken: list[Record] = []
        while self._runs and len(taken) < records:
            taken += self._take_of_first(records - len(taken))[1]
        return taken

    def take_one(self) -> Record | None:
        """Hand out one decoded record, if there is any."""
        if not self._runs:
            return None
        run = self._runs[0]
        record = run.records[run.at]
        run.at += 1
        self._decoded -= 1
        self._positions.advance(run.part, run.next_position())
        if run.at == len(run.records):
            self._runs.popleft()
        return record

    def take_by_partition(self) -> dict[TopicPartition, list[Record]]:
        """Hand out all decoded records."""
        found: dict[TopicPartition, list[Record]] = {}
        while self._runs:
            part, records = self._take_of_first(self._decoded)
            found.setdefault(part, []).extend(records)
        return found

    def _take_of_first(self, records: int) -> tuple[TopicPartition, list[Record]]:
        run = self._runs[0]
        taken = run.records[run.at : run.at + records]
        run.at += len(taken)
        self._decoded -= len(taken)
        self._positions.advance(run.part, run.next_position())
        if run.at == len(run.records):
            self._runs.popleft()
        return run.part, taken

    def take_columns(self) -> list[tuple[TopicPartition, Columns]]:
        """Hand out all batches; none of their partitions may have decoded records left.

        Raises InvalidBatchError as `decode` does.
        """
        found: dict[TopicPartition, list[Columns]] = {}
        while self._batches:
            part, batch = self._batches[0]
            position = self._positions.get(part)
            if position is None:
                self._batches.popleft()
                continue
            try:
                _check(part, batch)
                header = parse_header(batch)
                if not header.is_control:
                    columns = decode_columns(
                        batch,
                        from_offset=position,
                        decompressed_bytes_max=DECOMPRESSED_BYTES_MAX,
                    )
                    if len(columns):
                        found.setdefault(part, []).append(columns)
            except InvalidBatchError:
                if found:
                    break
                raise
            self._batches.popleft()
            self._positions.advance(part, header.last_offset + 1)
        return [(part, concat_columns(parts)) for part, parts in found.items()]

    def drop_decoded(self) -> set[TopicPartition]:
        """Forget all of the partitions with decoded records: they have to be read again."""
        parts = {run.part for run in self._runs}
        self.drop(parts)
        return parts

    def drop(self, parts: set[TopicPartition]) -> None:
        """Forget what was read ahead of these."""
        self._batches = deque(item for item in self._batches if item.part not in parts)
        self._runs = deque(run for run in self._runs if run.part not in parts)
        self._decoded = sum(len(run.records) - run.at for run in self._runs)


def _check(part: TopicPartition, batch: memoryview) -> None:
    """A last look at the bytes, after every disk and wire that they went through."""
    if not check_crc(batch):
        offset = parse_header(batch).base_offset
        raise BatchChecksumError(
            f"{part.topic}-{part.partition}: the batch at offset {offset} came damaged: CRC-32C "
            "does not match; poll again to see it again, seek past it to go on without it",
            topic=part.topic,
            partition=part.partition,
            offset=offset,
        )
