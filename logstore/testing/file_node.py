"""The content of one file of MemoryFileSystem: as programs see it, and as it is on disk.

- The page cache is `_buffer`, of which the first `size` bytes count. It grows by a larger buffer
  taking its place; maps of the earlier ones go on seeing writes, as each is made to all buffers.
- The disk is `_disk` and `_disk_size`; past the end of `_disk` it holds zeros.
- `_pending` are the writes and changes of size since the last sync, in order. Disk and pending
  applied in order give the cache, except for bytes that a failed sync has forgotten.

What a power loss may leave of the pending ones is decided in `after_power_loss`, nowhere else.
"""

from __future__ import annotations

import mmap
import random
from collections import Counter
from dataclasses import dataclass

SECTOR_BYTES = 512  # what a disk writes whole or not at all
BUFFER_BYTES_MIN = 4096
ANONYMOUS_MAP_BYTES_MIN = (
    1 << 20
)  # from here on a map of zeros: a preallocated segment costs nothing


@dataclass(frozen=True, slots=True)
class Pending:
    """A write of `data` at `position`, or (no data) a change of size; `size`: the file's after."""

    position: int
    data: bytes
    size: int
    cuts: bool = False


class FileNode:
    """Not thread-safe: the file system's lock is held around each call."""

    def __init__(self) -> None:
        self.size = 0
        self.reserved_bytes = 0  # what it takes of the disk
        self.linked = True  # has a name
        self.cold = False  # not in memory, until it is read
        self.failures = 0  # of writing its pages to disk
        self.is_failure_told = True  # the last of them, to anybody
        self._buffer: bytearray | mmap.mmap = bytearray()
        self._older: list[bytearray | mmap.mmap] = []
        self._used_bytes = 0  # of the buffers; the rest was never written and is zero
        self._disk = bytearray()
        self._disk_size = 0
        self._pending: list[Pending] = []
        self._forgotten = False

    # --- the cache --------------------------------------------------------------------------

    def write(self, data: bytes, position: int) -> None:
        if not data:
            return
        end = position + len(data)
        self._grow_buffer(end)
        self._write_buffers(data, position)
        self.size = max(self.size, end)
        self._pending.append(Pending(position, data, self.size))

    def read(self, count: int, position: int) -> bytes:
        end = min(position + count, self.size)
        return bytes(self._buffer[position:end]).ljust(max(0, end - position), b"\0")

    def set_size(self, size: int) -> None:
        if size == self.size:
            return
        cuts = size < self.size
        if cuts:
            self._write_buffers(bytes(max(0, self._used_bytes - size)), size)
            self._used_bytes = min(self._used_bytes, size)
        self.size = size
        self._pending.append(Pending(size, b"", size, cuts))

    def map(self, length: int) -> memoryview:
        self._grow_buffer(length)
        return memoryview(self._buffer)[:length].toreadonly()

    def drop_cache(self) -> None:
        """Clean pages leave memory: what a failed sync has forgotten is no longer seen."""
        self.cold = True
        if not self._forgotten:
            return
        content = bytearray(self._disk)
        for pending in self._pending:
            _apply(content, pending)
        self._write_buffers(bytes(content[: self.size]).ljust(self._used_bytes, b"\0"), 0)
        self._forgotten = False

    def _grow_buffer(self, size: int) -> None:
        if size <= len(self._buffer):
            return
        larger = _zeros(max(size, 2 * len(self._buffer), BUFFER_BYTES_MIN))
        larger[: self._used_bytes] = self._buffer[: self._used_bytes]
        if len(self._buffer):
            self._older.append(self._buffer)
        self._buffer = larger

    def _write_buffers(self, data: bytes, position: int) -> None:
        if not data:
            return
        for buffer in (self._buffer, *self._older):
            room = max(0, min(len(data), len(buffer) - position))
            if room:
                buffer[position : position + room] = data[:room]
        self._used_bytes = max(self._used_bytes, position + len(data))

    # --- the disk ---------------------------------------------------------------------------

    def sync(self) -> None:
        for pending in self._pending:
            _apply(self._disk, pending)
        self._disk_size = self.size
        self._pending.clear()

    @property
    def is_dirty(self) -> bool:
        """Has bytes that are not on disk and that a sync would write."""
        return any(pending.data for pending in self._pending)

    def forget_unsynced(self) -> bool:
        """A sync failed. Linux marks the pages clean: they are in memory, nothing will ever write
        them, and a later sync succeeds without them. The size is metadata and still waits for that
        sync, which leaves zeros where the bytes should be. Returns whether bytes were forgotten."""
        lost = self.is_dirty
        if lost:
            self.failures += 1
            self.is_failure_told = False
        self._pending = [Pending(p.size, b"", p.size, p.cuts) for p in self._pending]
        self._forgotten = self._forgotten or lost
        return lost

    def after_power_loss(self, chance: random.Random, statistics: Counter[str]) -> FileNode:
        """The file as the next boot finds it: what was synced, and a legal part of what was not.

        - The size is that after any one of the pending changes, or within an extending write.
        - A write is there whole, torn or not at all, whatever became of those before it.
        - A cut that was lost took the later writes beyond it along: their blocks are not there.
        - Where the size arrived and the data did not, there are zeros.
        """
        pending = self._pending
        kept = chance.choice((0, len(pending), chance.randint(0, len(pending))))
        size = pending[kept - 1].size if kept else self._disk_size
        if kept < len(pending) and pending[kept].data and chance.random() < 0.3:
            size = chance.randint(size, max(size, pending[kept].size))
        if pending and size != self._disk_size:
            statistics["size_kept"] += 1
        if size != self.size:
            statistics["size_lost"] += 1
        mood = chance.choice((None, None, None, "write_kept", "write_dropped"))
        image = bytearray(self._disk)
        limit = max(size, self.size)  # of the blocks that are there
        missing = False
        for number, change in enumerate(pending):
            if change.cuts and number >= kept:
                limit = min(limit, change.size)
            elif change.cuts:
                _apply(image, change)
            elif change.data:
                fate = mood or _fate(change, chance)
                statistics[fate] += 1
                if missing and fate == "write_kept":
                    statistics["write_reordered"] += 1
                missing = missing or fate != "write_kept"
                if fate != "write_kept" and self._disk_size < change.position < size:
                    statistics["zero_filled_tail"] += 1
                for position, piece in _pieces(change, fate, chance):
                    _put(image, position, piece[: max(0, limit - position)])
        del image[size:]
        return _fresh(image, size)


