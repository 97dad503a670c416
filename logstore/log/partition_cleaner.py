"""The cleanings of one partition: what is due, and putting a cleaned segment in place.

Invariants
- A new segment takes the place of the old ones in memory first, with its files open; then those are
  marked, then the names change hands on disk. So a reader that opens a file by its name either has
  the right one or sees the mark (see SegmentCache.pin).
- Once it is decided on disk there is no way back: if the rest fails the partition takes no writes,
  and the next opening finishes it.

`replacing` is the partition's lock against retention, closing and deletion; it is held while
segments are replaced (some renames, four syncs of the directory), never while they are read and
written.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator, Sequence
from contextlib import closing, suppress

from logstore.clock import Clock
from logstore.config import StoreConfig
from logstore.errors import (
    CorruptDataError,
    DiskFullError,
    InvalidBatchError,
    StorageFailedError,
    StoreError,
)
from logstore.fs import FileSystem
from logstore.log.checkpoint import read_cleaned_offset, write_cleaned_offset
from logstore.log.compaction import Cleanable, Cleaning, CleaningJob, cleanable
from logstore.log.faults import is_no_space, storage_error
from logstore.log.log_view import LogView
from logstore.log.log_writer import LogWriter
from logstore.log.segment import Segment
from logstore.log.segment_cache import SegmentCache
from logstore.log.snapshots import drop_snapshots
from logstore.log.swap import CleanedSegment


class OvertakenError(Exception):
    """Internal: retention or the end of the log came before the cleaning was done."""


class PartitionCleaner:
    """Owned by a PartitionLog; used by one thread at a time."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        *,
        topic: str,
        partition: int,
        limits: StoreConfig,
        clock: Clock,
        cache: SegmentCache,
        writer: LogWriter,
        view: LogView,
        replacing: threading.Lock,
        was_unclean: bool,
    ) -> None:
        """`was_unclean`: recovery had to look where the log ends. Raises OSError."""
        self._fs = fs
        self._directory = directory
        self._topic = topic
        self._partition = partition
        self._limits = limits
        self._clock = clock
        self._cache = cache
        self._writer = writer
        self._view = view
        self._replacing = replacing
        self._cleaned_offset: int | None = None  # below it each key is there once; None: not read
        self._horizon_ms: int | None = None  # when something that the last cleaning left may go
        self._is_damaged = False  # a cleaning found bytes that are no batch
        # Damage may have cost records below it: then others get their offsets.
        if was_unclean and read_cleaned_offset(fs, directory) > writer.end:
            self._note_cleaned(0)

    def dirty_ratio(self) -> float:
        """Of what may be cleaned now the share that was not yet; 0 if nothing is to be cleaned, 1
        if tombstones or markers have had their time.

        Raises StorageFailedError, DiskFullError.
        """
        now_ms = self._clock.now_ms()
        source = self._cleanable(now_ms)
        if source is None:
            return 0.0
        ratio = source.dirty_ratio
        if self._horizon_ms is not None and self._horizon_ms <= now_ms:
            ratio = 1.0
        elif ratio < self._writer.config.min_cleanable_dirty_ratio:
            return 0.0
        return ratio if ratio and self._keeps_producers(source) else 0.0

    def _keeps_producers(self, source: Cleanable) -> bool:
        """Whether those whose batches may go are known by a snapshot that no power loss takes:
        older ones are dropped, and retention may have left nothing else of them. If not, the next
        flush writes one."""
        end = source.segments[-1].next_offset if source.segments else 0
        try:
            return self._writer.keep_producers(end, may_flush=False)
        except OSError as error:
            raise self._failure(error) from error

    def _cleanable(self, now_ms: int) -> Cleanable | None:
        config = self._writer.config
        if not config.is_compacted or self._writer.is_ending or self._is_damaged:
            return None
        if self._cleaned_offset is None:
            try:
                self._cleaned_offset = read_cleaned_offset(self._fs, self._directory)
            except OSError as error:
                raise storage_error(error, "read the cleaned offset of", self._directory) from error
        return cleanable(
            self._writer.sealed_segments(),
            stable_offset=min(self._view.stable_offset, self._writer.flushed),
            cleaned_offset=self._cleaned_offset,
            config=config,
            now_ms=now_ms,
            max_timestamp=self._view.max_timestamp,
        )

    def clean(self, *, secret: bytes) -> Generator[int, None, None]:
        """One cleaning (see compaction.py), in steps: each yields how many bytes it handled. Blocks
        for the disk. Ends early, with nothing lost, if retention or the end of the log overtakes
        it, or if it is closed.

        `secret`: random bytes, for the hash of keys. Raises CorruptDataError and InvalidBatchError
        (then it is not tried again until the log is reopened), DiskFullError, StorageFailedError.
        """
        now_ms = self._clock.now_ms()
        source = self._cleanable(now_ms)
        if source is None or not self._keeps_producers(source):
            return
        cleaning = Cleaning(
            CleaningJob(
                fs=self._fs,
                directory=self._directory,
                source=source,
                config=self._writer.config,
                limits=self._limits,
                cache=self._cache,
                now_ms=now_ms,
                producers=self._writer.producers(),
                aborted=tuple(self._view.transactions.aborted),
                secret=secret,
                replace=self._replace,
            )
        )
        try:
            with closing(cleaning.run()) as steps:
                for size in steps:
                    if self._writer.is_ending:
                        return
                    yield size
            with self._replacing:
                self._check(())
                self._horizon_ms = cleaning.next_horizon_ms
                with suppress(OSError):  # the next opening begins further back
                    self._note_cleaned(cleaning.end)
        except OvertakenError:
            return
        except (CorruptDataError, InvalidBatchError):
            self._is_damaged = True
            raise
        except OSError as error:
            is_removed = any(part.is_gone and not part.is_replaced for part in source.segments)
            if not self._writer.is_ending and not is_removed:
                raise self._failure(error) from error

    def _check(self, old: Sequence[Segment]) -> None:
        if self._writer.is_ending or not set(old) <= set(self._view.segments):
            raise OvertakenError

    def _replace(
        self, old: Sequence[Segment], cleaned: CleanedSegment, gone_markers: Collection[int]
    ) -> None:
        """Put a cleaned segment in the place of those it was made of (see swap.py)."""
        new = cleaned.segment
        failure: StoreError | None = None
        with self._replacing:
            self._check(old)
            # A replay from a snapshot in the middle might miss a marker that is not there any more.
            drop_snapshots(self._fs, self._directory, below=old[-1].next_offset)
            cleaned.prepare()
            try:
                cleaned.decide()
                self._cache.adopt(new, cleaned.files)
                self._writer.replace(old, new, gone_markers)
                for segment in old:
                    segment.is_replaced = True
                    self._cache.forget(segment)
                cleaned.finish(old)
            except OSError as error:
                failure = storage_error(error, "replace a segment in", self._directory)
                failure.__cause__ = error
                self._writer.fail(failure)
            else:
                self._writer.replaced()
                self._cache.unpin(new)
        if failure is not None:
            self._writer.tell_end(failure)  # callbacks run, so under no lock
            raise failure

    def _note_cleaned(self, offset: int) -> None:
        self._cleaned_offset = offset
        write_cleaned_offset(
            self._fs,
            self._directory,
            topic=self._topic,
            partition=self._partition,
            offset=offset,
        )

    def _failure(self, error: OSError) -> StoreError:
        name = f"{self._topic}-{self._partition}"
        if is_no_space(error):
            return DiskFullError(
                f"no space is left to compact {name} ({error.strerror}); nothing was changed, it "
                "is tried again",
                errno=error.errno,
            )
        return StorageFailedError(
            f"could not compact {name}: {error}; nothing was changed, it is tried again",
            errno=error.errno,
        )
