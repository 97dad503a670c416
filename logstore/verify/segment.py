"""One .log file: framing, CRCs, records, offsets; and its indexes, entry by entry beside the walk.

The batches are walked once, front to back, in constant memory. What cannot be a batch is damage
from there to the next sound batch. Above `flushed` nothing was promised: what a crash may leave
there, or a writer is just about to write, is a remark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from logstore.errors import CorruptDataError, InvalidBatchError
from logstore.log.checkpoint import LeaderEpochs
from logstore.log.checksums import damaged_blocks, read_sums
from logstore.log.format import (
    CHECKSUMS_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    OFFSET_ENTRY,
    RELATIVE_OFFSET_MAX,
    TIME_ENTRY,
    TIME_INDEX_SUFFIX,
    offset_name,
)
from logstore.log.producer_state import ProducerEntry, ProducerState
from logstore.log.salvage import FileBytes, find_sound_batch, used_end
from logstore.log.transactions import AbortedTransaction, Transactions
from logstore.record import (
    TIMESTAMP_LOG_APPEND_TIME,
    BatchHeader,
    Columns,
    Marker,
    check_batch_bytes,
    decode_columns,
    marker_of,
)
from logstore.verify.findings import Scan, Severity
from logstore.verify.index import OffsetIndexCheck, TimeIndexCheck
from logstore.verify.internal import ReadRecord


class Known(NamedTuple):
    """What the log says of its producers and transactions below some offset."""

    producers: dict[int, ProducerEntry | None]
    aborted: list[AbortedTransaction]


@dataclass(slots=True)
class LogWalk:
    """What walking the segments of a partition in order carries from one to the next."""

    directory: str
    next_offset: int  # of the batch that should come next
    flushed: int  # below it everything was promised
    is_closed: bool  # the store was closed cleanly: nothing is under way
    may_have_gaps: bool  # compaction leaves them
    epochs: LeaderEpochs | None
    decompressed_bytes_max: int
    producers: ProducerState
    producer_ids: set[int]
    snapshot_offsets: list[int]  # ascending, those that the walk has not reached
    on_snapshot: dict[int, Known]  # what the log says at each of them
    read_record: ReadRecord | None = None  # of a topic of logstore's own
    is_sound: bool = True  # no batch is damaged so far: what it tells of producers is complete
    transactions: Transactions = field(default_factory=lambda: Transactions(()))

    def severity(self, offset: int) -> Severity:
        return Severity.DAMAGE if self.is_closed or offset < self.flushed else Severity.REMARK

    def note_producers(self, header: BatchHeader, marker: Marker | None) -> None:
        self.take_snapshots(header.base_offset)
        if header.producer_id >= 0:
            ended = self.producers.update(
                header,
                base_offset=header.base_offset,
                timestamp_ms=header.max_timestamp,
                marker=marker,
            )
            if ended is not None:
                self.transactions.end(ended, self.producers.open_since)
            self.producer_ids.add(header.producer_id)

    def take_snapshots(self, offset: int) -> None:
        """Remember what the log says of its producers below the snapshots up to `offset`."""
        while self.snapshot_offsets and self.snapshot_offsets[0] <= offset:
            at = self.snapshot_offsets.pop(0)
            known = {pid: self.producers.get(pid) for pid in self.producer_ids}
            self.on_snapshot[at] = Known(known, list(self.transactions.aborted))


def verify_segment(scan: Scan, walk: LogWalk, base_offset: int, following: int | None) -> None:
    """`following`: the base offset of the next segment; None for the last one."""
    stem = f"{walk.directory}/{offset_name(base_offset)}"
    path = stem + LOG_SUFFIX
    with scan.reading(path):
        file = scan.fs.open(path, write=False)
        try:
            _SegmentWalk(scan, walk, stem, base_offset, following, file.size()).run(
                FileBytes(file, file.size())
            )
        finally:
            file.close()


class _SegmentWalk:
    def __init__(
        self,
        scan: Scan,
        walk: LogWalk,
        stem: str,
        base_offset: int,
        following: int | None,
        size: int,
    ) -> None:
        self._scan = scan
        self._walk = walk
        self._stem = stem
        self._path = stem + LOG_SUFFIX
        self._base_offset = base_offset
        self._following = following
        self._size = size
        # Something of the next segment was flushed: not before this one was trimmed and complete.
        self._is_sealed = walk.is_closed or (following is not None and following < walk.flushed)
        is_growing = not self._is_sealed
        self._offsets = OffsetIndexCheck(
            scan, stem + INDEX_SUFFIX, OFFSET_ENTRY, base_offset, is_growing=is_growing
        )
        self._times = TimeIndexCheck(
            scan, stem + TIME_INDEX_SUFFIX, TIME_ENTRY, base_offset, is_growing=is_growing
        )
        self._epoch_faults = 0
        self._batches_end = 0  # behind the last one so far
        self._damage: list[tuple[int, int]] = []  # bytes that were told of

    def run(self, source: FileBytes) -> None:
        walk = self._walk
        if self._base_offset > walk.next_offset and not walk.may_have_gaps:
            self._missing(walk.next_offset, self._base_offset, 0)
        if self._base_offset < walk.next_offset:
            self._scan.add(
                self._path,
                f"the segment is named {self._base_offset}, the one before ends at "
                f"{walk.next_offset}",
                position=0,
            )
        walk.next_offset = max(walk.next_offset, self._base_offset)
        position = 0
        while position < source.end:
            header = source.header(position)
            if header is None or not self._fits(header):
                position = self._damaged(source, position)
                continue
            self._batch(source, position, header)
            position += header.size_bytes
            self._batches_end = position
            self._scan.advance(self._path, header.size_bytes)
        for index in (self._offsets, self._times):
            index.finish(walk.flushed)
        with self._scan.reading(self._stem + CHECKSUMS_SUFFIX):
            self._checksums(source)

    def _checksums(self, source: FileBytes) -> None:
        """Every block against the sidecar; last, so that it is known what explains a difference."""
        walk = self._walk
        sums = read_sums(self._scan.fs, self._stem)
        must_be_whole = self._is_sealed and self._size
        if must_be_whole and (not sums.is_whole or sums.size != self._size):
            self._scan.add(
                self._stem + CHECKSUMS_SUFFIX,
                "is missing, damaged or of another log file; the next opening checks the segment "
                "batch by batch and makes it anew",
                readable="everything",
            )
            return
        for start, end in damaged_blocks(source, sums):
            is_explained = any(start < stop and begin < end for begin, stop in self._damage)
            is_newer = not walk.is_closed and end > self._batches_end  # written since it was read
            if is_explained or is_newer:
                continue
            self._scan.add(
                self._path,
                f"bytes {start} to {end} are not what was written, though the CRC-32C of every "
                "batch in them holds: what no CRC covers, an offset or a leader epoch, is wrong",
                position=start,
                readable="all batches outside of these bytes",
            )

    def _fits(self, header: BatchHeader) -> bool:
        """Whether its offsets can be this segment's next."""
        end = RELATIVE_OFFSET_MAX + self._base_offset + 1
        if self._following is not None:
            end = min(end, self._following)
        return self._walk.next_offset <= header.base_offset and header.last_offset < end

    def _batch(self, source: FileBytes, position: int, header: BatchHeader) -> None:
        walk, report = self._walk, self._scan.report
        if header.base_offset > walk.next_offset and not walk.may_have_gaps:
            self._missing(walk.next_offset, header.base_offset, position)
        batch = source.at(position, header.size_bytes)
        offsets = header.base_offset, header.last_offset
        if not check_batch_bytes(batch, 0, header):
            walk.is_sound = False
            self._damage.append((position, position + header.size_bytes))
            self._scan.add(
                self._path,
                f"the batch of offsets {offsets[0]} to {offsets[1]} is damaged: its CRC-32C does "
                "not match",
                severity=walk.severity(header.last_offset),
                position=position,
                offsets=offsets,
                readable=f"offsets from {header.last_offset + 1} on",
            )
        else:
            self._records(batch, position, header)
            walk.note_producers(header, _marker(batch, header))
        self._epoch(position, header)
        self._offsets.batch(position, header)
        self._times.batch(position, header)
        walk.next_offset = header.last_offset + 1
        report.batches += 1

    def _records(self, batch: memoryview, position: int, header: BatchHeader) -> None:
        """The records against the header: what no CRC tells, since it was wrong when written."""
        try:
            columns = decode_columns(
                batch, decompressed_bytes_max=self._walk.decompressed_bytes_max
            )
        except InvalidBatchError as error:
            problem = f"its CRC-32C holds, but its records cannot be read: {error.message}"
        else:
            self._scan.report.records += len(columns)
            problem = _disagreement(header, columns.offsets, columns.timestamps)
            if not problem and self._walk.read_record is not None and not header.is_control:
                problem = _unreadable(self._walk.read_record, columns)
        if problem:
            self._scan.add(
                self._path,
                f"the batch of offsets {header.base_offset} to {header.last_offset}: {problem}",
                position=position,
                offsets=(header.base_offset, header.last_offset),
            )

    def _epoch(self, position: int, header: BatchHeader) -> None:
        """Above all the leader epoch, which no CRC covers, is the one that the checkpoint tells."""
        epochs = self._walk.epochs
        if epochs is None or self._epoch_faults:
            return
        expected = epochs.epoch_at(header.base_offset)
        if header.partition_leader_epoch != expected:
            self._epoch_faults += 1
            self._damage.append((position, position + header.size_bytes))
            self._scan.add(
                self._path,
                f"the batch at offset {header.base_offset} has leader epoch "
                f"{header.partition_leader_epoch}; the checkpoint says {expected}",
                severity=self._walk.severity(header.last_offset),
                position=position,
                offsets=(header.base_offset, header.last_offset),
                readable="everything; the first such batch of the segment is named",
            )

    def _missing(self, first: int, end: int, position: int) -> None:
        self._scan.add(
            self._path,
            f"records of offsets {first} to {end - 1} are missing before it",
            position=position,
            offsets=(first, end - 1),
            readable=f"offsets from {end} on",
        )

    def _damaged(self, source: FileBytes, position: int) -> int:
        """Where it goes on behind bytes that are no batch; the end if nowhere."""
        walk = self._walk
        used = used_end(source, position)
        if used == position:
            return self._free_space(source, position)
        end = self._following if self._following is not None else 1 << 62
        sound = find_sound_batch(source, position, offset_min=walk.next_offset, offset_max=end)
        severity = walk.severity(walk.next_offset)
        walk.is_sound = False
        self._damage.append((position, sound.position if sound else source.end))
        if sound is None:
            last = (end if self._following is not None else max(walk.flushed, walk.next_offset)) - 1
            self._scan.add(
                self._path,
                f"{used - position} bytes at {position} are no record batch"
                + ("" if severity is Severity.DAMAGE else "; the rest of an unfinished write"),
                severity=severity,
                position=position,
                offsets=(walk.next_offset, last),
                readable=f"offsets below {walk.next_offset}",
            )
            walk.next_offset = max(walk.next_offset, last + 1)
            self._scan.advance(self._path, source.end - position)
            return source.end
        self._scan.add(
            self._path,
            f"{sound.position - position} bytes at {position} are no record batch",
            severity=walk.severity(sound.offset - 1),
            position=position,
            offsets=(walk.next_offset, sound.offset - 1),
            readable=f"offsets from {sound.offset} on, which begin at position {sound.position}",
        )
        self._scan.advance(self._path, sound.position - position)
        walk.next_offset = sound.offset
        return sound.position

    def _free_space(self, source: FileBytes, position: int) -> int:
        """Zeros behind the last batch: space allocated ahead, of a segment that still grows."""
        walk = self._walk
        if walk.next_offset < walk.flushed and self._following is None:
            self._scan.add(
                self._path,
                f"the log ends at offset {walk.next_offset}; it was on disk up to {walk.flushed}",
                position=position,
                offsets=(walk.next_offset, walk.flushed - 1),
                readable=f"offsets below {walk.next_offset}",
            )
        elif self._is_sealed:
            self._scan.add(
                self._path,
                f"{source.end - position} bytes of zeros follow the last batch of a segment that "
                "was closed",
                position=position,
                readable="everything",
            )
        self._scan.advance(self._path, source.end - position)
        return source.end


def _marker(batch: memoryview, header: BatchHeader) -> Marker | None:
    try:
        return marker_of(batch) if header.is_control else None
    except InvalidBatchError:
        return None  # its records were looked at before


def _unreadable(read_record: ReadRecord, columns: Columns) -> str:
    for offset, key, value in zip(columns.offsets, columns.keys(), columns.values(), strict=True):
        try:
            read_record(key, value)
        except CorruptDataError as error:
            return f"record {offset}: {error.message}"
    return ""


def _disagreement(header: BatchHeader, offsets: Sequence[int], timestamps: Sequence[int]) -> str:
    if len(offsets) != header.record_count:
        return f"it has {len(offsets)} records; its header says {header.record_count}"
    if not offsets:
        return ""
    latest = max(timestamps)
    is_own_time = header.timestamp_type != TIMESTAMP_LOG_APPEND_TIME
    if is_own_time and not header.is_control and latest > header.max_timestamp:
        return f"a record has timestamp {latest}, above the header's {header.max_timestamp}"
    return ""
