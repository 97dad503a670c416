"""What MemoryFileSystem keeps: files and directories, each as it is now and as it is on disk.

A file: its bytes now (the page cache), the bytes a sync has put on disk, and the writes since. A
directory: its entries now, those on disk, and the changes since, in order. What a power loss may
leave is decided here; see `FileNode.after_power_loss` and `DirectoryNode.after_power_loss`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SECTOR_BYTES = 512  # what a disk writes whole or not at all


class FileNode:
    def __init__(self) -> None:
        self.size = 0
        self._buffer = bytearray()  # its capacity only grows; beyond `size` zeros
        self._older: list[bytearray] = []  # earlier buffers, of which maps may exist
        self._disk = b""
        self._unsynced: list[tuple[int, bytes]] = []

    @property
    def has_unsynced(self) -> bool:
        return bool(self._unsynced) or self.size != len(self._disk)

    def write(self, data: ReadableBuffer, position: int) -> None:
        content = bytes(data)
        end = position + len(content)
        self._reserve(end)
        for buffer in (self._buffer, *self._older):
            room = max(0, min(end, len(buffer)) - position)
            buffer[position : position + room] = content[:room]
        self.size = max(self.size, end)
        self._unsynced.append((position, content))

    def read(self, count: int, position: int) -> bytes:
        return bytes(self._buffer[position : min(position + count, self.size)])

    def resize(self, size: int) -> None:
        if size < self.size:
            for buffer in (self._buffer, *self._older):
                if len(buffer) > size:
                    buffer[size:] = bytes(len(buffer) - size)
            self._unsynced.append((size, bytes(self.size - size)))
        self._reserve(size)
        self.size = size

    def map(self, length: int) -> memoryview:
        return memoryview(self._buffer)[:length].toreadonly()

    def _reserve(self, size: int) -> None:
        """Maps of the old buffer go on seeing writes: those are made to all buffers."""
        if size > len(self._buffer):
            larger = bytearray(max(size, 2 * len(self._buffer), 4096))
            larger[: len(self._buffer)] = self._buffer
            if self._buffer:
                self._older.append(self._buffer)
            self._buffer = larger

    def sync(self) -> None:
        self._disk = bytes(self._buffer[: self.size])
        self._unsynced = []

    def forget_unsynced(self) -> None:
        """A sync failed: Linux marks the pages clean. They are in memory, and nothing will ever
        write them; a later sync succeeds without them."""
        disk = bytearray(self._disk.ljust(self.size, b"\0")[: self.size])
        self._disk = bytes(disk)
        self._unsynced = []

    def after_power_loss(self, chance: random.Random) -> FileNode:
        """What was synced, and any legal part of what was not: writes whole, torn or dropped, in
        any order, and a size between the two with zeros where data did not arrive."""
        survivor = FileNode()
        low, high = sorted((len(self._disk), self.size))
        size = chance.choice((len(self._disk), self.size, chance.randint(low, high)))
        content = bytearray(self._disk[:size].ljust(size, b"\0"))
        writes = list(self._unsynced)
        chance.shuffle(writes)
        for position, data in writes:
            kept = _part_of(data, position, chance)
            for start, piece in kept:
                end = min(start + len(piece), size)
                if start < end:
                    content[start:end] = piece[: end - start]
        survivor._buffer = content
        survivor.size = size
        survivor._disk = bytes(content)
        return survivor


def _part_of(data: bytes, position: int, chance: random.Random) -> list[tuple[int, bytes]]:
    """The pieces of a write that reached the disk."""
    fate = chance.random()
    if fate < 0.3:
        return []
    if fate < 0.6:
        return [(position, data)]
    if fate < 0.8:  # cut at a byte
        return [(position, data[: chance.randint(0, len(data))])]
    pieces = []
    start = 0
    while start < len(data):  # sector by sector
        end = min(len(data), start + SECTOR_BYTES - (position + start) % SECTOR_BYTES)
        if chance.random() < 0.5:
            pieces.append((position + start, data[start:end]))
        start = end
    return pieces


@dataclass(slots=True)
class DirectoryNode:
    entries: dict[str, FileNode | DirectoryNode] = field(default_factory=dict)
    on_disk: dict[str, FileNode | DirectoryNode] = field(default_factory=dict)
    changes: list[dict[str, FileNode | DirectoryNode | None]] = field(default_factory=list)

    def change(self, change: dict[str, FileNode | DirectoryNode | None]) -> None:
        """Set or remove entries; what is in one change happens as a whole (a rename)."""
        self.changes.append(change)
        _apply(self.entries, change)

    def sync(self) -> None:
        self.on_disk = dict(self.entries)
        self.changes = []

    def after_power_loss(
        self, chance: random.Random, survivors: dict[int, FileNode]
    ) -> DirectoryNode:
        """The entries on disk and the first few of the changes since: a journal keeps an order.

        `survivors`: the file of each node that was met already, as it has two names at most while
        it is being renamed.
        """
        kept = dict(self.on_disk)
        for change in self.changes[: chance.randint(0, len(self.changes))]:
            _apply(kept, change)
        result = DirectoryNode()
        for name, node in kept.items():
            if isinstance(node, FileNode):
                if id(node) not in survivors:
                    survivors[id(node)] = node.after_power_loss(chance)
                result.entries[name] = survivors[id(node)]
            else:
                result.entries[name] = node.after_power_loss(chance, survivors)
        result.on_disk = dict(result.entries)
        return result


def _apply(
    entries: dict[str, FileNode | DirectoryNode],
    change: dict[str, FileNode | DirectoryNode | None],
) -> None:
    for name, node in change.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node
