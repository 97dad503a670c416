"""The producer snapshot files of a partition directory.

`<offset>.snapshot` holds the producers' state before `offset`. It is written after the log was
synced up to there, so one that is found whole also proves that much of the log was on disk; it is
not synced itself, since the log can always make it again.
"""

from __future__ import annotations

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


class Snapshot(NamedTuple):
    """The producers' state before `offset`."""

    offset: int
    producers: ProducerState
    aborted: list[AbortedTransaction]


class SnapshotSchedule:
    """When a partition takes snapshots: at each new segment, in between by size, at the end.

    Taken (`take`) under the partition's lock, written when the log is on disk up to there.
    """

    def __init__(self, fs: FileSystem, directory: str, last_offset: int) -> None:
        self._fs = fs
        self._directory = directory
        self._taken: list[tuple[int, bytes]] = []
        self._last_offset = last_offset
        self._bytes = 0
        self._batches = 0

    def count(self, size: int) -> None:
        self._bytes += size
        self._batches += 1

    @property
    def is_due(self) -> bool:
        return self._bytes > SNAPSHOT_BYTES or self._batches > SNAPSHOT_BATCHES

    def take(
        self, offset: int, producers: ProducerState, aborted: Sequence[AbortedTransaction]
    ) -> None:
        self._bytes = self._batches = 0
        if offset != self._last_offset:
            self._taken.append((offset, producers.encode(aborted)))
            self._last_offset = offset

    def drain(self) -> list[tuple[int, bytes]]:
        taken, self._taken = self._taken, []
        return taken

    def write(self, snapshots: list[tuple[int, bytes]]) -> None:
        """The newest will do. If it fails, reopening reads the log from an older one."""
        if snapshots:
            try:
                write_snapshot(self._fs, self._directory, *snapshots[-1])
            except OSError:
                return


def write_snapshot(fs: FileSystem, directory: str, offset: int, content: bytes) -> None:
    """Replace or make it, and drop the oldest. Raises OSError."""
    path = f"{directory}/{offset_name(offset)}{SNAPSHOT_SUFFIX}"
    file = fs.open(path + TEMPORARY_SUFFIX, create=True)
    try:
        file.truncate(0)
        file.write([content], 0)
    finally:
        file.close()
    fs.rename(path + TEMPORARY_SUFFIX, path)
    for old in snapshot_offsets(fs, directory)[:-SNAPSHOTS_KEPT]:
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
