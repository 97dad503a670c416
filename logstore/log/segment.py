"""One segment: a run of record batches in one .log file, with its two sparse indexes.

Before  append(batch of offsets 40..49, 1000 bytes):  size=5000 next_offset=40
After                                                 size=6000 next_offset=50
        .log holds it at 5000; if more than index_interval_bytes came since the last entry, .index
        holds (49 - base_offset, 5000) and .timeindex what was largest before it.

Invariants
- Bytes [0, size) of .log are whole batches with ascending offsets in [base_offset, next_offset).
  Bytes behind are space allocated ahead or the rest of a failed write: never read, overwritten
  by the next append.
- An offset index entry (o, p): the batch at p ends with offset o; entries ascend.
- A time index entry (t, o): no batch up to offset o has a timestamp above t. The batch that o ends
  is the first with t.
- The numbers live as long as the segment; the open files come and go with SegmentCache.

Owned by its partition: written under the partition's lock, read by any thread that pins it.
"""

from __future__ import annotations

import errno
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from logstore.errors import InvalidBatchError
from logstore.fs import File, FileSystem
from logstore.log.checksums import BlockChecks, SumsWriter, read_sums
from logstore.log.faults import drain_failures, is_no_space
from logstore.log.format import (
    ALLOCATION_BYTES_MAX,
    ALLOCATION_BYTES_MIN,
    BLOCK_BYTES,
    FRAME_LENGTH_END,
    INDEX_BYTES_MAX,
    INDEX_SUFFIX,
    LOG_SUFFIX,
    OFFSET_ENTRY,
    RELATIVE_OFFSET_MAX,
    TIME_ENTRY,
    TIME_INDEX_SUFFIX,
    TIMESTAMP_NONE,
    offset_name,
)
from logstore.log.index_file import IndexFile, map_whole
from logstore.log.salvage import DamagedRange
from logstore.record import BatchHeader, parse_header

if TYPE_CHECKING:
    from logstore.config import TopicConfig

HINTS_MAX = 64  # offsets whose position is remembered, enough for that many readers in order


class SegmentFiles:
    """The open files of a segment: what the cache opens and closes as one."""

    __slots__ = ("_checks", "_fs", "_map", "_state", "_stem", "damage", "log", "offsets", "times")

    def __init__(self, fs: FileSystem, stem: str, *, state: str = "") -> None:
        """`state`: a suffix behind those of the files, which are then made."""
        self._fs = fs
        self.log: File = fs.open(stem + LOG_SUFFIX + state, create=bool(state))
        self.offsets = IndexFile(fs, stem + INDEX_SUFFIX + state, OFFSET_ENTRY)
        self.times = IndexFile(fs, stem + TIME_INDEX_SUFFIX + state, TIME_ENTRY)
        self._map = memoryview(b"")
        self._stem = stem
        self._state = state
        self._checks: BlockChecks | None = None
        self.damage: tuple[DamagedRange, ...] = ()  # found so far, ascending

    def block_checks(self) -> BlockChecks:
        """Reads the sidecar when it is first asked. Raises OSError."""
        checks = self._checks
        if checks is None:
            checks = self._checks = BlockChecks(read_sums(self._fs, self._stem, state=self._state))
        return checks

    def forget_checks(self) -> None:
        """The sidecar tells more now."""
        self._checks = None

    def view(self, end: int) -> memoryview:
        """A map of the log that reaches to `end` at least. Two threads may make one each."""
        view = self._map
        if len(view) < end:
            self._map = view = map_whole(self.log)
            if len(view) < end:
                raise OSError(errno.EINVAL, "the file is shorter than its batches", self.log.path)
        return view

    def drain_failures(self) -> None:
        """See faults.drain_failures."""
        drain_failures(self.log)
        self.offsets.drain_failures()
        self.times.drain_failures()

    def make_indexes(self) -> None:
        """Both are there and open from now on, also without an entry. Raises OSError."""
        self.offsets.make()
        self.times.make()

    def close(self) -> None:
        self._map = memoryview(b"")
        self.log.close()
        self.offsets.close()
        self.times.close()


