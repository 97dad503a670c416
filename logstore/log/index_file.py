"""A file of fixed-size big-endian entries, ascending: the offset index and the time index.

One IndexFile is one open handle; how many entries count is kept by the segment, since the file is
allocated ahead (zeros follow the last entry) and handles come and go with the segment cache.

Written by one thread at a time (the partition's lock), read by any number through the map. An
entry is never changed once written. An index is sparse: leaving entries out is always correct,
so a full disk here costs speed, never an append.
"""

from __future__ import annotations

import errno
import threading
from bisect import bisect_right
from struct import Struct
from typing import Any

from logstore.fs import File, FileSystem
from logstore.log.faults import drain_failures
from logstore.log.format import INDEX_BYTES_MAX, INDEX_BYTES_MIN

NO_ENTRY = -1


def map_whole(file: File) -> memoryview:
    """All of a file that is being written: it may be trimmed, once, between the two calls."""
    try:
        return file.map(file.size())
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return file.map(file.size())


class IndexFile:
    __slots__ = ("_allocated", "_entry", "_file", "_fs", "_lock", "_map", "path")

    def __init__(self, fs: FileSystem, path: str, entry: Struct) -> None:
        self.path = path
        self._fs = fs
        self._entry = entry
        self._lock = threading.Lock()  # opening and mapping
        self._file: File | None = None
        self._allocated = 0
        self._map: memoryview | None = None

    # --- read: a file that is missing or short has no entries ---------------------------------

    def get(self, index: int) -> tuple[int, int]:
        """Raises FileNotFoundError if there is no such entry."""
        view = self._view(index + 1)
        if view is None:
            raise FileNotFoundError(errno.ENOENT, "an index entry is gone", self.path)
        first, second = self._entry.unpack_from(view, index * self._entry.size)
        return first, second

    def floor(self, value: int, *, count: int, field: int) -> int:
        """The last of `count` entries whose `field` is at most `value`; NO_ENTRY if none is."""
        view = self._view(count) if count else None
        if view is None:
            return NO_ENTRY
        unpack, size = self._entry.unpack_from, self._entry.size

        def key(index: int) -> Any:
            return unpack(view, index * size)[field]

        return bisect_right(range(count), value, key=key) - 1

    def is_resident(self, count: int) -> bool:
        """Whether the first `count` entries can be read without waiting for the disk."""
        file = self._reader() if count else None
        return file is None or file.resident(0, count * self._entry.size)

    def warm(self, count: int) -> None:
        """Read the entries by pread, so that an error of the disk is an OSError."""
        file = self._reader()
        if file is not None:
            file.read(count * self._entry.size, 0)

    def read(self, index: int) -> tuple[int, int] | None:
        """One entry from the file, not the map; None if the file is shorter."""
        file = self._reader()
        data = file.read(self._entry.size, index * self._entry.size) if file is not None else b""
        if len(data) < self._entry.size:
            return None
        first, second = self._entry.unpack(data)
        return first, second

    def entries(self, count: int) -> list[tuple[int, int]]:
        """Read from the file, not the map. Fewer than `count` if the file is shorter."""
        file = self._reader()
        data = file.read(count * self._entry.size, 0) if file is not None else b""
        usable = len(data) - len(data) % self._entry.size
        return list(self._entry.iter_unpack(memoryview(data)[:usable]))

    def _view(self, count: int) -> memoryview | None:
        """A map of at least `count` entries; None if there are not as many."""
        view = self._map
        needed = count * self._entry.size
        if view is None or len(view) < needed:
            file = self._reader()
            if file is None:
                return None
            with self._lock:
                self._map = view = map_whole(file)
        return view if len(view) >= needed else None

    def _reader(self) -> File | None:
        """The file; None if it was never made or is removed. It is not made by looking at it."""
        with self._lock:
            if self._file is None:
                try:
                    self._file = self._fs.open(self.path)
                except FileNotFoundError:
                    return None
                self._allocated = self._file.size()
            return self._file

    # --- write ------------------------------------------------------------------------------

    def append(self, count: int, first: int, second: int) -> None:
        """Write the entry that follows the first `count`. Raises OSError."""
        file = self._file or self._open()
        end = (count + 1) * self._entry.size
        if end > self._allocated:
            wanted = max(INDEX_BYTES_MIN, min(2 * self._allocated, INDEX_BYTES_MAX), end)
            file.allocate(wanted)
            self._allocated = wanted
        file.write([self._entry.pack(first, second)], end - self._entry.size)

    def keep(self, count: int) -> None:
        """Cut all but the first `count` entries, and write those again: a sync that failed before
        may have left them in the page cache only, where no later sync finds them."""
        self.trim(count)
        if count:
            file = self._open()
            file.write([file.read(count * self._entry.size, 0)], 0)

    def trim(self, count: int) -> None:
        """Cut the space allocated ahead. Raises OSError."""
        if count or self._file is not None or self._fs.exists(self.path):
            self._open().truncate(count * self._entry.size)
            self._allocated = count * self._entry.size

    def make(self) -> None:
        """Open it, made if it is missing. Raises OSError."""
        self._open()

    def sync(self) -> None:
        if self._file is not None:
            self._file.sync()

    def drain_failures(self) -> None:
        """See faults.drain_failures; no file is made for it."""
        file = self._reader()
        if file is not None:
            drain_failures(file)

    @property
    def file(self) -> File | None:
        """The open file, to be synced; None if it was not opened."""
        return self._file

    def close(self) -> None:
        with self._lock:
            self._map = None  # views of it, if any, keep it alive
            if self._file is not None:
                self._file.close()
                self._file = None

    def _open(self) -> File:
        with self._lock:
            if self._file is None:
                self._file = self._fs.open(self.path, create=True)
                self._allocated = self._file.size()
            return self._file
