"""The producer snapshot files of a partition directory.

`<offset>.snapshot` holds the producers' state before `offset`. It is written after the log was
synced up to there, so one that is found whole also proves that much of the log was on disk.

Invariants
- Whatever segments a power loss leaves, the state of each producer is in them, or in a snapshot
  that it leaves too: one is on disk (`make_durable`) before segments below it go.
- Older ones go when a newer one is on disk. One that knows no producer is not synced: the log can
  make it again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from logstore.fs import FileSystem
from logstore.log.format import (
    SNAPSHOT_SUFFIX,
    TEMPORARY_SUFFIX,
    offset_name,
    parse_offset_name,
)
from logstore.log.producer_state import ProducerState
from logstore.log.transactions import AbortedTransaction

SNAPSHOTS_KEPT = 2  # the newest, and one should it be damaged
SNAPSHOT_BYTES = 64 << 20  # of log at most between two: what reopening has to read,
SNAPSHOT_BATCHES = 20_000  # and how many headers: some 40 ms
OFFSET_MAX = (1 << 63) - 1


class Snapshot(NamedTuple):
    """The producers' state before `offset`."""

    offset: int
    producers: ProducerState
    aborted: list[AbortedTransaction]


class TakenSnapshot(NamedTuple):
    """Not written yet. `is_needed`: there are producers that only it may know in the end."""

    offset: int
    content: bytes
    is_needed: bool


class SnapshotSchedule:
    """When a partition takes snapshots: at each new segment, in between by size, at the end.

    Taken (`take`) under the partition's lock, written when the log is on disk up to there.
    """

    def __init__(self, fs: FileSystem, directory: str, last_offset: int) -> None:
        self.durable_offset = -1  # of one that no power loss takes; -1: none is known
        self.error: OSError | None = None  # why the last one could not be written
        self._fs = fs
        self._directory = directory
        self._taken: list[TakenSnapshot] = []
        self._writing = threading.Lock()  # a flush and a retention may each have one
        self._last_offset = last_offset
        self._bytes = 0
        self._batches = 0

    def count(self, size: int) -> None:
        self._bytes += size
        self._batches += 1

    @property
    def is_due(self) -> bool:
        return self._bytes > SNAPSHOT_BYTES or self._batches > SNAPSHOT_BATCHES

    def ask_for_one(self) -> None:
        """With the next flush."""
        self._batches = SNAPSHOT_BATCHES + 1

    def take(
        self, offset: int, producers: ProducerState, aborted: Sequence[AbortedTransaction]
    ) -> None:
        self._bytes = self._batches = 0
        if offset != self._last_offset:
            is_needed = len(producers) > 0
            self._taken.append(TakenSnapshot(offset, producers.encode(aborted), is_needed))
            self._last_offset = offset

    def drain(self) -> list[TakenSnapshot]:
        taken, self._taken = self._taken, []
        return taken

    def write(self, snapshots: list[TakenSnapshot]) -> None:
        """The newest will do. If it fails, reopening reads the log from an older one; `error` tells
        who cannot do without."""
        if snapshots:
            newest = snapshots[-1]
            with self._writing:
                try:
                    write_snapshot(
                        self._fs,
                        self._directory,
                        newest.offset,
                        newest.content,
                        durably=newest.is_needed,
                    )
                except OSError as error:
                    self.error = error
                    self._last_offset = -1
                else:
                    self.error = None
                    self.durable_offset = max(self.durable_offset, newest.offset)

    def make_durable(self, from_offset: int) -> bool:
        """Whether one at or above the offset is on disk. Raises OSError."""
        if self.durable_offset < from_offset:
            found = load_snapshot(self._fs, self._directory, OFFSET_MAX)
            if found is None or found.offset < from_offset:
                return False
            self._fs.sync_directory(self._directory)  # an earlier life may have ended before that
            self.durable_offset = max(self.durable_offset, found.offset)
        return True


def write_snapshot(
    fs: FileSystem, directory: str, offset: int, content: bytes, *, durably: bool
) -> None:
    """Replace or make it, and drop the oldest: not before this one is on disk, with `durably`.
    Raises OSError."""
    path = f"{directory}/{offset_name(offset)}{SNAPSHOT_SUFFIX}"
    file = fs.open(path + TEMPORARY_SUFFIX, create=True)
    try:
        file.truncate(0)
        file.write([content], 0)
        if durably:
            file.sync()
    finally:
        file.close()
    fs.rename(path + TEMPORARY_SUFFIX, path)
    if durably:
        fs.sync_directory(directory)
    for old in snapshot_offsets(fs, directory)[:-SNAPSHOTS_KEPT]:
        with suppress(FileNotFoundError):  # a compaction drops old ones too
            fs.unlink(f"{directory}/{offset_name(old)}{SNAPSHOT_SUFFIX}")


def drop_snapshots(fs: FileSystem, directory: str, *, below: int) -> None:
    """Remove older ones; durable with the next sync of the directory. Raises OSError."""
    for offset in snapshot_offsets(fs, directory):
        if offset < below:
            with suppress(FileNotFoundError):  # write_snapshot drops old ones too
                fs.unlink(f"{directory}/{offset_name(offset)}{SNAPSHOT_SUFFIX}")


def snapshot_offsets(fs: FileSystem, directory: str) -> list[int]:
    """Ascending."""
    found = (parse_offset_name(name, SNAPSHOT_SUFFIX) for name in fs.list_directory(directory))
    return sorted(offset for offset in found if offset is not None)


def load_snapshot(fs: FileSystem, directory: str, offset_max: int) -> Snapshot | None:
    """The newest whole one at or below `offset_max`; None if there is none."""
    for offset in reversed(snapshot_offsets(fs, directory)):
        if offset > offset_max:
            continue
        file = fs.open(f"{directory}/{offset_name(offset)}{SNAPSHOT_SUFFIX}", write=False)
        try:
            return Snapshot(offset, *ProducerState.decode(file.read(file.size(), 0)))
        except ValueError:
            continue
        finally:
            file.close()
    return None
