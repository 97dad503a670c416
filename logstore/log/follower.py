"""One partition as another process sees it: what its writer has published, and nothing beyond.

The state file says how far: high watermark, log start, and a number that changes with the list of
segments. `refresh` takes that over; reads then work on it like the writer's own (LogView). A
segment that was removed meanwhile makes its offsets out of range.

A cleaned segment has the name of one it replaced. The number of the list says so before the names
change hands, and changes again when that is done: until then the list is not looked at, and what
was read while the number changed is thrown away.
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import Callable, Sequence
from typing import TypeAlias

from logstore.config import StoreConfig
from logstore.errors import (
    CorruptDataError,
    InvalidBatchError,
    OffsetOutOfRangeError,
    StorageFailedError,
)
from logstore.fs import FileSystem
from logstore.log.format import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    OFFSET_ENTRY,
    REPLACING,
    TIME_ENTRY,
    TIME_INDEX_SUFFIX,
    TIMESTAMP_NONE,
    parse_offset_name,
)
from logstore.log.lease import NO_DATA, Lease
from logstore.log.log_view import LogView, Published
from logstore.log.segment import Segment
from logstore.log.segment_cache import SegmentCache
from logstore.log.state_file import SlotValues, StateReader
from logstore.log.transactions import Transactions
from logstore.record import parse_header

EMPTY = SlotValues(0, 0, 0, 0, 0)
LOOK_UPS_MAX = 3  # by time, while the writer changes the segments
Found: TypeAlias = tuple[int, int] | None


class FollowerLog:
    """Not thread-safe: one user at a time. `fs` must be read-only (see ReadOnlyFileSystem)."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        *,
        topic: str,
        topic_id: uuid.UUID,
        partition: int,
        state: StateReader,
        cache: SegmentCache,
        limits: StoreConfig,
    ) -> None:
        self.partition = partition
        self._fs = fs
        self._directory = directory
        self._topic_id = topic_id
        self._state = state
        self._cache = cache
        self._seen: SlotValues | None = None
        nothing = Segment(fs, directory, 0, created_ms=0)
        self._active = nothing  # the last segment, still being written
        self._bases: list[int] = []
        self._latest = (TIMESTAMP_NONE, 0)  # of the active segment: timestamp and its offset
        self._view = LogView(
            f"{topic}-{partition}",
            (nothing,),
            Published(0, nothing, 0, 0),
            log_start_offset=0,
            transactions=Transactions(()),
            cache=cache,
            limits=limits,
        )
        self.refresh()

    @property
    def high_watermark(self) -> int:
        return self._view.published.offset

    @property
    def log_start_offset(self) -> int:
        return self._view.log_start_offset

    @property
    def size_bytes(self) -> int:
        return sum(segment.size for segment in self._view.segments)

    def refresh(self) -> bool:
        """Take over what the writer has published since; whether that is anything new."""
        slot = self._state.read(self._topic_id, self.partition) or EMPTY
        if slot == self._seen or (self._seen is not None and slot.generation & REPLACING):
            return False
        try:
            if self._seen is None or slot.generation != self._seen.generation:
                self._bases = self._list_segments()
                self._forget_all()
            self._arrange(self._visible_end(slot))
            self._publish(slot)
        except OSError:
            # Files came, went or were cut between the slot and here; the next look sees how.
            self._seen = None
            return False
        self._seen = slot
        return True

    def _visible_end(self, slot: SlotValues) -> int:
        """After a restart of the machine only what was flushed is sure to be there."""
        header = self._state.header()
        is_same_boot = header is not None and header.boot_id == self._fs.boot_id()[:64]
        end = slot.high_watermark
        return end if is_same_boot else min(end, slot.flushed_offset)

    def _forget_all(self) -> None:
        """Behind the same names there may be other files now. What was sealed is measured anew,
        the last one followed from its start."""
        for segment in self._view.segments:
            self._cache.forget(segment)
        self._active = Segment(self._fs, self._directory, -1, created_ms=0)
        self._view.segments = ()

    def _list_segments(self) -> list[int]:
        return sorted(
            base
            for name in self._fs.list_directory(self._directory)
            if (base := parse_offset_name(name, LOG_SUFFIX)) is not None
        )

    def _arrange(self, end: int) -> None:
        """The segments that hold offsets below `end`. All but the last are sealed: the writer
        seals a segment before it publishes anything of the next."""
        bases = [base for base in self._bases if base < end] or self._bases[:1]
        if not bases:
            raise FileNotFoundError(self._directory)
        known = {segment.base_offset: segment for segment in self._view.segments}
        segments = []
        for base, following in zip(bases, [*bases[1:], None], strict=True):
            segment = known.get(base)
            if segment is not None and segment is self._active and following is not None:
                self._cache.forget(segment)  # sealed since: its files are to be opened anew
                segment = None
            if segment is None:
                segment = Segment(self._fs, self._directory, base, created_ms=0)
                if following is not None:
                    self._measure(segment, following)
            segments.append(segment)
        self._active = segments[-1]
        self._view.segments = tuple(segments)

    def _measure(self, segment: Segment, next_offset: int) -> None:
        """A segment that no longer grows."""
        size = self._size(segment.stem + LOG_SUFFIX)
        segment.restore(size=size, next_offset=next_offset, first_timestamp=None)
        segment.offset_entries = self._size(segment.stem + INDEX_SUFFIX) // OFFSET_ENTRY.size
        segment.time_entries = self._size(segment.stem + TIME_INDEX_SUFFIX) // TIME_ENTRY.size

    def _size(self, path: str) -> int:
        file = self._fs.open(path, create=True)
        try:
            return file.size()
        finally:
            file.close()

    def _publish(self, slot: SlotValues) -> None:
        """Move the end to the high watermark: follow the batches from where it was."""
        end = self._visible_end(slot)
        active = self._active
        before = self._view.published
        position, offset = 0, active.base_offset
        if before.segment is active:
            position, offset = before.position, before.offset
        else:
            self._latest = (TIMESTAMP_NONE, active.base_offset)
        files = self._cache.pin(active)
        try:
            size = files.log.size()
            view = files.view(size) if size else memoryview(b"")
            while offset < end and position < size:
                header = parse_header(view, position)
                position += header.size_bytes
                offset = header.last_offset + 1
                if header.max_timestamp > self._latest[0]:
                    self._latest = header.max_timestamp, header.last_offset
        except InvalidBatchError:
            pass  # a write that is under way; what was reached is whole
        finally:
            self._cache.unpin(active)
        self._count_entries(active, offset, position)
        self._view.log_start_offset = max(slot.log_start_offset, self._view.segments[0].base_offset)
        published = min(offset, end) if position else end
        stable = min(published, slot.last_stable_offset)
        self._view.published = Published(published, active, position, stable)

    def _count_entries(self, segment: Segment, end: int, position: int) -> None:
        """How many entries of the growing indexes are written and within what is published."""
        files = self._cache.pin(segment)
        try:
            for index in (files.offsets, files.times):
                if index.file is not None and index.file.size() == 0:
                    index.close()  # opened before the writer had made it
            limit = end - segment.base_offset
            entries = files.offsets.entries(self._size(segment.stem + INDEX_SUFFIX))
            segment.offset_entries = _rising(entries, (limit, position))
            times = files.times.entries(self._size(segment.stem + TIME_INDEX_SUFFIX))
            segment.time_entries = _rising(times, (1 << 63, limit))
            segment.restore(size=position, next_offset=end, first_timestamp=None)
            segment.set_max_timestamp(*self._latest)
        finally:
            self._cache.unpin(segment)

    # --- read -------------------------------------------------------------------------------

    def check_offset(self, offset: int) -> None:
        self._view.check_offset(offset)

    def read(self, offset: int, *, bytes_max: int, cold_ok: bool = True) -> Lease:
        """As PartitionLog.read."""
        try:
            lease = self._view.read(offset, bytes_max=bytes_max, up_to=None, cold_ok=cold_ok)
            if self._is_outdated():
                lease.close()
            return lease
        except (StorageFailedError, CorruptDataError) as failure:
            if self._is_outdated():
                return Lease(NO_DATA)
            cause = failure.__cause__
            if isinstance(cause, FileNotFoundError):
                raise OffsetOutOfRangeError(
                    f"{self._view.name}: offset {offset} was removed while it was read",
                    offset=offset,
                ) from failure
            if not isinstance(cause, OSError) or cause.errno != errno.EINVAL:
                raise
            self._seen = None  # cut by its writer while it was mapped: look again
            return Lease(NO_DATA)

    def _is_outdated(self) -> bool:
        """Whether the list of segments changed since it was looked at; if so, look again."""
        slot = self._state.read(self._topic_id, self.partition) or EMPTY
        return self._seen is None or slot.generation != self._seen.generation

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        return self._look_up(lambda: self._view.offset_for_timestamp(timestamp_ms))

    def offset_for_max_timestamp(self) -> tuple[int, int] | None:
        return self._look_up(self._view.offset_for_max_timestamp)

    def _look_up(self, work: Callable[[], Found]) -> Found:
        for _ in range(LOOK_UPS_MAX - 1):
            try:
                found = work()
            except (StorageFailedError, CorruptDataError):
                if not self._is_outdated():
                    raise
            else:
                if not self._is_outdated():
                    return found
            self.refresh()
        return work()


def _rising(entries: Sequence[tuple[int, int]], limits: tuple[int, int]) -> int:
    """How many entries from the front rise and stay below the limits."""
    before = (-1, -1)
    for count, entry in enumerate(entries):
        if not (before[0] < entry[0] < limits[0] and before[1] < entry[1] < limits[1]):
            return count
        before = entry
    return len(entries)
