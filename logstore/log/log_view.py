"""What readers see of a partition: its segments up to the high watermark.

Readers take no lock. `segments` and `published` are immutable values that the partition replaces;
a reader works on the ones it began with, and pins the segment that it reads. A segment removed in
between is an offset out of range by then. One that a cleaned segment replaced in between may have
been looked up in the files of the other, which have the same names: the reader asks again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple, TypeVar

from logstore.config import StoreConfig
from logstore.errors import OffsetOutOfRangeError, StorageFailedError
from logstore.log.format import TIMESTAMP_NONE
from logstore.log.lease import NO_DATA, Lease
from logstore.log.reading import (
    ColdBytesError,
    Window,
    extent,
    first_at_or_after,
    latest_timestamp,
    locate,
)
from logstore.log.segment import Segment, SegmentFiles
from logstore.log.segment_cache import SegmentCache, SegmentReplacedError
from logstore.log.transactions import Transactions

T = TypeVar("T")
BASE_OFFSET = attrgetter("base_offset")


class Published(NamedTuple):
    """The high watermark and where it is: of `segment`, bytes below `position` may be read. All
    transactions with records below `stable_offset` are decided."""

    offset: int
    segment: Segment
    position: int
    stable_offset: int


class LogView:
    """Written by the partition under its lock, read by any thread without one."""

    def __init__(
        self,
        name: str,
        segments: tuple[Segment, ...],
        published: Published,
        *,
        log_start_offset: int,
        transactions: Transactions,
        cache: SegmentCache,
        limits: StoreConfig,
    ) -> None:
        self.name = name
        self.segments = segments  # ascending, never empty
        self.published = published
        self.log_start_offset = log_start_offset
        self.transactions = transactions
        self._cache = cache
        self._limits = limits

    @property
    def stable_offset(self) -> int:
        """The last stable offset; a transaction that began before the log start counts not."""
        return max(self.published.stable_offset, self.log_start_offset)

    def check_offset(self, offset: int) -> None:
        """Raises OffsetOutOfRangeError unless log start <= `offset` <= high watermark."""
        first, end = self.log_start_offset, self.published.offset
        if not first <= offset <= end:
            raise OffsetOutOfRangeError(
                f"{self.name} has no offset {offset}: it holds {first} up to {end}",
                offset=offset,
                log_start_offset=first,
                high_watermark=end,
            )

    def read(self, offset: int, *, bytes_max: int, up_to: int | None, cold_ok: bool) -> Lease:
        """See PartitionLog.read."""
        return _again_if_replaced(
            lambda: self._read(offset, bytes_max=bytes_max, up_to=up_to, cold_ok=cold_ok)
        )

    def _read(self, offset: int, *, bytes_max: int, up_to: int | None, cold_ok: bool) -> Lease:
        published = self.published
        self.check_offset(offset)
        limit = published.offset if up_to is None else min(published.offset, up_to)
        if offset >= limit:
            return Lease(NO_DATA)
        segments = self.segments
        index = max(0, bisect_right(segments, offset, key=BASE_OFFSET) - 1)
        try:
            for segment in segments[index:]:
                data = self._read_segment(
                    segment, published, offset, bytes_max, up_to=up_to, cold_ok=cold_ok
                )
                if data.nbytes:
                    self._cache.leases.take(self._limits.leases_max)
                    return Lease(data, counter=self._cache.leases)
                if segment is published.segment or segment.next_offset >= limit:
                    break  # only a hole is left below the limit
        except ColdBytesError:
            return Lease(NO_DATA, cold=True)
        return Lease(NO_DATA)

    def _read_segment(
        self,
        segment: Segment,
        published: Published,
        offset: int,
        bytes_max: int,
        *,
        up_to: int | None,
        cold_ok: bool,
    ) -> memoryview:
        """Whole batches from `offset` on; nothing if the segment has none there."""

        def find(window: Window, files: SegmentFiles) -> memoryview:
            if up_to is not None:
                window.end = locate(window, files, up_to)
            start = locate(window, files, offset)
            if start >= window.end:
                return NO_DATA
            end = extent(window, files, start, bytes_max)
            return window.batch(start, end)

        return self._with_window(segment, published, find, offset=offset, cold_ok=cold_ok)

    def _with_window(
        self,
        segment: Segment,
        published: Published,
        work: Callable[[Window, SegmentFiles], T],
        *,
        offset: int,
        cold_ok: bool,
    ) -> T:
        end = published.position if segment is published.segment else segment.size
        try:
            files = self._cache.pin(segment)
            try:
                found = work(Window(segment, files, end=end, cold_ok=cold_ok), files)
            finally:
                self._cache.unpin(segment)
        except Exception as error:
            if segment.is_replaced:
                raise SegmentReplacedError from None
            if not isinstance(error, OSError):
                raise
            if isinstance(error, FileNotFoundError):
                self.check_offset(offset)  # removed meanwhile: that offset is gone
            raise StorageFailedError(
                f"could not read {segment.log_path}: {error}", path=segment.log_path
            ) from error
        if segment.is_replaced:
            raise SegmentReplacedError
        return found

    # --- by time ----------------------------------------------------------------------------

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        """See PartitionLog.offset_for_timestamp."""
        return _again_if_replaced(lambda: self._offset_for_timestamp(timestamp_ms))

    def _offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        published = self.published
        for segment in self.segments:
            if segment.base_offset >= published.offset:
                break
            if self.max_timestamp(segment) < timestamp_ms:
                continue
            found = self._first_at_or_after(segment, published, timestamp_ms)
            if found is not None:
                return found
        return None

    def offset_for_max_timestamp(self) -> tuple[int, int] | None:
        """See PartitionLog.offset_for_max_timestamp."""
        return _again_if_replaced(self._offset_for_max_timestamp)

    def _offset_for_max_timestamp(self) -> tuple[int, int] | None:
        published = self.published
        visible = [part for part in self.segments if part.base_offset < published.offset]
        visible.sort(key=self.max_timestamp, reverse=True)  # stable: the earliest of equals first
        best = TIMESTAMP_NONE
        best_segment: Segment | None = None
        for segment in visible:
            bound = self.max_timestamp(segment)
            if bound < best or (best_segment is not None and bound == best == TIMESTAMP_NONE):
                break
            latest = self._latest_timestamp(segment, published)
            is_earlier = best_segment is None or segment.base_offset < best_segment.base_offset
            if latest > best or (latest == best and is_earlier):
                best, best_segment = latest, segment
        if best_segment is None:
            return None
        return self._first_at_or_after(best_segment, published, best)

    def max_timestamp(self, segment: Segment) -> int:
        if segment.is_max_timestamp_known:
            return segment.max_timestamp
        try:
            files = self._cache.pin(segment)
            try:
                segment.load_max_timestamp(files)
            finally:
                self._cache.unpin(segment)
        except FileNotFoundError:
            if segment.is_replaced:
                raise SegmentReplacedError from None
            return TIMESTAMP_NONE  # removed meanwhile
        except OSError as error:
            raise StorageFailedError(
                f"could not read {segment.stem}: {error}", path=segment.stem
            ) from error
        return segment.max_timestamp

    def _first_at_or_after(
        self, segment: Segment, published: Published, timestamp_ms: int
    ) -> tuple[int, int] | None:
        start = self.log_start_offset

        def find(window: Window, files: SegmentFiles) -> tuple[int, int] | None:
            return first_at_or_after(
                window,
                files,
                timestamp_ms,
                from_offset=start,
                decompressed_bytes_max=self._limits.decompressed_bytes_max,
            )

        return self._with_window(segment, published, find, offset=start, cold_ok=True)

    def _latest_timestamp(self, segment: Segment, published: Published) -> int:
        start = self.log_start_offset
        is_whole = segment.base_offset >= start and segment is not self.segments[-1]
        if is_whole and segment is not published.segment:
            return self.max_timestamp(segment)

        def find(window: Window, files: SegmentFiles) -> int:
            return latest_timestamp(
                window,
                files,
                from_offset=start,
                decompressed_bytes_max=self._limits.decompressed_bytes_max,
            )

        return self._with_window(segment, published, find, offset=start, cold_ok=True)


def _again_if_replaced(read: Callable[[], T]) -> T:
    """The list of segments was another before any of them was marked as replaced."""
    while True:
        try:
            return read()
        except SegmentReplacedError:
            continue
