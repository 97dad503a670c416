"""Compaction: of each key the last record stays, offsets unchanged.

    before  segment 0 [k=1 a=1 k=2]  segment 3 [b=1 k=3 a=-]  segment 6, active
    after   segment 0 [            b=1 k=3 a=-],              segment 6     a=- goes a day later

A cleaning takes sealed segments below the last stable offset, and reads them twice: those not yet
cleaned, to note the last offset of each key in a bounded map; then all, to write anew what stays.
If the map is full, it cleans up to the offset reached.

What stays of [log start, end), `end` being how far the map reaches:
- of each key the record at the highest offset; records without a key (from before the topic was
  compacted) all.
- a tombstone (no value) until its batch's delete horizon: the first cleaning that sees it sets the
  horizon to now + delete_retention_ms.
- nothing of an aborted transaction. A transaction's marker until a cleaning met no batch of the
  transaction any more, and from then on until its own horizon.
- the last batch of each known producer that is on disk, if only its header: it tells the sequence.
- the last batch of each new segment, if only its header: segments stay without gaps between them.

Invariants
- Below the cleaned offset each key has one record at most. It is stored after the cleaning is on
  disk; one that is too low costs time, nothing else.
- Segments are replaced in ascending order, each durably before the next: a tombstone is never gone
  while an older record of its key is there. A crash leaves some cleaned and some not.
- No record at or above `end` is touched, no offset range of a batch ever changes.
- Bytes are checked by their CRC before they are copied: damage is never sealed with a new one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import crc32c

from logstore.config import StoreConfig, TopicConfig
from logstore.errors import CorruptDataError
from logstore.fs import File, FileSystem
from logstore.log.checksums import BlockSums, read_sums
from logstore.log.format import (
    BLOCK_BYTES,
    INDEX_BYTES_MAX,
    OFFSET_ENTRY,
    RELATIVE_OFFSET_MAX,
)
from logstore.log.key_map import KeyMap
from logstore.log.producer_state import KnownProducers
from logstore.log.salvage import FileBytes
from logstore.log.segment import Segment
from logstore.log.segment_cache import SegmentCache
from logstore.log.swap import CleanedSegment
from logstore.log.transactions import AbortedTransaction
from logstore.record import (
    BatchHeader,
    check_batch_bytes,
    decode_columns,
    empty_batch,
    filter_batch,
    parse_header,
    records_body,
)

POSITION_MAX: Final = (1 << 31) - 1  # index fields are int32


@dataclass(frozen=True, slots=True)
class Cleanable:
    """The segments of a partition that may be cleaned now, oldest first."""

    segments: tuple[Segment, ...]
    cleaned_offset: int  # below it, each key is there once

    @property
    def dirty_ratio(self) -> float:
        """Of their bytes the share that was not cleaned yet."""
        total = sum(segment.size for segment in self.segments)
        return sum(part.size for part in self.dirty) / total if total else 0.0

    @property
    def dirty(self) -> list[Segment]:
        return [part for part in self.segments if part.next_offset > self.cleaned_offset]


def cleanable(
    sealed: Sequence[Segment],
    *,
    stable_offset: int,
    cleaned_offset: int,
    config: TopicConfig,
    now_ms: int,
    max_timestamp: Callable[[Segment], int],
) -> Cleanable:
    """Of the sealed segments those that lie below the last stable offset and, as far as they were
    not cleaned yet, are older than min_compaction_lag_ms."""
    young_ms = now_ms - config.min_compaction_lag_ms
    chosen: list[Segment] = []
    for segment in sealed:
        is_dirty = segment.next_offset > cleaned_offset
        lags = config.min_compaction_lag_ms and is_dirty and max_timestamp(segment) > young_ms
        if segment.next_offset > stable_offset or lags:
            break
        chosen.append(segment)
    return Cleanable(tuple(chosen), cleaned_offset)


@dataclass(slots=True)
class CleaningJob:
    """What a cleaning is given of its partition, as it is when it begins."""

    fs: FileSystem
    directory: str
    source: Cleanable
    config: TopicConfig
    limits: StoreConfig
    cache: SegmentCache
    now_ms: int
    producers: KnownProducers
    aborted: Sequence[AbortedTransaction]
    secret: bytes  # of the key map's hash
    # old segments, the new one, offsets of markers that went with all of their transaction
    replace: Callable[[Sequence[Segment], CleanedSegment, Collection[int]], None]


class Cleaning:
    """One cleaning. `run` does it in small steps; `end` is how far it has cleaned after that.

    Holds no lock; `job.replace` puts a new segment in place, or raises if that cannot be any more.
    """

    def __init__(self, job: CleaningJob) -> None:
        self._job = job
        self._segments = job.source.segments
        self.end = job.source.cleaned_offset
        self.next_horizon_ms: int | None = None  # when it pays to clean again, if not before
        # Of those not yet cleaned, by producer and whether they are markers: the last one's offset.
        self._last_of_producers: dict[tuple[int, bool], int] = {}

    def run(self) -> Generator[int, None, None]:
        """Yields after each batch how many bytes that was. Raises CorruptDataError, OSError, and
        what `replace` raises; the partition is then as sound as before."""
        dirty = self._job.source.dirty
        keys = KeyMap(
            memory_bytes=self._job.limits.compaction_memory_bytes,
            keys_max=dirty[-1].next_offset - dirty[0].base_offset if dirty else 0,
            secret=self._job.secret,
        )
        yield from self._read_keys(keys, dirty)
        rules = _Rules(self._job, keys, self.end, self._last_of_producers)
        for group in groups([s for s in self._segments if s.base_offset < self.end], self._job):
            yield from self._clean(group, rules)
        self.next_horizon_ms = rules.next_horizon_ms

    # --- first reading ----------------------------------------------------------------------

    def _read_keys(self, keys: KeyMap, dirty: Sequence[Segment]) -> Iterator[int]:
        aborted = _Aborted(self._job.aborted)
        start = self.end
        for segment in dirty:
            with closing(self._batches(segment, start)) as batches:
                for header, batch, _ in batches:
                    kind = header.producer_id, header.is_control
                    self._last_of_producers[kind] = header.last_offset
                    if not header.is_control and not aborted.has(header):
                        columns = decode_columns(
                            batch,
                            from_offset=start,
                            decompressed_bytes_max=self._job.limits.decompressed_bytes_max,
                        )
                        for key, offset in zip(columns.keys(), columns.offsets, strict=True):
                            if key is None:
                                continue
                            if keys.is_full and keys.get(key) < 0:
                                self.end = offset
                                return
                            keys.put(key, offset)
                    self.end = header.last_offset + 1
                    yield len(batch)
            self.end = segment.next_offset

    def _batches(
        self, segment: Segment, start: int = 0
    ) -> Generator[tuple[BatchHeader, memoryview, bool], None, None]:
        """Those that end at or above offset `start`, and whether one is the last.

        The segment is pinned all the while: its bytes stay, whatever becomes of its name.
        """
        files = self._job.cache.pin(segment)
        try:
            source = FileBytes(files.log, segment.size)
            blocks = _Blocks(files.log, read_sums(self._job.fs, segment.stem))
            position, next_offset = 0, segment.base_offset
            while position < segment.size:
                header = source.header(position)
                # No CRC of a batch covers its offset, that of the block does.
                if header is None or not (
                    next_offset <= header.base_offset
                    and header.last_offset < segment.next_offset
                    and blocks.are_sound(position + header.size_bytes)
                ):
                    raise _damaged(segment, position)
                next_offset = header.last_offset + 1
                if header.last_offset >= start:
                    batch = source.at(position, header.size_bytes)
                    if not check_batch_bytes(batch, 0, header):
                        raise _damaged(segment, position)
                    yield header, batch, position + header.size_bytes == segment.size
                position += header.size_bytes
        finally:
            self._job.cache.unpin(segment)

    # --- second reading ---------------------------------------------------------------------

    def _clean(self, group: Sequence[Segment], rules: _Rules) -> Iterator[int]:
        job = self._job
        unread = sum(segment.size for segment in group)
        is_changed = len(group) > 1
        cleaned = CleanedSegment(
            job.fs, job.directory, group[0].base_offset, now_ms=job.now_ms, config=job.config
        )
        try:
            for segment in group:
                with closing(self._batches(segment)) as batches:
                    for header, batch, is_end in batches:
                        unread -= len(batch)
                        # Growing (by a horizon) must leave room for what is still to come.
                        size_max = POSITION_MAX - unread - cleaned.segment.size
                        is_last = is_end and segment is group[-1]
                        made = rules.apply(header, batch, is_last=is_last, size_max=size_max)
                        is_changed |= made is not batch
                        if made is not None:
                            cleaned.append(made, header if made is batch else parse_header(made))
                        yield len(batch)
            if is_changed:
                cleaned.seal()
                yield 0
                job.replace(group, cleaned, rules.take_gone_markers())
        finally:
            cleaned.give_up()


def groups(segments: Sequence[Segment], job: CleaningJob) -> list[list[Segment]]:
    """Neighbours that fit into one segment together, as they are now."""
    found: list[list[Segment]] = []
    size = entries = 0
    for segment in segments:
        size += segment.size
        entries += segment.offset_entries + 1
        fits = (
            found
            and size <= job.config.segment_bytes
            and entries * OFFSET_ENTRY.size <= INDEX_BYTES_MAX
            and segment.next_offset - 1 - found[-1][0].base_offset <= RELATIVE_OFFSET_MAX
        )
        if fits:
            found[-1].append(segment)
        else:
            found.append([segment])
            size, entries = segment.size, segment.offset_entries + 1
    return found


class _Rules:
    """What stays of each batch; asked in the order of the log, from its start."""

    def __init__(
        self,
        job: CleaningJob,
        keys: KeyMap,
        end: int,
        last_of_producers: Mapping[tuple[int, bool], int],
    ) -> None:
        self._last_of_producers = last_of_producers
        self._keys = keys
        self._end = end
        self._now_ms = job.now_ms
        self._horizon_ms = job.now_ms + job.config.delete_retention_ms
        self._producers = job.producers
        self._aborted = _Aborted(job.aborted)
        self._decompressed_bytes_max = job.limits.decompressed_bytes_max
        self._with_batches: set[int] = set()  # producers whose transaction has batches, so far
        self._gone_markers: set[int] = set()
        self.next_horizon_ms: int | None = None  # of what is left, the first that is still to come

    def apply(
        self, header: BatchHeader, batch: memoryview, *, is_last: bool, size_max: int
    ) -> bytearray | memoryview | None:
        """`batch` itself if it stays as it is; None if nothing of it stays. `is_last`: it may not
        go altogether. `size_max`: what it may grow to."""
        if header.is_control:
            return self._marker(header, batch, is_last=is_last)
        if header.is_transactional:
            self._with_batches.add(header.producer_id)
        if header.base_offset >= self._end:
            return batch
        if header.record_count and not self._aborted.has(header):
            made = self._records(header, batch, size_max)
            if made is not None:
                return made
        if not is_last and not self._is_needed(header):
            return None
        return empty_batch(header) if header.record_count else batch

    def _records(
        self, header: BatchHeader, batch: memoryview, size_max: int
    ) -> bytearray | memoryview | None:
        columns = decode_columns(batch, decompressed_bytes_max=self._decompressed_bytes_max)
        present = columns.value_column.present
        is_over = header.has_delete_horizon and header.base_timestamp <= self._now_ms
        keep = []
        has_tombstones = False
        for index, key in enumerate(columns.keys()):
            offset = columns.offsets[index]
            stays = key is None or offset >= self._end or self._keys.get(key) <= offset
            if stays and key is not None and present is not None and not present[index]:
                stays = not is_over
                has_tombstones |= stays
            keep.append(stays)
        if not any(keep):
            return None
        if has_tombstones and header.has_delete_horizon:
            self._wait_for(header.base_timestamp)
        horizon = None
        if has_tombstones and not header.has_delete_horizon and header.last_offset < self._end:
            horizon = self._horizon_ms
            self._wait_for(horizon)
        if all(keep) and horizon is None:
            return batch
        body = records_body(batch, header, self._decompressed_bytes_max)
        made = filter_batch(header, body, columns.timestamps, keep, delete_horizon_ms=horizon)
        if len(made) > size_max:  # some other time, when there is room
            made = filter_batch(header, body, columns.timestamps, keep)
        return made

    def _marker(
        self, header: BatchHeader, batch: memoryview, *, is_last: bool
    ) -> bytearray | memoryview | None:
        """A marker that must stay stays whole: readers of the log look into it."""
        has_batches = header.producer_id in self._with_batches
        self._with_batches.discard(header.producer_id)
        if has_batches or header.last_offset >= self._end:
            return batch
        if not header.has_delete_horizon:
            self._wait_for(self._horizon_ms)
            columns = decode_columns(batch, decompressed_bytes_max=self._decompressed_bytes_max)
            body = records_body(batch, header, self._decompressed_bytes_max)
            return filter_batch(
                header,
                body,
                columns.timestamps,
                [True] * header.record_count,
                delete_horizon_ms=self._horizon_ms,
            )
        is_over = header.base_timestamp <= self._now_ms
        if not is_over:
            self._wait_for(header.base_timestamp)
        if is_over and not is_last and not self._is_needed(header):
            self._gone_markers.add(header.base_offset)
            return None
        return batch

    def _is_needed(self, header: BatchHeader) -> bool:
        """For what is known of its producer."""
        kind = header.producer_id, header.is_control
        last_offset = self._last_of_producers.get(kind, -1)
        return self._producers.needs(header, is_last=last_offset <= header.last_offset)

    def take_gone_markers(self) -> set[int]:
        """Offsets of those that went since it was last asked."""
        gone, self._gone_markers = self._gone_markers, set()
        return gone

    def _wait_for(self, horizon_ms: int) -> None:
        if self.next_horizon_ms is None or horizon_ms < self.next_horizon_ms:
            self.next_horizon_ms = horizon_ms


class _Blocks:
    """Looks at the checksums of a log file's blocks, front to back."""

    def __init__(self, file: File, sums: BlockSums) -> None:
        self._source = FileBytes(file, sums.size)
        self._crcs = sums.crcs
        self._checked = 0  # blocks

    def are_sound(self, end: int) -> bool:
        """All that [0, end) touches. Those that have no checksum count as sound."""
        while self._checked * BLOCK_BYTES < end and self._checked < len(self._crcs):
            block = self._source.at(self._checked * BLOCK_BYTES, BLOCK_BYTES)
            if crc32c.crc32c(block) != self._crcs[self._checked]:
                return False
            self._checked += 1
        return True


class _Aborted:
    """Look-up of the batches that belong to aborted transactions."""

    def __init__(self, aborted: Sequence[AbortedTransaction]) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = {}
        for entry in sorted(aborted, key=lambda entry: entry.first_offset):
            span = entry.first_offset, entry.last_offset
            self._spans.setdefault(entry.producer_id, []).append(span)

    def has(self, header: BatchHeader) -> bool:
        spans = self._spans.get(header.producer_id) if header.is_transactional else None
        if not spans:
            return False
        index = bisect_right(spans, header.base_offset, key=lambda span: span[0]) - 1
        return index >= 0 and header.base_offset <= spans[index][1]


def _damaged(segment: Segment, position: int) -> CorruptDataError:
    return CorruptDataError(
        f"{segment.log_path}: the bytes at {position} are no sound record batch; the partition is "
        "not compacted until that is mended",
        path=segment.log_path,
        position=position,
    )
