"""Reading a log file that may be damaged: which batches are sound, and where they go on.

Files are read by pread, never through a map: bytes that the disk cannot give are an OSError here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from logstore.errors import InvalidBatchError
from logstore.fs import File
from logstore.record import HEADER_BYTES, BatchHeader, check_batch_bytes, parse_header

WINDOW_BYTES: Final = 1 << 20
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
        if count <= 0:
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
    source: FileBytes, position: int, offset_min: int, *, check_from: int
) -> BatchHeader | None:
    """The header of the batch there, if it can be this log's next one. Its CRC is checked when it
    reaches to offset `check_from` or beyond."""
    header = source.header(position)
    if header is None or header.base_offset < offset_min:
        return None
    if header.last_offset >= check_from:
        batch = source.at(position, header.size_bytes)
        if not check_batch_bytes(batch, 0, header):
            return None
    return header


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
            header = sound_batch(source, at, offset_min, check_from=offset_min)
            if header is not None and header.base_offset <= offset_max:
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
