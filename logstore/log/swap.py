"""Putting a cleaned segment in the place of those it was made of, so that a crash at any point
leaves either all of the old or the new.

    segments 0 [0..500) and 500 [500..900) become one segment 0 [0..900):

    1  0.log.cleaned, 0.index.cleaned, 0.timeindex.cleaned, 0.crc.cleaned are written and synced
    2  all but the index renamed: 0.log.cleaned -> 0.log.swap and so on, directory synced
    3  0.index.cleaned -> 0.index.swap, directory synced             from here on it is the new
    4  0.log.swap -> 0.log and so on (over the old ones), then the old 500.* are removed,
       directory synced
    5  0.index.swap -> 0.index, directory synced                     done

The names are Kafka's, and so is the idea; but there is one file that decides, `.index.swap`: while
it is there the swap is finished, without it everything else of a swap is undone. Both may be done
again, and be cut short again. The new log replaces the old by one rename before anything is
removed, so that another process that lists the directory finds an overlap, never a hole.

Which segments the new one stands for is told by its last batch: a cleaned segment ends with the
last offset of the last segment it was made of (see compaction.py).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from logstore.fs import FileSystem
from logstore.log.checksums import SumsWriter
from logstore.log.format import (
    CLEANED_SUFFIX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    SEGMENT_SUFFIXES,
    SWAP_SUFFIX,
    offset_name,
    parse_offset_name,
)
from logstore.log.retention import remove_files
from logstore.log.salvage import FileBytes
from logstore.log.segment import Segment, SegmentFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logstore.config import TopicConfig
    from logstore.record import BatchHeader

WRITE_BYTES: Final = 1 << 20  # gathered for one write
WRITE_BUFFERS: Final = 512  # of one write, below IOV_MAX
SYNC_BYTES: Final = 8 << 20  # written between two syncs: one of them all would hold up the disk
HEADERS_WINDOW_BYTES: Final = 64 << 10
BEFORE_THE_MARKER: Final = tuple(part for part in SEGMENT_SUFFIXES if part != INDEX_SUFFIX)


class CleanedSegment:
    """A segment on its way. Owned by one compaction; raises OSError.

    `segment` has the numbers of what was added, under the names that it will have in the end.
    """

    def __init__(
        self, fs: FileSystem, directory: str, base_offset: int, *, now_ms: int, config: TopicConfig
    ) -> None:
        self.segment = Segment(fs, directory, base_offset, created_ms=now_ms)
        self._fs = fs
        self._directory = directory
        self._stem = self.segment.stem
        self._config = config
        self._buffers: list[bytearray | memoryview] = []
        self._buffered = 0
        self._unsynced = 0
        self._may_be_decided = False
        self._remove_leftovers()  # of a cleaning that failed
        self.files = SegmentFiles(fs, self._stem, state=CLEANED_SUFFIX)
        self._sums = SumsWriter(fs, self._stem, state=CLEANED_SUFFIX)

    def append(self, batch: bytearray | memoryview, header: BatchHeader) -> None:
        """`batch` must not be changed any more: it is written later."""
        self._buffers.append(batch)
        self._buffered += len(batch)
        self.segment.note_append(
            self.files, header, base_offset=header.base_offset, config=self._config
        )
        if self._buffered >= WRITE_BYTES or len(self._buffers) == WRITE_BUFFERS:
            self._write()

    def _write(self) -> None:
        if self._buffers:
            self.files.log.write(self._buffers, self.segment.size - self._buffered)
            self._unsynced += self._buffered
            self._buffers, self._buffered = [], 0
        if self._unsynced >= SYNC_BYTES:
            self._sums.extend(self.files.log, self.segment.size)
            self.files.log.sync()
            self._unsynced = 0

    def seal(self) -> None:
        """Everything is written: put it on disk, under the names it has so far."""
        self._write()
        self.segment.allocated = self.segment.size
        self.files.make_indexes()
        self.segment.trim(self.files)
        sums = self.segment.write_sums(self.files, self._sums)
        for file in (self.files.log, self.files.offsets, self.files.times, sums):
            file.sync()
        sums.close()
        self.files.block_checks()  # read before the file has another name

    def give_up(self) -> None:
        """Unless it is decided nothing of it is wanted any more. Best effort: what stays is removed
        by the next opening."""
        if not self._may_be_decided:
            self.files.close()
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for suffix in SEGMENT_SUFFIXES:
            for state in (CLEANED_SUFFIX, SWAP_SUFFIX):
                with suppress(OSError):
                    self._fs.unlink(self._stem + suffix + state)

    def prepare(self) -> None:
        """Step 2."""
        for suffix in BEFORE_THE_MARKER:
            self._fs.rename(self._stem + suffix + CLEANED_SUFFIX, self._stem + suffix + SWAP_SUFFIX)
        self._fs.sync_directory(self._directory)

    def decide(self) -> None:
        """Step 3. If it raises, whether it is decided is not known."""
        self._may_be_decided = True
        self._fs.rename(
            self._stem + INDEX_SUFFIX + CLEANED_SUFFIX, self._stem + INDEX_SUFFIX + SWAP_SUFFIX
        )
        self._fs.sync_directory(self._directory)

    def finish(self, replaced: Sequence[Segment]) -> None:
        """Steps 4 and 5. If it raises, the next opening has to finish it."""
        bases = [old.base_offset for old in replaced if old.stem != self._stem]
        _finish(self._fs, self._directory, self._stem, bases)


def _finish(fs: FileSystem, directory: str, stem: str, replaced: Sequence[int]) -> None:
    for suffix in BEFORE_THE_MARKER:
        if fs.exists(stem + suffix + SWAP_SUFFIX):
            fs.rename(stem + suffix + SWAP_SUFFIX, stem + suffix)
    for base_offset in replaced:
        remove_files(fs, f"{directory}/{offset_name(base_offset)}")
    fs.sync_directory(directory)
    fs.rename(stem + INDEX_SUFFIX + SWAP_SUFFIX, stem + INDEX_SUFFIX)
    fs.sync_directory(directory)


def settle_swaps(fs: FileSystem, directory: str) -> None:
    """Finish or undo what a crash left. For recovery, before it looks at the segments."""
    names = fs.list_directory(directory)
    marker = INDEX_SUFFIX + SWAP_SUFFIX
    decided = [base for name in names if (base := parse_offset_name(name, marker)) is not None]
    stems = {offset_name(base) for base in decided}
    for name in names:
        is_swap = name.endswith(SWAP_SUFFIX) and name.partition(".")[0] not in stems
        if is_swap or name.endswith(CLEANED_SUFFIX):
            fs.unlink(f"{directory}/{name}")
    for base_offset in decided:
        stem = f"{directory}/{offset_name(base_offset)}"
        end = _end_offset(fs, stem)
        replaced = [
            base
            for name in names
            if (base := parse_offset_name(name, LOG_SUFFIX)) is not None
            and base_offset < base < end
        ]
        _finish(fs, directory, stem, replaced)


def _end_offset(fs: FileSystem, stem: str) -> int:
    """Behind the last batch of the new log, wherever it is by now; -1 if it cannot be read: then
    nothing is removed."""
    path = stem + LOG_SUFFIX + SWAP_SUFFIX
    file = fs.open(path if fs.exists(path) else stem + LOG_SUFFIX, write=False)
    end = -1
    try:
        source = FileBytes(file, file.size(), window_bytes=HEADERS_WINDOW_BYTES)
        for _, header in source.headers(0):
            end = header.last_offset + 1
    finally:
        file.close()
    return end
