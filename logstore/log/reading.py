"""Finding batches in a segment: by offset, by bytes, by time.

Two rules stand above all of it:
- Nothing at or beyond `end`, the position up to which the segment may be read, is touched.
- Nothing is touched that may have to come from the disk unless the caller said so: `Window.need`
  asks the kernel first. Allowed to wait, it reads by pread, where an I/O error is an OSError;
  through the map it would be a SIGBUS.
"""

from __future__ import annotations

from typing import Final

from logstore.errors import CorruptDataError
from logstore.log.format import BLOCK_BYTES, FRAME, FRAME_LENGTH_END, TIMESTAMP_NONE
from logstore.log.index_file import NO_ENTRY, IndexFile
from logstore.log.salvage import DamagedRange, FileBytes, damaged_ranges
from logstore.log.segment import Segment, SegmentFiles
from logstore.record import (
    HEADER_BYTES,
    BatchHeader,
    decode_columns,
    parse_header,
)

WINDOW_BYTES: Final = 128 << 10  # checked (or read) ahead at once while headers are walked
WARM_BYTES: Final = 1 << 20  # of one pread while cold bytes are brought in


class ColdBytesError(Exception):
    """Internal: bytes may have to come from the disk, and the caller will not wait."""


class Window:
    """The map of a segment up to `end`, and which of it is known to be in memory."""

    __slots__ = ("_checked_from", "_checked_to", "_cold_ok", "_files", "end", "segment", "view")

    def __init__(self, segment: Segment, files: SegmentFiles, *, end: int, cold_ok: bool) -> None:
        self.segment = segment
        self.end = end
        self.view = files.view(end)
        self._files = files
        self._cold_ok = cold_ok
        self._checked_from = self._checked_to = 0

    def need(self, start: int, stop: int) -> None:
        """See that [start, stop) can be touched. Raises ColdBytesError, StorageFailedError."""
        if start >= self._checked_from and stop <= self._checked_to:
            return
        stop = min(self.end, max(stop, start + WINDOW_BYTES))
        first = start - start % BLOCK_BYTES  # whole blocks: their checksums are looked at
        last = min(len(self.view), stop - stop % -BLOCK_BYTES)
        if not self._files.log.resident(first, last - first):
            if not self._cold_ok:
                raise ColdBytesError
            self._warm(first, last)
        self._check(start, stop)
        if start == self._checked_to:
            self._checked_to = stop
        else:
            self._checked_from, self._checked_to = start, stop

    def _check(self, start: int, stop: int) -> None:
        """Look at the checksums of the blocks there; what damage costs is in `damage`."""
        checks = self._files.block_checks()
        if checks.is_sound(self.view, start, stop):
            return
        blocks = checks.damaged_blocks()
        if all(any(part.touches(*block) for part in self._files.damage) for block in blocks):
            return
        if not self._cold_ok:
            raise ColdBytesError
        segment = self.segment
        source = FileBytes(self._files.log, min(segment.size, len(self.view)))
        self._files.damage = tuple(
            damaged_ranges(source, segment.base_offset, segment.next_offset, blocks)
        )

    def damaged(self, position: int) -> DamagedRange | None:
        """The damage that `position` lies in."""
        for part in self._files.damage:
            if part.position <= position < part.end:
                return part
        return None

    def sound_end(self, position: int) -> int:
        """Where the next damage behind `position` begins, or the end."""
        starts = (part.position for part in self._files.damage if part.position >= position)
        return min(self.end, next(starts, self.end))

    def need_index(self, index: IndexFile, entries: int) -> None:
        if not index.is_resident(entries):
            if not self._cold_ok:
                raise ColdBytesError
            index.warm(entries)

    def _warm(self, start: int, stop: int) -> None:
        for position in range(start, stop, WARM_BYTES):
            self._files.log.read(min(WARM_BYTES, stop - position), position)

    def frame(self, position: int) -> tuple[int, int, int]:
        """(base offset, last offset, position behind it) of the batch at `position` < end."""
        if position + HEADER_BYTES > self._checked_to or position < self._checked_from:
            self.need(position, min(self.end, position + HEADER_BYTES))
        if self._files.damage:
            part = self.damaged(position)
            if part is not None and part.position == position:
                return part.first_offset, part.last_offset, min(part.end, self.end)
            if part is not None:
                raise self.corrupt(position)
        if position + HEADER_BYTES <= self.end:
            base, length, magic, delta = FRAME.unpack_from(self.view, position)
            behind = position + FRAME_LENGTH_END + length
            if magic == 2 and position + HEADER_BYTES <= behind <= self.end and delta >= 0:
                return base, base + delta, behind
        raise self.corrupt(position)

    def header(self, position: int) -> BatchHeader:
        """Raises CorruptDataError if it is damaged."""
        self.frame(position)
        part = self.damaged(position)
        if part is not None:
            raise self.refusal(part)
        return parse_header(self.view, position)

    def batch(self, position: int, behind: int) -> memoryview:
        """Raises CorruptDataError if any of it is damaged."""
        self.need(position, behind)
        if self._files.damage:
            part = self.damaged(position) or self.damaged(self.sound_end(position))
            if part is not None and part.position < behind:
                raise self.refusal(part)
        return self.view[position:behind]

    def refusal(self, part: DamagedRange) -> CorruptDataError:
        path = self.segment.log_path
        return CorruptDataError(
            f"{path}: bytes {part.position} to {part.end} are damaged, they held offsets "
            f"{part.first_offset} to {part.last_offset}; the next one is {part.last_offset + 1}",
            path=path,
            position=part.position,
            first_offset=part.first_offset,
            next_offset=part.last_offset + 1,
        )

    def corrupt(self, position: int) -> CorruptDataError:
        path = self.segment.log_path
        return CorruptDataError(
            f"{path}: no record batch begins at position {position}",
            path=path,
            position=position,
        )


