"""The sidecar of a segment: a CRC-32C of every 64 KiB of its .log. Layout: see format.py.

    .log   [ block 0 ][ block 1 ][ blo           grows
    .crc   head, 0, 1                            written by the flush that passed their ends
           head, 0, 1, end of 'blo'              sealed, or closed: the sidecar is whole

Invariants
- An entry is written from the bytes of the log that a flush is about to sync, and never changed.
- A segment that is sealed has a whole sidecar, synced before the flushed offset passes its end.
- After an unclean end of the process entries of whole blocks are right; after one of the machine
  those of a segment that was not sealed are not believed, but made anew.

So every byte below the end of an opened log is one of: in a block that has a checksum, which is
looked at when it is first read; or checked batch by batch when the log was opened.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import crc32c

from logstore.fs import File, FileSystem
from logstore.log.format import (
    BLOCK_BYTES,
    BLOCK_ENTRY,
    BLOCK_NUMBERED,
    CHECKSUMS_END,
    CHECKSUMS_HEAD,
    CHECKSUMS_MAGIC,
    CHECKSUMS_SUFFIX,
    TIMESTAMP_NONE,
)
from logstore.log.salvage import FileBytes

READ_BLOCKS = 16  # of one pread while checksums are made
HEAD = CHECKSUMS_HEAD.pack(CHECKSUMS_MAGIC, BLOCK_BYTES)
END_CRC = struct.Struct(">I")
END_BYTES = CHECKSUMS_END.size + END_CRC.size

UNCHECKED, SOUND, DAMAGED = 0, 1, 2  # of a block


class BlockSums(NamedTuple):
    """Of the first `size` bytes of a log file: a checksum for each block, the last one may be cut
    short. `is_whole`: the file ended there when it was written, and the rest is known."""

    crcs: Sequence[int]
    size: int
    is_whole: bool
    max_timestamp: int = TIMESTAMP_NONE
    max_timestamp_at: int = 0  # offset, relative to the segment's base


NO_SUMS = BlockSums((), 0, False)


def decode_sums(data: bytes) -> BlockSums:
    """What can be believed of a sidecar; of a damaged one the entries before the damage."""
    if not data.startswith(HEAD):
        return NO_SUMS
    body = len(data) - len(HEAD) - END_BYTES
    if body >= 0 and body % BLOCK_ENTRY.size == 0:
        end = len(data) - END_CRC.size
        (checksum,) = END_CRC.unpack_from(data, end)
        size, last, *latest = CHECKSUMS_END.unpack_from(data, end - CHECKSUMS_END.size)
        count = body // BLOCK_ENTRY.size
        is_whole = checksum == crc32c.crc32c(data[:end]) and size // BLOCK_BYTES == count
        if is_whole:
            crcs = array("I", struct.unpack_from(f">{2 * count}I", data, len(HEAD))[::2])
            if size % BLOCK_BYTES:
                crcs.append(last)
            return BlockSums(crcs, size, True, *latest)
    crcs = array("I")
    usable = len(data) - (len(data) - len(HEAD)) % BLOCK_ENTRY.size
    for crc, check in BLOCK_ENTRY.iter_unpack(memoryview(data)[len(HEAD) : usable]):
        if check != crc32c.crc32c(BLOCK_NUMBERED.pack(len(crcs), crc)):
            break
        crcs.append(crc)
    return BlockSums(crcs, len(crcs) * BLOCK_BYTES, False)


def read_sums(fs: FileSystem, stem: str, *, state: str = "") -> BlockSums:
    """Of the segment with that stem; NO_SUMS if it has no sidecar. `state`: what follows the
    suffix of the file. Raises OSError."""
    path = stem + CHECKSUMS_SUFFIX + state
    if not fs.exists(path):
        return NO_SUMS
    file = fs.open(path, write=False)
    try:
        return decode_sums(file.read(file.size(), 0))
    finally:
        file.close()


def covers(fs: FileSystem, stem: str, size: int) -> bool:
    """Whether the sidecar tells of all `size` bytes of the log. Raises OSError."""
    sums = read_sums(fs, stem)
    return size == 0 or (sums.is_whole and sums.size == size)


class SumsWriter:
    """Makes and extends the sidecar of one segment. Used by one flush round at a time."""

    __slots__ = ("_crcs", "_fs", "_path", "_written")

    def __init__(
        self, fs: FileSystem, stem: str, *, keep_bytes: int | None = None, state: str = ""
    ) -> None:
        """Goes on behind the entries that are there. Recovery says of how many bytes of the log it
        believes them (`keep_bytes`), and gets a new file: a write-back of the old one that failed
        is no failure of what is written now. Raises OSError."""
        self._fs = fs
        self._path = stem + CHECKSUMS_SUFFIX + state
        sums = read_sums(fs, stem, state=state)
        count = sums.size // BLOCK_BYTES
        if keep_bytes is not None:
            count = min(count, keep_bytes // BLOCK_BYTES)
            if fs.exists(self._path):
                fs.unlink(self._path)
        self._crcs = array("I", sums.crcs[:count])
        self._written = count if keep_bytes is None else 0

    @property
    def covered(self) -> int:
        return len(self._crcs) * BLOCK_BYTES

    def extend(self, log: File, end: int) -> None:
        """Write the entries of the whole blocks below `end`. Raises OSError."""
        self._sum(log, end)
        if len(self._crcs) > self._written:
            self._write(self._written, b"").close()

    def finish(self, log: File, size: int, *, max_timestamp: int, max_timestamp_at: int) -> File:
        """The log ends at `size`: write all of the sidecar. The file, to be synced. Raises
        OSError."""
        self._sum(log, size)
        rest = log.read(size - self.covered, self.covered)
        end = CHECKSUMS_END.pack(size, crc32c.crc32c(rest), max_timestamp, max_timestamp_at)
        return self._write(0, end)

    def _sum(self, log: File, end: int) -> None:
        while self.covered + BLOCK_BYTES <= end:
            start = self.covered
            count = min(READ_BLOCKS, (end - start) // BLOCK_BYTES)
            data = memoryview(log.read(count * BLOCK_BYTES, start))
            for at in range(0, count * BLOCK_BYTES, BLOCK_BYTES):
                self._crcs.append(crc32c.crc32c(data[at : at + BLOCK_BYTES]))

    def _write(self, first: int, end: bytes) -> File:
        """The entries from `first` on; behind the end, if it is given, the CRC of the whole."""
        data = b"".join(_entry(index, crc) for index, crc in enumerate(self._crcs[first:], first))
        position = len(HEAD) + first * BLOCK_ENTRY.size
        if first == 0:
            data, position = HEAD + data + end, 0
        if end:
            data += END_CRC.pack(crc32c.crc32c(data))
        file = self._fs.open(self._path, create=True)
        try:
            file.truncate(position)
            file.write([data], position)
        except OSError:
            with suppress(OSError):
                file.truncate(0)
            file.close()
            self._written = 0
            raise
        self._written = len(self._crcs)
        return file


def _entry(index: int, crc: int) -> bytes:
    return BLOCK_ENTRY.pack(crc, crc32c.crc32c(BLOCK_NUMBERED.pack(index, crc)))


class BlockChecks:
    """Which blocks of an open log file were looked at, and what was found. Any thread may use it:
    at worst a block is looked at twice."""

    __slots__ = ("_seen", "sums")

    def __init__(self, sums: BlockSums) -> None:
        self.sums = sums
        self._seen = bytearray(len(sums.crcs))

    def is_sound(self, view: memoryview, start: int, stop: int) -> bool:
        """Whether the blocks that [start, stop) touches are what was written. Those that have no
        checksum, or end behind the view, count as sound."""
        first = start // BLOCK_BYTES
        last = min(len(self._seen), -(-stop // BLOCK_BYTES))
        seen = self._seen
        if seen.count(SOUND, first, last) >= last - first:
            return True
        for block in range(first, last):
            begin = block * BLOCK_BYTES
            end = min(begin + BLOCK_BYTES, self.sums.size)
            if seen[block] == UNCHECKED and end <= len(view):
                is_same = crc32c.crc32c(view[begin:end]) == self.sums.crcs[block]
                seen[block] = SOUND if is_same else DAMAGED
        return seen.find(DAMAGED, first, last) < 0

    def damaged_blocks(self) -> list[tuple[int, int]]:
        """(start, end) of those that were looked at and are not what was written."""
        return [
            (block * BLOCK_BYTES, min((block + 1) * BLOCK_BYTES, self.sums.size))
            for block, seen in enumerate(self._seen)
            if seen == DAMAGED
        ]


def damaged_blocks(source: FileBytes, sums: BlockSums) -> list[tuple[int, int]]:
    """(start, end) of all blocks of a log file that are not what was written. Raises OSError."""
    found = []
    for block, crc in enumerate(sums.crcs):
        start = block * BLOCK_BYTES
        end = min(start + BLOCK_BYTES, sums.size)
        if crc32c.crc32c(source.at(start, end - start)) != crc:
            found.append((start, end))
    return found
