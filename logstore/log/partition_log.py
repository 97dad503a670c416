"""One partition: its segments, its offsets, its producers; the only writer of its directory.

    segments     [0 .. 500)  [500 .. 900)  [900 .. 1000)
                   sealed      not sealed      active
    offsets      log start 120   flushed = high watermark 850   log end 1000

Invariants
- log start <= high watermark <= log end, and flushed <= log end. With durability=fsync the high
  watermark is the flushed offset, with page_cache it is the log end. None of them falls while the
  log is open (but a failed partition's log end becomes its high watermark).
- What is flushed was covered by a sync that succeeded: batches, directory entries, and the indexes
  of the segments that are sealed. A segment is sealed (trimmed, synced) before the flushed offset
  passes its end.
- Producer state and log end move together, under the lock, after the bytes were written. A failed
  append leaves no trace; its bytes are overwritten by the next.
- After a failed sync, or a write that failed for another reason than a full disk, nothing is
  written again until the log is reopened (`_fail`).

Locks: `_lock` orders appends and all changes of fields. It is held over an append's pwrite (into
the page cache), never over a sync or a callback. Readers take none (see LogView).
"""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, NamedTuple

from logstore.clock import Clock
from logstore.config import StoreConfig, TopicConfig
from logstore.errors import (
    BatchTooLargeError,
    InvalidBatchError,
    LogStoreError,
    OffsetOutOfRangeError,
    StorageFailedError,
    StoreClosedError,
    UnknownTopicError,
)
from logstore.fs import FileSystem
from logstore.log.checkpoint import LeaderEpochs, write_identity, write_log_start
from logstore.log.faults import is_no_space, storage_error
from logstore.log.flush import Flusher, FlushPlan
from logstore.log.format import IDENTITY_FILE
from logstore.log.lease import Lease
from logstore.log.log_view import LogView, Published
from logstore.log.recovery import RecoveryReport, recover
from logstore.log.retention import expired_segments, remove_segment
from logstore.log.segment import Segment, create_segment_file
from logstore.log.segment_cache import SegmentCache
from logstore.log.snapshots import write_snapshot
from logstore.log.state_file import SlotValues, StateSlot
from logstore.log.waiters import Callback, Registration, Waiters, run_callbacks
from logstore.record import (
    TIMESTAMP_LOG_APPEND_TIME,
    BatchHeader,
    header_prefix,
    parse_header,
    validate_batch,
    with_log_append_time,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

PREFIX_BYTES = 16  # of a batch: base offset, length, leader epoch; written by the log
SNAPSHOT_BYTES = 64 << 20  # a producer snapshot at least this often, so that reopening reads less


class Appended(NamedTuple):
    base_offset: int
    last_offset: int
    log_append_time_ms: int  # -1 unless the topic's timestamps are LogAppendTime
    duplicate: bool


class PartitionLog:
    """Thread-safe. Made by `create` or `open`, ended by `close` or `abandon`."""

    IDENTITY_FILE = IDENTITY_FILE

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        *,
        topic: str,
        topic_id: uuid.UUID,
        partition: int,
        config: TopicConfig,
        limits: StoreConfig,
        clock: Clock,
        slot: StateSlot,
        segments: SegmentCache,
        flusher: Flusher,
        clean: bool,
    ) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.partition = partition
        self.config = config
        self._name = f"{topic}-{partition}"
        self._fs = fs
        self._directory = directory
        self._limits = limits
        self._clock = clock
        self._slot = slot
        self._cache = segments
        self._flusher = flusher
        self._lock = threading.Lock()
        self._flushing = threading.Lock()  # snapshots, retention and close keep off each other

        found = recover(
            fs,
            directory,
            topic_id=topic_id,
            slot=slot,
            clean=clean,
            now_ms=clock.now_ms(),
            config=config,
        )
        self.recovery_report: RecoveryReport = found.report
        self._epochs = found.epochs
        self._producers = found.producers
        self._active = found.segments[-1]
        self._end = self._flushed = found.end_offset
        self._view = LogView(
            self._name,
            found.segments,
            Published(found.end_offset, self._active, self._active.size),
            log_start_offset=found.log_start_offset,
            cache=segments,
            limits=limits,
        )
        self._unsealed: list[Segment] = []
        self._snapshots: list[tuple[int, bytes]] = []
        self._snapshot_at = found.end_offset
        self._since_snapshot = 0
        self._is_directory_dirty = False
        self._is_touched = not clean or found.report.was_unclean  # close has something to do
        self._generation = (slot.recorded.generation if slot.recorded else 0) + (not clean)
        self._end_error: LogStoreError | None = None  # why it takes no writes
        self._waiters = Waiters(lambda: self._view.published.offset)
        if self._is_touched:
            self._write_slot()

    @classmethod
    def create(
        cls,
        fs: FileSystem,
        directory: str,
        *,
        topic: str,
        topic_id: uuid.UUID,
        partition: int,
        config: TopicConfig,
        limits: StoreConfig,
        clock: Clock,
        slot: StateSlot,
        segments: SegmentCache,
        flusher: Flusher,
    ) -> PartitionLog:
        """A new log in `directory`, which must not exist. Durable but for the parent's entry.

        Raises DiskFullError, StorageFailedError.
        """
        try:
            fs.make_directory(directory)
            write_identity(fs, directory, topic_id)
            LeaderEpochs(((0, 0),)).write_new(fs, directory)
            create_segment_file(fs, directory, 0)
            fs.sync_directory(directory)
            return cls(
                fs,
                directory,
                topic=topic,
                topic_id=topic_id,
                partition=partition,
                config=config,
                limits=limits,
                clock=clock,
                slot=slot,
                segments=segments,
                flusher=flusher,
                clean=True,
            )
        except OSError as error:
            raise storage_error(error, "create", directory) from error

    @classmethod
    def open(
        cls,
        fs: FileSystem,
        directory: str,
        *,
        topic: str,
        topic_id: uuid.UUID,
        partition: int,
        config: TopicConfig,
        limits: StoreConfig,
        clock: Clock,
        slot: StateSlot,
        segments: SegmentCache,
        flusher: Flusher,
        clean: bool,
    ) -> PartitionLog:
        """Recover the log in `directory`. `clean`: the store was closed cleanly.

        Raises CorruptDataError if the directory is another topic's or cannot be made sense of,
        StorageFailedError if what was accepted cannot be synced, DiskFullError.
        """
        try:
            return cls(
                fs,
                directory,
                topic=topic,
                topic_id=topic_id,
                partition=partition,
                config=config,
                limits=limits,
                clock=clock,
                slot=slot,
                segments=segments,
                flusher=flusher,
                clean=clean,
            )
        except OSError as error:
            raise storage_error(error, "recover", directory) from error

    # --- what it is -------------------------------------------------------------------------

    @property
    def log_start_offset(self) -> int:
        return self._view.log_start_offset

    @property
    def high_watermark(self) -> int:
        return self._view.published.offset

    @property
    def last_stable_offset(self) -> int:
        """The high watermark: there are no transactions yet."""
        return self._view.published.offset

    @property
    def log_end_offset(self) -> int:
        return self._end

    @property
    def flushed_offset(self) -> int:
        return self._flushed

    @property
    def leader_epoch(self) -> int:
        return self._epochs.current

    @property
    def size_bytes(self) -> int:
        return sum(segment.size for segment in self._view.segments)

    @property
    def segment_count(self) -> int:
        return len(self._view.segments)

    @property
    def recovery_notes(self) -> list[str]:
        """What opening had to mend, a sentence each."""
        return [f"{self._name}: {note}" for note in self.recovery_report.notes]

    @property
    def error(self) -> LogStoreError | None:
        """Why it takes no writes (failed, closed, deleted); None while it does."""
        return self._end_error

    # --- append -----------------------------------------------------------------------------

    def append(
        self,
        batch: Buffer,
        *,
        header: BatchHeader | None = None,
        acks_all: bool = True,
        validated: bool = False,
    ) -> Appended:
        """Write one record batch at the log's end; base offset and leader epoch are set here.

        On disk when `on_high_watermark(last_offset + 1)` fires. With `acks_all` a flush is wanted
        at once, else within flush_interval_ms. `validated`: validate_batch passed (or the batch
        is the engine's own), and `header` may be given; nothing is looked at again then.

        A producer's repeated batch is not written: `duplicate`, with the offsets of the first.

        Raises InvalidBatchError and its kin, OutOfOrderSequenceError, DuplicateSequenceError,
        ProducerFencedError, DiskFullError (nothing happened, try later), StorageFailedError,
        StoreClosedError, UnknownTopicError. In every case nothing was stored.
        """
        view = memoryview(batch)
        self._check_size(view.nbytes)
        if not validated:
            header = validate_batch(
                view, decompressed_bytes_max=self._limits.decompressed_bytes_max
            )
            _check_client_may(header)
        elif header is None:
            header = parse_header(view)
        if self._cache.is_crowded:
            self._flusher.run_round()
        with self._lock:
            appended = self._append_locked(view, header)
            is_page_cache = self.config.durability == "page_cache"
            if is_page_cache and not appended.duplicate:
                self._publish(self._end)
                self._write_slot()
        if not appended.duplicate:
            self._flusher.mark_dirty(
                self,
                urgent=acks_all and not is_page_cache,
                within_ms=self.config.flush_interval_ms,
            )
            if is_page_cache:
                run_callbacks(self._waiters.take(), None)
        return appended

    def _check_size(self, size: int) -> None:
        if size > self.config.max_message_bytes:
            raise BatchTooLargeError(
                f"the batch has {size} bytes; topic {self.topic!r} takes up to "
                f"{self.config.max_message_bytes} (max_message_bytes)",
                batch_bytes=size,
                max_message_bytes=self.config.max_message_bytes,
            )

    def _append_locked(self, view: memoryview, header: BatchHeader) -> Appended:
        self._check_writable()
        repeated = self._producers.check(header)
        is_log_time = self.config.message_timestamp_type == "LogAppendTime"
        if repeated is not None:
            append_time = repeated.timestamp_ms if is_log_time else -1
            return Appended(repeated.base_offset, repeated.last_offset, append_time, True)
        now_ms = self._clock.now_ms()
        if is_log_time:
            view = memoryview(with_log_append_time(view, now_ms))
            header = parse_header(view)
        base_offset = self._end
        last_offset = base_offset + header.last_offset_delta
        if self._active.must_roll(header, view.nbytes, last_offset, now_ms, self.config):
            self._roll(now_ms)
        self._write(view, header, base_offset)
        self._producers.update(header, base_offset=base_offset, timestamp_ms=header.max_timestamp)
        self._end = last_offset + 1
        self._since_snapshot += view.nbytes
        return Appended(base_offset, last_offset, now_ms if is_log_time else -1, False)

    def _write(self, view: memoryview, header: BatchHeader, base_offset: int) -> None:
        """Put the batch at the end of the active segment; all or nothing."""
        segment = self._active
        prefix = header_prefix(header, base_offset=base_offset, leader_epoch=self._epochs.current)
        try:
            files = self._cache.pin(segment)
            try:
                end = segment.size + view.nbytes
                segment.reserve(files, end, self.config.segment_bytes)
                files.log.write([prefix, view[PREFIX_BYTES:]], segment.size)
                self._cache.mark_dirty(segment)
                segment.note_append(files, header, base_offset=base_offset, config=self.config)
            finally:
                self._cache.unpin(segment)
        except OSError as error:
            raise self._write_failed(error, segment.log_path) from error
        self._is_touched = True

    def _roll(self, now_ms: int) -> None:
        """Begin a new segment at the log's end; the old one is sealed by the next flush."""
        try:
            create_segment_file(self._fs, self._directory, self._end)
        except OSError as error:
            raise self._write_failed(error, self._directory) from error
        old = self._active
        self._active = Segment(self._fs, self._directory, self._end, created_ms=now_ms)
        self._view.segments = (*self._view.segments, self._active)
        self._unsealed.append(old)
        self._cache.mark_dirty(old)
        self._is_directory_dirty = True
        self._is_touched = True
        self._generation += 1
        self._take_snapshot()

    def _take_snapshot(self) -> None:
        """Of the producers now; written to its file once the log is on disk up to here."""
        if self._snapshot_at != self._end:
            self._snapshots.append((self._end, self._producers.encode()))
            self._snapshot_at = self._end
        self._since_snapshot = 0

    def _check_writable(self) -> None:
        if self._end_error is not None:
            raise self._end_error

    def _write_failed(self, error: OSError, path: str) -> LogStoreError:
        """A full disk passes; anything else is the end of writing."""
        failure = storage_error(error, "write", path)
        if not is_no_space(error):
            self._fail(failure)
        return failure

    def _fail(self, error: LogStoreError) -> None:
        """Take no more writes, under the lock. What was published stays readable.

        Nothing above the flushed offset is trusted any more: Linux marks pages clean whose write
        failed, so neither a later sync nor the page cache proves anything. Reopening checks each
        batch and writes it again (see recovery.py).
        """
        if self._end_error is None:
            self._end_error = error
        self._end = self._view.published.offset

    # --- waiting and flushing ---------------------------------------------------------------

    def on_high_watermark(self, offset: int, callback: Callback) -> Registration:
        """Call `callback(None)` once, when the high watermark is at least `offset`.

        At once if it is; `callback(error)` if the partition fails, is closed or deleted first. It
        runs in the thread that moved the watermark, under no lock, and must not block.
        """
        return self._waiters.add(offset, callback)

    def begin_flush(self) -> FlushPlan | None:
        """For the Flusher: what is to be synced. Seals the segments that were rolled."""
        with self._lock:
            has_news = self._flushed != self._end or self._unsealed or self._is_directory_dirty
            if self._end_error is not None or not has_news:
                return None
            if self._since_snapshot > SNAPSHOT_BYTES and len(self._producers):
                self._take_snapshot()
            segments = [*self._unsealed, self._active]
            plan = FlushPlan(self, self._end, self._active, self._active.size, segments, syncs=[])
            plan.snapshots, self._snapshots = self._snapshots, []
            if self._is_directory_dirty:
                plan.syncs.append(self._sync_directory)
            self._is_directory_dirty = False
        try:
            for segment in segments:
                self._plan_segment(plan, segment)
        except OSError as error:
            plan.error = error
        return plan

    def _sync_directory(self) -> None:
        self._fs.sync_directory(self._directory)

    def _plan_segment(self, plan: FlushPlan, segment: Segment) -> None:
        files = self._cache.pin(segment)
        plan.pinned.append(segment)
        if segment is not plan.active:
            segment.trim(files)
            for index in (files.offsets.file, files.times.file):
                if index is not None:
                    plan.syncs.append(index.sync)
        if segment.is_dirty:
            plan.syncs.append(files.log.sync)

    def finish_flush(self, plan: FlushPlan) -> None:
        """For the Flusher: the plan was synced, or failed with plan.error."""
        failure: LogStoreError | None = None
        with self._lock:
            for segment in plan.pinned:
                self._cache.unpin(segment)
            if plan.error is not None:
                failure = self._flush_failed(plan.error)
            elif self._end_error is None:
                self._flushed_to(plan)
            ended = self._end_error
        if failure is not None:
            run_callbacks(self._waiters.end(failure), failure)
        elif ended is None:
            self._write_snapshots(plan.snapshots)
            run_callbacks(self._waiters.take(), None)

    def _flushed_to(self, plan: FlushPlan) -> None:
        for segment in plan.segments:
            if segment is not plan.active or segment.size == plan.active_size:
                self._cache.mark_clean(segment)
        # The plan's active segment may have been rolled since: the next flush seals it.
        sealed = [part for part in plan.segments if part is not plan.active]
        self._unsealed = [part for part in self._unsealed if part not in sealed]
        if plan.active is not self._active and plan.active not in self._unsealed:
            raise AssertionError("a segment was sealed while it was active")
        self._flushed = plan.end_offset
        if plan.end_offset > self._view.published.offset:
            self._view.published = Published(plan.end_offset, plan.active, plan.active_size)
        self._write_slot()

    def _flush_failed(self, error: OSError) -> StorageFailedError:
        failure = StorageFailedError(
            f"{self._name}: a sync failed ({error}); what was not yet acknowledged may be lost. "
            "The partition takes no writes until the store is reopened",
            topic=self.topic,
            partition=self.partition,
            errno=error.errno,
        )
        self._fail(failure)
        for segment in (*self._unsealed, self._active):
            self._cache.mark_clean(segment)
        return failure

    def _publish(self, offset: int) -> None:
        """Move the high watermark to the log's end (durability=page_cache)."""
        self._view.published = Published(offset, self._active, self._active.size)

    def _write_snapshots(self, snapshots: list[tuple[int, bytes]]) -> None:
        for offset, content in snapshots:
            try:
                write_snapshot(self._fs, self._directory, offset, content)
            except OSError:  # reopening then reads the log from an older one
                return

    def _write_slot(self) -> None:
        """Tell recovery and followers. Lost, it is a lower bound still: recovery reads more."""
        published = self._view.published.offset
        values = SlotValues(
            published, self._flushed, published, self._view.log_start_offset, self._generation
        )
        try:
            self._slot.write(values)
        except OSError:
            return

    # --- read -------------------------------------------------------------------------------

    def check_offset(self, offset: int) -> None:
        """Raises OffsetOutOfRangeError unless log start <= `offset` <= high watermark."""
        self._view.check_offset(offset)

    def read(
        self, offset: int, *, bytes_max: int, up_to: int | None = None, cold_ok: bool = False
    ) -> Lease:
        """Whole batches of one segment as one view, the first being the one that holds `offset`.

        At least one batch, however small `bytes_max` is; nothing at the high watermark. With
        `up_to` only batches below that offset. Without `cold_ok` nothing waits for the disk: a
        lease that is `cold` says that it would have to.

        Raises OffsetOutOfRangeError, TooManyRequestsError, CorruptDataError, StorageFailedError.
        """
        return self._view.read(offset, bytes_max=bytes_max, up_to=up_to, cold_ok=cold_ok)

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first visible record with that timestamp or a later one. May
        wait for the disk."""
        return self._view.offset_for_timestamp(timestamp_ms)

    def offset_for_max_timestamp(self) -> tuple[int, int] | None:
        """(offset, timestamp) of the first visible record with the largest timestamp."""
        return self._view.offset_for_max_timestamp()

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """(largest known epoch not above `epoch`, end offset of its records); KIP-101."""
        return self._epochs.end_offset(epoch, self._view.published.offset)

    # --- forget -----------------------------------------------------------------------------

    def delete_records(self, before_offset: int) -> int:
        """Records below the offset are gone, durably; returns the new log start offset.

        Raises OffsetOutOfRangeError above the high watermark, DiskFullError, StorageFailedError.
        """
        with self._flushing:
            if before_offset < 0 or before_offset > self.high_watermark:
                raise OffsetOutOfRangeError(
                    f"{self._name} cannot forget up to offset {before_offset}: it holds "
                    f"{self.log_start_offset} up to {self.high_watermark}",
                    offset=before_offset,
                )
            if before_offset <= self.log_start_offset:
                return self.log_start_offset
            try:
                write_log_start(
                    self._fs,
                    self._directory,
                    topic=self.topic,
                    partition=self.partition,
                    offset=before_offset,
                )
            except OSError as error:
                raise storage_error(error, "write", self._directory) from error
            with self._lock:
                self._check_writable()
                doomed = [
                    part for part in self._view.segments[:-1] if part.next_offset <= before_offset
                ]
                self._drop(doomed, before_offset)
        self._remove(doomed)
        return before_offset

    def apply_retention(self, now_ms: int) -> int:
        """Remove the segments that are not kept any longer; how many. May wait for the disk."""
        config = self.config
        if config.retention_ms < 0 and config.retention_bytes < 0:
            return 0
        with self._flushing:
            with self._lock:
                if self._end_error is not None:
                    return 0
                is_rolled = self._is_active_expired(now_ms)
                if is_rolled:
                    self._roll(now_ms)
            if is_rolled:  # once it is sealed the next check may take it
                self._flusher.mark_dirty(self, urgent=False, within_ms=config.flush_interval_ms)
            doomed = expired_segments(
                self._view.segments,
                config=config,
                now_ms=now_ms,
                high_watermark=min(self._flushed, self.high_watermark),
                max_timestamp=self._view.max_timestamp,
            )
            with self._lock:
                doomed = [part for part in doomed if part not in self._unsealed]
                if doomed:
                    self._drop(doomed, doomed[-1].next_offset)
        self._remove(doomed)
        return len(doomed)

    def _is_active_expired(self, now_ms: int) -> bool:
        """Whether even the newest record is too old: then the active segment may go as well."""
        active = self._active
        if self.config.retention_ms < 0 or not active.size or self._flushed != self._end:
            return False
        return 0 <= self._view.max_timestamp(active) < now_ms - self.config.retention_ms

    def _drop(self, doomed: list[Segment], log_start_offset: int) -> None:
        self._view.log_start_offset = max(self._view.log_start_offset, log_start_offset)
        self._view.segments = tuple(part for part in self._view.segments if part not in doomed)
        self._generation += len(doomed)
        self._is_touched = True
        self._write_slot()

    def _remove(self, doomed: list[Segment]) -> None:
        for segment in doomed:
            self._cache.forget(segment)
            try:
                remove_segment(self._fs, segment)
            except OSError:  # the next opening finds it below the log start and removes it
                continue

    # --- the end ----------------------------------------------------------------------------

    def update_config(self, config: TopicConfig) -> None:
        """From the next append on."""
        self.config = config

    def close(self) -> bool:
        """Sync, trim, write the producers' snapshot, end the waiters. Whether that all went well:
        a log that had failed is not clean, so that reopening recovers it."""
        error = StoreClosedError(f"{self._name}: the store was closed")
        with self._flushing:
            is_clean = self._end_error is None and self._flush_for_close()
            with self._lock:
                if self._end_error is None:
                    self._end_error = error
        run_callbacks(self._waiters.end(error), error)
        self._flusher.poke()
        for segment in self._view.segments:
            self._cache.mark_clean(segment)
            self._cache.forget(segment)
        return is_clean

    def _flush_for_close(self) -> bool:
        if not self._is_touched:
            return True
        self._flusher.mark_dirty(self, urgent=True)
        self._flusher.run_round()
        if self._end_error is not None or self._flushed != self._end:
            return False
        try:
            files = self._cache.pin(self._active)
            try:
                self._active.trim(files)
            finally:
                self._cache.unpin(self._active)
            if len(self._producers):
                write_snapshot(self._fs, self._directory, self._end, self._producers.encode())
        except OSError:
            return False
        with self._lock:
            self._write_slot()
        return True

    def abandon(self) -> None:
        """The topic was deleted: no more reads and writes. The caller removes the directory."""
        error = UnknownTopicError(f"topic {self.topic!r} was deleted", topic=self.topic)
        with self._lock:
            self._end_error = error
        run_callbacks(self._waiters.end(error), error)
        self._flusher.poke()
        for segment in self._view.segments:
            self._cache.mark_clean(segment)
            self._cache.forget(segment)


def _check_client_may(header: BatchHeader) -> None:
    """What only the log itself may write. Raises InvalidBatchError."""
    if header.is_control:
        raise InvalidBatchError("a control batch is written by the log itself, not by clients")
    if header.is_transactional:
        raise InvalidBatchError("a transactional batch needs a transaction; there are none yet")
    if header.timestamp_type == TIMESTAMP_LOG_APPEND_TIME:
        raise InvalidBatchError("LogAppendTime is set by the log, not by clients")
