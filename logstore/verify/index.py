"""Index files beside the walk over their segment's batches.

Each check is told of every batch in order and looks whether the entries that point at it are true;
an entry that no batch bore out is found when the walk has passed its place. Leaving entries out is
no fault: both indexes are sparse.
"""

from __future__ import annotations

from struct import Struct

from logstore.log.format import RELATIVE_OFFSET_MAX, TIMESTAMP_NONE
from logstore.record import BatchHeader
from logstore.verify.findings import Scan, Severity


class _IndexCheck:
    """The entries of one file, up to the zeros of the space allocated ahead."""

    def __init__(
        self, scan: Scan, path: str, entry: Struct, base_offset: int, *, is_growing: bool
    ) -> None:
        self._scan = scan
        self._path = path
        self._entry = entry
        self._base_offset = base_offset
        self._is_growing = is_growing
        self._entries: list[tuple[int, int]] = []
        self._next = 0
        self._last_offset = base_offset - 1  # of the batches so far
        if scan.fs.exists(path):
            with scan.reading(path):
                self._load()

    def _load(self) -> None:
        file = self._scan.fs.open(self._path, write=False)
        try:
            data = file.read(file.size(), 0)
        finally:
            file.close()
        if self._is_growing:
            data = data.rstrip(b"\0")
            data += bytes(-len(data) % self._entry.size)
        odd = len(data) % self._entry.size
        if odd:
            self._fault(len(data) // self._entry.size, f"it ends with {odd} bytes of an entry")
        usable = memoryview(data)[: len(data) - odd]
        self._entries = list(self._entry.iter_unpack(usable))

    def _fault(self, index: int, problem: str, severity: Severity = Severity.DAMAGE) -> None:
        self._scan.add(
            self._path,
            f"entry {index}: {problem}",
            severity=severity,
            position=index * self._entry.size,
            readable="everything: a look-up that meets it walks the batches instead, or starts "
            "further back",
        )

    def _is_recent(self, relative: int, flushed: int) -> bool:
        """Whether a growing index may hold an entry of a batch that is not in the walk yet."""
        return self._is_growing and self._base_offset + relative >= min(
            flushed, self._last_offset + 1
        )


class OffsetIndexCheck(_IndexCheck):
    """(relative last offset, position), both rising."""

    def batch(self, position: int, header: BatchHeader) -> None:
        self._last_offset = header.last_offset
        while self._next < len(self._entries):
            relative, at = self._entries[self._next]
            if at > position:
                return
            self._next += 1
            if at != position:
                self._fault(self._next - 1, f"no batch begins at position {at}")
            elif relative != header.last_offset - self._base_offset:
                self._fault(
                    self._next - 1,
                    f"it says offset {self._base_offset + relative} for the batch at {at}, which "
                    f"ends with {header.last_offset}",
                )

    def finish(self, flushed: int) -> None:
        for index in range(self._next, len(self._entries)):
            relative, at = self._entries[index]
            if not self._is_recent(relative, flushed):
                self._fault(index, f"no batch begins at position {at}")


class TimeIndexCheck(_IndexCheck):
    """(largest timestamp so far, relative last offset of the first batch that has it)."""

    def __init__(
        self, scan: Scan, path: str, entry: Struct, base_offset: int, *, is_growing: bool
    ) -> None:
        super().__init__(scan, path, entry, base_offset, is_growing=is_growing)
        self._latest = TIMESTAMP_NONE
        self._latest_at = base_offset

    def batch(self, position: int, header: BatchHeader) -> None:
        while self._next < len(self._entries):
            timestamp, relative = self._entries[self._next]
            if self._base_offset + relative > header.last_offset:
                break
            self._next += 1
            self._check(self._next - 1, timestamp, self._base_offset + relative, header)
        self._last_offset = header.last_offset
        # Of a batch that compaction emptied no timestamp can be found.
        if header.record_count and header.max_timestamp > self._latest:
            self._latest, self._latest_at = header.max_timestamp, header.last_offset

    def _check(self, index: int, timestamp: int, offset: int, header: BatchHeader) -> None:
        if offset != header.last_offset:
            self._fault(index, f"no batch ends with offset {offset}")
        elif timestamp != header.max_timestamp or timestamp <= self._latest:
            self._fault(
                index,
                f"it says that {timestamp} is the largest timestamp up to offset {offset}; that "
                f"is {max(self._latest, header.max_timestamp)}",
            )

    def finish(self, flushed: int) -> None:
        for index in range(self._next, len(self._entries)):
            timestamp, relative = self._entries[index]
            if not 0 <= relative <= RELATIVE_OFFSET_MAX or not self._is_recent(relative, flushed):
                self._fault(index, f"no batch ends with offset {self._base_offset + relative}")
        if self._is_growing or not self._entries:
            return
        timestamp, relative = self._entries[-1]
        if timestamp < self._latest:
            self._fault(
                len(self._entries) - 1,
                f"the index ends with timestamp {timestamp}; the segment's largest is "
                f"{self._latest}, at offset {self._latest_at}",
            )
