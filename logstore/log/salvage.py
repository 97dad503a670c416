"""Reading a log file that may be damaged: which batches are sound, and where they go on.

Files are read by pread, never through a map: bytes that the disk cannot give are an OSError here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from logstore.errors import InvalidBatchError
from logstore.fs import File, FileSystem
from logstore.log.format import QUARANTINE_SUFFIX
from logstore.record import HEADER_BYTES, BatchHeader, check_batch_bytes, parse_header

WINDOW_BYTES: Final = 1 << 20
HEADERS_WINDOW_BYTES: Final = 64 << 10  # read at once where only headers are looked at
COPY_BYTES: Final = 1 << 20
COPY_BUFFERS: Final = 512  # of one write, below IOV_MAX
MAGIC_AT: Final = 16
MAGIC_BYTE: Final = re.compile(b"\x02")


class FileBytes:
    """The first `end` bytes of a file, read in windows: cheap when asked for front to back."""

    __slots__ = ("_file", "_start", "_window", "_window_bytes", "end")

    def __init__(self, file: File, end: int, *, window_bytes: int = WINDOW_BYTES) -> None:
        self._file = file
        self._window_bytes = window_bytes
        self.end = end
        self._start = 0
        self._window = memoryview(b"")

    def at(self, position: int, count: int) -> memoryview:
        """`count` bytes from `position`; fewer where they end."""
        count = min(count, self.end - position)
        if count <= 0 or position < 0:  # an index may say anything
            return memoryview(b"")
        offset = position - self._start
        if offset < 0 or offset + count > len(self._window):
            wanted = min(max(count, self._window_bytes), self.end - position)
            self._window = memoryview(self._file.read(wanted, position))
            self._start, offset = position, 0
        return self._window[offset : offset + count]

    def header(self, position: int) -> BatchHeader | None:
        """Of the batch that begins there and lies wholly in the file; None if none does."""
        try:
            header = parse_header(self.at(position, HEADER_BYTES))
        except InvalidBatchError:
            return None
        is_whole = position + header.size_bytes <= self.end and header.last_offset_delta >= 0
        return header if is_whole else None

    def headers(self, position: int) -> Iterator[tuple[int, BatchHeader]]:
        """(position, header) of the batches from there on, as far as they follow each other."""
        while position < self.end:
            header = self.header(position)
            if header is None:
                return
            yield position, header
            position += header.size_bytes


def sound_batch(
    source: FileBytes, position: int, next_offset: int, following: int | None
) -> BatchHeader | None:
    """The header of the batch there, if it is this log's next one: its CRC holds, and it begins at
    `next_offset`, or behind it if compaction may have been at work: in a segment that has one
    `following`, whose base offset that is."""
    header = source.header(position)
    if header is None or header.base_offset < next_offset:
        return None
    if following is None:
        is_next = header.base_offset == next_offset
    else:
        is_next = header.last_offset < following
    batch = source.at(position, header.size_bytes)
    return header if is_next and check_batch_bytes(batch, 0, header) else None


class Rewrite:
    """Batches written back where they were found, many at a time."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._batches: list[memoryview] = []
        self._position = 0
        self._bytes = 0

    def add(self, batch: memoryview, position: int) -> None:
        if not self._batches:
            self._position = position
        self._batches.append(batch)
        self._bytes += len(batch)
        if self._bytes >= COPY_BYTES or len(self._batches) == COPY_BUFFERS:
            self.write()

    def write(self) -> None:
        if self._batches:
            self._file.write(self._batches, self._position)
        self._batches, self._bytes = [], 0


class Sound(NamedTuple):
    position: int
    offset: int


