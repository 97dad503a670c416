"""Bugs put into the engine on purpose, one at a time: what the simulator must find.

Each is a change that somebody might make, planted by replacing functions of the engine while a
context manager is open. Nothing here and nothing in the checker knows of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from logstore.log import PartitionLog, compaction, flush, recovery, salvage
from logstore.log.log_writer import LogWriter
from logstore.log.producer_state import ProducerState
from logstore.log.salvage import FileBytes, Rewrite
from logstore.log.segment import Segment, SegmentFiles
from logstore.txn.coordinator import TransactionCoordinator

Plant = tuple[Any, str, Callable[..., Any]]  # where, what, and by what it is replaced


def fsync_before_the_write() -> list[Plant]:
    """The sync of an append is made before its bytes are written, and counts for them."""
    write = LogWriter._write

    def planted(self: Any, *arguments: Any) -> None:
        segment = self._active
        files = self._cache.pin(segment)
        try:
            files.log.sync()
        except OSError as error:
            raise self._write_failed(error, segment.log_path) from error
        write(self, *arguments)
        self._cache.unpin(segment)
        self._cache.mark_clean(segment)

    return [(LogWriter, "_write", planted)]


def no_directory_fsync_after_a_roll() -> list[Plant]:
    return [(LogWriter, "_sync_directory", lambda self: None)]


def high_watermark_ahead_of_the_flush() -> list[Plant]:
    """Readers see what was appended, as with durability=page_cache."""
    append = LogWriter._append_locked

    def planted(self: Any, *arguments: Any) -> Any:
        appended = append(self, *arguments)
        self._publish(self.end, self._active, self._active.size)
        return appended

    return [(LogWriter, "_append_locked", planted)]


def index_trusted_after_a_crash() -> list[Plant]:
    """Recovery walks from the last index entry on, whatever became of what lies before it."""

    def planted(
        self: Any, segment: Segment, files: SegmentFiles, flushed: int, *, trust_index: bool
    ) -> tuple[int, int]:
        entries = files.offsets.entries(segment.offset_entries)
        segment.offset_entries = segment.time_entries = 0
        source = FileBytes(files.log, segment.size)
        for number, (_, position) in reversed(list(enumerate(entries))):
            header = source.header(position) if position else None
            if header is not None:
                segment.offset_entries = number
                return position, header.base_offset
        return 0, segment.base_offset

    return [(recovery._Recovery, "_start", planted)]


def sequence_table_not_snapshotted() -> list[Plant]:
    encode = ProducerState.encode
    return [(ProducerState, "encode", lambda self, *more: encode(type(self)(), *more))]


def retry_of_a_failed_fsync() -> list[Plant]:
    sync_one = flush._sync_one

    def planted(plan: flush.FlushPlan, sync: Callable[[], None]) -> None:
        sync_one(plan, sync)
        if plan.error is not None:
            plan.error = None
            sync_one(plan, sync)

    return [(flush, "_sync_one", planted)]


def checkpoint_ahead_of_data() -> list[Plant]:
    """The state file says that a flush was made when it begins."""
    begin = LogWriter.begin_flush

    def planted(self: Any) -> Any:
        plan = begin(self)
        if plan is not None:
            flushed, self.flushed = self.flushed, plan.end_offset
            self._write_slot()
            self.flushed = flushed
        return plan

    return [(LogWriter, "begin_flush", planted)]


def torn_tail_kept() -> list[Plant]:
    """Recovery takes a batch for whole when its header is."""
    return [(salvage, "check_batch_bytes", lambda *_: True)]


def high_watermark_raised_by_recovery_without_a_sync() -> list[Plant]:
    def planted(self: Any, segment: Segment, *, is_active: bool) -> None:
        if not is_active:
            settle(self, segment, is_active=is_active)

    settle = recovery._Recovery._settle
    return [(recovery._Recovery, "_settle", planted)]


def reopen_after_a_failed_fsync_trusts_the_page_cache() -> list[Plant]:
    """Recovery syncs what it accepted, but does not write it again."""
    return [(Rewrite, "add", lambda *_: None)]


def marker_lost() -> list[Plant]:
    """A transaction is complete when its markers are written, not when they are on disk."""
    mark = TransactionCoordinator._mark

    def planted(self: Any, transaction: Any) -> None:
        with patch.object(PartitionLog, "flush", lambda _: None):
            mark(self, transaction)

    return [(TransactionCoordinator, "_mark", planted)]


def tombstone_too_early() -> list[Plant]:
    """The cleaning that follows the first takes a tombstone, whatever delete_retention_ms says."""
    init = compaction._Rules.__init__

    def planted(self: Any, job: Any, *arguments: Any) -> None:
        init(self, job, *arguments)
        self._horizon_ms = job.now_ms

    return [(compaction._Rules, "__init__", planted)]


BUGS: dict[str, Callable[[], list[Plant]]] = {
    plant.__name__: plant
    for plant in (
        fsync_before_the_write,
        no_directory_fsync_after_a_roll,
        high_watermark_ahead_of_the_flush,
        index_trusted_after_a_crash,
        sequence_table_not_snapshotted,
        retry_of_a_failed_fsync,
        checkpoint_ahead_of_data,
        torn_tail_kept,
        high_watermark_raised_by_recovery_without_a_sync,
        reopen_after_a_failed_fsync_trusts_the_page_cache,
        marker_lost,
        tombstone_too_early,
    )
}


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The engine with this bug, until the end of the block."""
    with ExitStack() as stack:
        for owner, name, replacement in BUGS[bug]():
            stack.enter_context(patch.object(owner, name, replacement))
        yield