def locate(window: Window, files: SegmentFiles, offset: int) -> int:
    """Position of the first batch that ends at `offset` or behind it; window.end if none does."""
    segment = window.segment
    position = segment.hints.get(offset)
    if position is None:
        position = _indexed(window, files, offset - segment.base_offset, field=0) or 0
    while position < window.end:
        _, last, behind = window.frame(position)
        if last >= offset:
            return position
        position = behind
    return window.end


def _indexed(window: Window, files: SegmentFiles, value: int, *, field: int) -> int | None:
    """Position of the last batch indexed at or below `value` (0: relative offset, 1: position).

    None without one, and for an entry that no batch bears out: then walking from further back is
    slower and right.
    """
    count = window.segment.offset_entries
    window.need_index(files.offsets, count)
    found = files.offsets.floor(value, count=count, field=field)
    if found == NO_ENTRY:
        return None
    relative, position = files.offsets.get(found)
    if not 0 <= position < window.end:
        return None
    try:
        _, last, _ = window.frame(position)
    except CorruptDataError:
        return None
    return position if last - window.segment.base_offset == relative else None


def extent(window: Window, files: SegmentFiles, start: int, bytes_max: int) -> int:
    """Where a read of whole batches from `start` ends: within `bytes_max`, at least one batch.

    Remembers the end as a hint, since the reader will most likely ask for what follows.
    """
    segment = window.segment
    limit = start + bytes_max
    window.need(start, min(limit, window.end))
    window_end = window.sound_end(start)  # damage ends a read that began before it
    if limit >= window_end > start:
        return window_end
    # Jump close to the limit by the index: the last entry whose batch begins below it.
    position = max(start, _indexed(window, files, limit, field=1) or 0)
    _, last, end = window.frame(position)
    if end > limit and position > start:  # that entry's batch does not fit: it is the end itself
        return position
    while end < window_end:
        _, following, behind = window.frame(end)
        if behind > limit:
            break
        last, end = following, behind
    segment.add_hint(last + 1, end)
    return end


def first_at_or_after(
    window: Window,
    files: SegmentFiles,
    timestamp_ms: int,
    *,
    from_offset: int,
    decompressed_bytes_max: int,
) -> tuple[int, int] | None:
    """(offset, timestamp) of the first record from `from_offset` on that is not older."""
    segment = window.segment
    window.need_index(files.times, segment.time_entries)
    behind_older = _behind_older(window, files, timestamp_ms)
    if behind_older is not None:
        from_offset = max(from_offset, behind_older)
    position = locate(window, files, from_offset)
    while position < window.end:
        _, _, behind = window.frame(position)
        if window.header(position).max_timestamp >= timestamp_ms:
            columns = decode_columns(
                window.batch(position, behind),
                from_offset=from_offset,
                decompressed_bytes_max=decompressed_bytes_max,
            )
            for offset, timestamp in zip(columns.offsets, columns.timestamps, strict=True):
                if timestamp >= timestamp_ms:
                    return offset, timestamp
        position = behind
    return None


def _behind_older(window: Window, files: SegmentFiles, timestamp_ms: int) -> int | None:
    """The offset behind batches that are all older, by the time index. None if it has no entry for
    that, or one that no batch bears out: then walking from further back is slower and right."""
    segment = window.segment
    found = files.times.floor(timestamp_ms - 1, count=segment.time_entries, field=0)
    if found == NO_ENTRY:
        return None
    latest, relative = files.times.get(found)
    offset = segment.base_offset + relative
    if latest >= timestamp_ms or not segment.base_offset <= offset < segment.next_offset:
        return None
    position = locate(window, files, offset)
    if position >= window.end or window.damaged(position) is not None:
        return None
    header = window.header(position)
    is_true = header.last_offset == offset and header.max_timestamp == latest
    return offset + 1 if is_true else None


def latest_timestamp(
    window: Window, files: SegmentFiles, *, from_offset: int, decompressed_bytes_max: int
) -> int:
    """The largest timestamp of the records from `from_offset` on, by walking the batch headers."""
    latest = TIMESTAMP_NONE
    position = locate(window, files, from_offset)
    while position < window.end:
        base, _, behind = window.frame(position)
        if base >= from_offset:
            header = window.header(position)
            if header.record_count:
                latest = max(latest, header.max_timestamp)
        else:  # its latest record may be one of those in front
            columns = decode_columns(
                window.batch(position, behind),
                from_offset=from_offset,
                decompressed_bytes_max=decompressed_bytes_max,
            )
            latest = max([latest, *columns.timestamps])
        position = behind
    return latest