def _fresh(image: bytearray, size: int) -> FileNode:
    node = FileNode()
    node.size = node.reserved_bytes = node._disk_size = size
    node._disk = image
    node._buffer = bytearray(image)
    node._used_bytes = len(image)
    return node


def _fate(change: Pending, chance: random.Random) -> str:
    fates = ["write_kept", "write_dropped", "write_torn_at_byte", "write_torn_at_sector"]
    return chance.choices(fates, (35, 30, 15, 20))[0]


def _pieces(change: Pending, fate: str, chance: random.Random) -> list[tuple[int, bytes]]:
    """The pieces of a write that reached the disk, with their positions."""
    position, data = change.position, change.data
    if fate == "write_dropped":
        return []
    if fate == "write_kept":
        return [(position, data)]
    if fate == "write_torn_at_byte":
        return [(position, data[: chance.randint(0, len(data))])]
    pieces = []
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR_BYTES - (position + start) % SECTOR_BYTES)
        if chance.random() < 0.5:
            pieces.append((position + start, data[start:end]))
        start = end
    return pieces


def _apply(image: bytearray, change: Pending) -> None:
    if change.cuts:
        del image[change.size :]
    _put(image, change.position, change.data)


def _put(image: bytearray, position: int, data: bytes) -> None:
    if data:
        image.extend(bytes(max(0, position - len(image))))
        image[position : position + len(data)] = data


def _zeros(size: int) -> bytearray | mmap.mmap:
    return mmap.mmap(-1, size) if size >= ANONYMOUS_MAP_BYTES_MIN else bytearray(size)
