"""Bounds the open files and maps of a store: an LRU of segments.

A segment is pinned while its files are in use. A dirty one stays pinned until it is flushed: Linux
reports a failed write-back to descriptors that were open at the time, so the file of unsynced bytes
may not be closed. What nobody pins is closed when there are too many; leases keep their maps.

If dirty segments alone fill the cache, `is_crowded` tells appenders to run a flush round first.
Thread-safe. The lock is held for moments, never while a file is opened or closed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from logstore.log.lease import LeaseCounter
from logstore.log.segment import Segment, SegmentFiles


class SegmentReplacedError(Exception):
    """Internal: a cleaned segment has taken its place, so what was asked has to be asked anew."""


class SegmentCache:
    """Shared by all partitions of a store; also counts its leases."""

    def __init__(self, open_segments_max: int) -> None:
        self.open_segments_max = open_segments_max
        self.leases = LeaseCounter()
        self._lock = threading.Lock()
        self._open: OrderedDict[Segment, None] = OrderedDict()
        self._dirty = 0

    @property
    def open_count(self) -> int:
        return len(self._open)

    @property
    def is_crowded(self) -> bool:
        return self._dirty >= self.open_segments_max

    def pin(self, segment: Segment) -> SegmentFiles:
        """Its files, opened if need be, which stay open until `unpin`.

        Raises OSError, and SegmentReplacedError instead of opening another's files.
        """
        with self._lock:
            segment.pins += 1
            files = segment.files
            if files is not None:
                if segment in self._open:
                    self._open.move_to_end(segment)
                return files
        try:
            with segment.opening:
                files = segment.files
                if files is None:
                    files = segment.files = _open_files(segment)
        except BaseException:
            self.unpin(segment)
            raise
        with self._lock:
            if not segment.is_gone:
                self._open[segment] = None
            victims = self._take_victims()
        for victim in victims:
            victim.close()
        return files

    def unpin(self, segment: Segment, *, is_clean: bool = False) -> None:
        """With `is_clean`, `mark_clean` in the same step."""
        with self._lock:
            if is_clean and segment.is_dirty:
                segment.pins -= 1  # the other one is left
                self._set_clean(segment)
            victims = self._drop_pin(segment)
        for victim in victims:
            victim.close()

    def _drop_pin(self, segment: Segment) -> Sequence[SegmentFiles]:
        """What the caller closes outside the lock."""
        segment.pins -= 1
        if segment.pins:
            return ()
        if segment.is_gone and segment.files is not None:
            files, segment.files = segment.files, None
            return (files,)
        if len(self._open) > self.open_segments_max:  # more were pinned at once
            return self._take_victims()
        return ()

    def adopt(self, segment: Segment, files: SegmentFiles) -> None:
        """A new segment whose files are open; pinned until `unpin`."""
        with self._lock:
            segment.files = files
            segment.pins += 1
            self._open[segment] = None
            victims = self._take_victims()
        for victim in victims:
            victim.close()

    def pin_dirty(self, segment: Segment) -> SegmentFiles:
        """Keep it open until `mark_clean`; its files. The caller owns the segment. Raises as `pin`
        does, and then it is as it was."""
        with self._lock:
            files = segment.files
            if files is not None and not segment.is_dirty:
                segment.is_dirty = True
                segment.pins += 1
                self._dirty += 1
                return files
        files = self.pin(segment)
        self.mark_dirty(segment)
        self.unpin(segment)
        return files

    def mark_dirty(self, segment: Segment) -> None:
        """Keep it open until `mark_clean`. The caller owns the segment and has it pinned."""
        with self._lock:
            if not segment.is_dirty:
                segment.is_dirty = True
                segment.pins += 1
                self._dirty += 1

    def mark_clean(self, segment: Segment) -> None:
        with self._lock:
            if not segment.is_dirty:
                return
            self._set_clean(segment)
            victims = self._drop_pin(segment)
        for victim in victims:
            victim.close()

    def _set_clean(self, segment: Segment) -> None:
        segment.is_dirty = False
        self._dirty -= 1
        if segment in self._open:
            self._open.move_to_end(segment)  # its appends did not

    def forget(self, segment: Segment) -> None:
        """It left the log: close it as soon as nobody uses it."""
        doomed = None
        with self._lock:
            segment.is_gone = True
            self._open.pop(segment, None)
            if segment.pins == 0:
                doomed, segment.files = segment.files, None
        if doomed is not None:
            doomed.close()

    def _take_victims(self) -> list[SegmentFiles]:
        """Least recently used ones that nobody pins, as many as there are too many."""
        excess = len(self._open) - self.open_segments_max
        if excess <= 0:
            return []
        unpinned = (segment for segment in self._open if segment.pins == 0)
        chosen = [segment for segment, _ in zip(unpinned, range(excess), strict=False)]
        victims = []
        for segment in chosen:
            del self._open[segment]
            if segment.files is not None:
                victims.append(segment.files)
                segment.files = None
        return victims


def _open_files(segment: Segment) -> SegmentFiles:
    """The flag is set before the names change hands: looked at afterwards, it cannot be missed."""
    try:
        files = SegmentFiles(segment.fs, segment.stem)
    except FileNotFoundError:
        if segment.is_replaced:
            raise SegmentReplacedError from None
        raise
    if segment.is_replaced:
        files.close()
        raise SegmentReplacedError
    return files