def find_sound_batch(
    source: FileBytes, position: int, *, offset_min: int, offset_max: int
) -> Sound | None:
    """The first valid batch behind the bad one at `position`, with a base offset in the bounds."""
    start = position + 1
    while start + HEADER_BYTES <= source.end:
        stop = min(start + WINDOW_BYTES, source.end)
        window = bytes(source.at(start, stop - start))
        for match in MAGIC_BYTE.finditer(window, MAGIC_AT):
            at = start + match.start() - MAGIC_AT
            header = source.header(at)
            if header is None or not offset_min <= header.base_offset <= offset_max:
                continue
            if check_batch_bytes(source.at(at, header.size_bytes), 0, header):
                return Sound(at, header.base_offset)
        start += max(1, len(window) - MAGIC_AT)
    return None


def used_end(source: FileBytes, position: int) -> int:
    """Where the zeros begin that the file ends with; `position` if there is nothing else."""
    end = source.end
    while end > position:
        start = max(position, end - WINDOW_BYTES)
        content = bytes(source.at(start, end - start)).rstrip(b"\0")
        if content:
            return start + len(content)
        end = start
    return position


def quarantine_name(fs: FileSystem, directory: str, found: str, stem: str) -> str:
    """The name for a file `found` that is to be set aside: one that no other bytes have. An earlier
    opening that was cut short may have set aside the same already. Raises OSError."""
    number = 0
    while True:
        name = f"{stem}.{number}{QUARANTINE_SUFFIX}" if number else f"{stem}{QUARANTINE_SUFFIX}"
        path = f"{directory}/{name}"
        if not fs.exists(path) or _are_equal(fs, f"{directory}/{found}", path):
            return name
        number += 1


def _are_equal(fs: FileSystem, path: str, other_path: str) -> bool:
    file, other = fs.open(path, write=False), fs.open(other_path, write=False)
    try:
        return file.size() == other.size() and all(
            file.read(COPY_BYTES, position) == other.read(COPY_BYTES, position)
            for position in range(0, file.size(), COPY_BYTES)
        )
    finally:
        file.close()
        other.close()


class DamagedRange(NamedTuple):
    """Bytes that hold no batch that could be served; what they held ended with `last_offset`."""

    position: int
    end: int
    first_offset: int
    last_offset: int

    def touches(self, start: int, stop: int) -> bool:
        return self.position < stop and start < self.end


def damaged_ranges(
    source: FileBytes, base_offset: int, next_offset: int, blocks: Sequence[tuple[int, int]]
) -> list[DamagedRange]:
    """What the damage in these blocks, (start, end) each, costs of a segment that ends at
    `next_offset`: the batches whose CRC or offsets do not hold; of a block where all do, but whose
    checksum does not, every batch that it touches, since any of its headers may be the wrong one.
    """
    ranges: list[DamagedRange] = []
    suspects: dict[int, list[DamagedRange]] = {start: [] for start, _ in blocks}
    position, offset = 0, base_offset
    while position < source.end:
        header = source.header(position)
        if header is not None and _holds(source, position, header, offset, next_offset):
            found = DamagedRange(position, position + header.size_bytes, offset, header.last_offset)
            for start, stop in blocks:
                if found.touches(start, stop):
                    suspects[start].append(found)
        else:
            sound = find_sound_batch(
                source, position, offset_min=offset, offset_max=next_offset - 1
            )
            end, behind = sound or (source.end, next_offset)
            found = DamagedRange(position, end, offset, behind - 1)
            ranges.append(found)
        position, offset = found.end, found.last_offset + 1
    for start, stop in blocks:
        if not any(found.touches(start, stop) for found in ranges):
            ranges += suspects[start]
    return sorted(set(ranges))


def _holds(
    source: FileBytes, position: int, header: BatchHeader, offset: int, next_offset: int
) -> bool:
    """Whether the batch's CRC holds and its offsets fit between its neighbours'."""
    if not offset <= header.base_offset <= header.last_offset < next_offset:
        return False
    if not check_batch_bytes(source.at(position, header.size_bytes), 0, header):
        return False
    following = source.header(position + header.size_bytes)
    return (
        following is None
        or following.base_offset > header.last_offset
        or (header.base_offset == offset)
    )