class Segment:
    __slots__ = (
        "_first_timestamp",
        "_max_timestamp",
        "_since_index_entry",
        "allocated",
        "base_offset",
        "created_ms",
        "files",
        "fs",
        "hints",
        "is_dirty",
        "is_gone",
        "is_replaced",
        "max_timestamp_offset",
        "next_offset",
        "offset_entries",
        "opening",
        "pins",
        "size",
        "stem",
        "sums",
        "time_entries",
        "time_indexed",
    )

    def __init__(
        self, fs: FileSystem, directory: str, base_offset: int, *, created_ms: int
    ) -> None:
        self.fs = fs
        self.stem = f"{directory}/{offset_name(base_offset)}"
        self.base_offset = base_offset
        self.next_offset = base_offset
        self.size = 0
        self.allocated = 0  # length of the file
        self.created_ms = created_ms
        self.offset_entries = 0
        self.time_entries = 0
        self.time_indexed = TIMESTAMP_NONE  # the timestamp of the last time index entry
        self._max_timestamp: int | None = TIMESTAMP_NONE
        self.max_timestamp_offset = base_offset
        self._first_timestamp: int | None = None
        self._since_index_entry = 0
        self.hints: dict[int, int] = {}  # offset that a batch begins with -> its position
        self.sums: SumsWriter | None = None  # while it grows; made by the first flush
        # --- of SegmentCache
        self.files: SegmentFiles | None = None
        self.opening = threading.Lock()
        self.pins = 0
        self.is_dirty = False  # holds a pin until it is flushed
        self.is_gone = False  # removed from the log; closed with the last pin
        self.is_replaced = False  # by a cleaned one, whose files have, or will have, the same names

    @property
    def log_path(self) -> str:
        return self.stem + LOG_SUFFIX

    # --- append (under the partition's lock, pinned) ----------------------------------------

    def must_roll(
        self, header: BatchHeader, size: int, last_offset: int, now_ms: int, config: TopicConfig
    ) -> bool:
        """Whether a batch of `size` bytes that ends with `last_offset` needs a new segment.

        Time is counted as Kafka counts it: from the first batch's timestamp to this one's, so
        that old data loaded today is cut by its own time; without timestamps by the clock.
        """
        if self.size == 0:
            return False
        if (
            self.size + size > config.segment_bytes
            or last_offset - self.base_offset > RELATIVE_OFFSET_MAX
            or (self.offset_entries + 1) * OFFSET_ENTRY.size > INDEX_BYTES_MAX
        ):
            return True
        first, latest = self._first_timestamp, header.max_timestamp
        if first is None or first < 0 or latest < 0:
            first, latest = self.created_ms, now_ms
        return latest - first > config.segment_ms

    def reserve(self, files: SegmentFiles, end: int, segment_bytes: int) -> None:
        """Make sure the file reaches to `end`, with steps that double. Raises OSError."""
        if end <= self.allocated:
            return
        step = min(max(self.allocated, ALLOCATION_BYTES_MIN), ALLOCATION_BYTES_MAX)
        wanted = max(end, min(self.allocated + step, segment_bytes))
        try:
            files.log.allocate(wanted)
        except OSError as error:
            if not is_no_space(error) or wanted == end:
                raise
            wanted = end
            files.log.allocate(wanted)
        self.allocated = wanted

    def note_append(
        self, files: SegmentFiles, header: BatchHeader, *, base_offset: int, config: TopicConfig
    ) -> None:
        """Account for a batch just written at `size`. Never fails if the largest timestamp
        is known: an index may miss an entry."""
        position = self.size
        last_offset = base_offset + header.last_offset_delta
        if self._since_index_entry > config.index_interval_bytes:
            self.add_index_entries(files, last_offset, position)
        if position == 0:
            self._first_timestamp = header.max_timestamp
        if self._max_timestamp is None:  # nothing was asked of it since it was opened
            self.load_max_timestamp(files)
        is_latest = self._max_timestamp is None or header.max_timestamp > self._max_timestamp
        if is_latest and header.record_count:  # without records it has no timestamp to be found
            self._max_timestamp = header.max_timestamp
            self.max_timestamp_offset = last_offset
        self.add_hint(base_offset, position)
        self._since_index_entry += header.batch_length + FRAME_LENGTH_END
        self.next_offset = last_offset + 1
        self.size = position + header.batch_length + FRAME_LENGTH_END

    def add_index_entries(self, files: SegmentFiles, last_offset: int, position: int) -> None:
        """An entry for the batch at `position`, and the time index brought up to before it."""
        try:
            self.add_time_entry(files)
            files.offsets.append(self.offset_entries, last_offset - self.base_offset, position)
        except OSError:
            return  # sparser, still right
        self.offset_entries += 1
        self._since_index_entry = 0

    def add_time_entry(self, files: SegmentFiles) -> None:
        """Record the largest timestamp so far, unless the index says it. Raises OSError."""
        latest = self._max_timestamp
        if latest is not None and latest > self.time_indexed and latest >= 0:
            files.times.append(
                self.time_entries, latest, self.max_timestamp_offset - self.base_offset
            )
            self.time_entries += 1
            self.time_indexed = latest

    def add_hint(self, offset: int, position: int) -> None:
        if len(self.hints) >= HINTS_MAX:
            self.hints.clear()
        self.hints[offset] = position

    def trim(self, files: SegmentFiles) -> None:
        """No more appends come: cut what was allocated ahead, complete the time index.

        Raises OSError. Bytes that anyone may read are not touched. May be repeated.
        """
        try:
            self.add_time_entry(files)
        except OSError as error:
            if not is_no_space(error):
                raise
            # Without its last entry the index would lie; none at all means: look at the batches.
            self.time_entries, self.time_indexed = 0, TIMESTAMP_NONE
        if self.allocated != self.size:
            files.log.truncate(self.size)
            self.allocated = self.size
        files.offsets.trim(self.offset_entries)
        files.times.trim(self.time_entries)
        if self.size:
            with suppress(OSError):  # nothing here needs an index without entries
                files.make_indexes()  # Kafka's tools take it for damage where none is

    def extend_sums(self, files: SegmentFiles, end: int) -> None:
        """Write the checksums of the blocks below `end`. Never fails: a sidecar that lacks some
        costs a longer recovery."""
        if end < BLOCK_BYTES:
            return
        try:
            if self.sums is None:
                self.sums = SumsWriter(self.fs, self.stem)
            if self.sums.covered + BLOCK_BYTES <= end:
                self.sums.extend(files.log, end)
        except OSError:
            self.sums = None

    def finish_sums(self, files: SegmentFiles) -> File | None:
        """The sidecar of a segment that was trimmed, to be synced; None if the disk is full: the
        next opening makes it then. Raises OSError."""
        if self.size == 0:
            return None
        try:
            writer = self.sums or SumsWriter(self.fs, self.stem)
            self.sums = None
            file = self.write_sums(files, writer)
        except OSError as error:
            if not is_no_space(error):
                raise
            return None
        files.forget_checks()
        return file

    def write_sums(self, files: SegmentFiles, writer: SumsWriter) -> File:
        """All of the sidecar, for the log as it is. Raises OSError."""
        if self._max_timestamp is None:
            self.load_max_timestamp(files)
        return writer.finish(
            files.log,
            self.size,
            max_timestamp=self.max_timestamp,
            max_timestamp_at=self.max_timestamp_offset - self.base_offset,
        )

    # --- what is known of it ---------------------------------------------------------------

    @property
    def is_max_timestamp_known(self) -> bool:
        return self._max_timestamp is not None

    @property
    def max_timestamp(self) -> int:
        """The largest timestamp of its batches, -1 if none has one; once it was loaded."""
        return TIMESTAMP_NONE if self._max_timestamp is None else self._max_timestamp

    def load_max_timestamp(self, files: SegmentFiles) -> None:
        """From the sidecar, which has a checksum; of a log that was killed from the last time index
        entry, which recovery looked at; else from the batches. Raises OSError."""
        sums = files.block_checks().sums
        if self.time_entries:
            latest, relative = files.times.get(self.time_entries - 1)
            self.time_indexed = latest
        if sums.is_whole and sums.size == self.size:
            latest, relative = sums.max_timestamp, sums.max_timestamp_at
        elif not self.time_entries:
            self._walk_timestamps(files)
            return
        self.max_timestamp_offset = self.base_offset + relative
        self._max_timestamp = latest

    def bears_out(self, files: SegmentFiles, latest: int, relative: int) -> bool:
        """Whether a batch ends with that relative offset and has that as its largest timestamp."""
        position, view = 0, files.view(self.size)
        found = files.offsets.floor(relative, count=self.offset_entries, field=0)
        if found >= 0:
            position = files.offsets.get(found)[1]
        while position < self.size:
            try:
                header = parse_header(view, position)
            except InvalidBatchError:
                return False
            if header.last_offset - self.base_offset >= relative:
                is_there = header.last_offset - self.base_offset == relative
                return is_there and header.max_timestamp == latest
            position += header.size_bytes
        return False

    def _walk_timestamps(self, files: SegmentFiles) -> None:
        """No time index: no batch has a timestamp, or it is lost."""
        position, latest, view = 0, TIMESTAMP_NONE, files.view(self.size)
        while position < self.size:
            try:
                header = parse_header(view, position)
            except InvalidBatchError:
                break  # damaged: whoever reads it is told
            if header.max_timestamp > latest and header.record_count:
                latest, self.max_timestamp_offset = header.max_timestamp, header.last_offset
            position += header.size_bytes
        self._max_timestamp = latest

    def restore(self, *, size: int, next_offset: int, first_timestamp: int | None) -> None:
        """Numbers of a segment found on disk; the maximum timestamp is read when it is needed."""
        self.size = size
        self.next_offset = next_offset
        self._first_timestamp = first_timestamp
        self._max_timestamp = None

    def set_max_timestamp(self, timestamp: int, offset: int) -> None:
        """Known from the batches themselves; `offset` is the last of the first that has it."""
        self._max_timestamp, self.max_timestamp_offset = timestamp, offset

    def forget_timestamps(self) -> None:
        """Its batches are about to be counted from the first one on."""
        self._max_timestamp = TIMESTAMP_NONE
        self.max_timestamp_offset = self.base_offset
        self.time_indexed = TIMESTAMP_NONE
        self._since_index_entry = 0


def create_segment_file(fs: FileSystem, directory: str, base_offset: int) -> None:
    """An empty log file; it is durable once the directory is synced. Raises OSError."""
    fs.open(f"{directory}/{offset_name(base_offset)}{LOG_SUFFIX}", create=True).close()
