"""The single writer of a partition: appends, rolls, and what a flush round does to it.

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
the page cache) and the hint to begin writing it out, never over a sync or a callback. Readers take
none (see LogView).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from logstore.clock import Clock
from logstore.config import TopicConfig
from logstore.errors import LogStoreError, StorageFailedError
from logstore.fs import FileSystem
from logstore.log.append_values import Appended, Flush
from logstore.log.faults import fresh, is_no_space, storage_error, sync_error
from logstore.log.flush import Flusher, FlushPlan
from logstore.log.format import LOG_SUFFIX, REPLACING, offset_name
from logstore.log.log_view import LogView, Published
from logstore.log.producer_state import NO_OFFSET, KnownProducers
from logstore.log.recovery import Recovered
from logstore.log.segment import Segment, SegmentFiles, create_segment_file
from logstore.log.segment_cache import SegmentCache
from logstore.log.snapshots import SnapshotSchedule
from logstore.log.state_file import PreparedSlot, SlotValues, StateSlot
from logstore.log.waiters import Waiters, run_callbacks
from logstore.record import (
    CONTROL_BIT,
    HEADER_BYTES,
    NO_PRODUCER_ID,
    BatchHeader,
    header_prefix,
    marker_of,
    parse_header,
    with_log_append_time,
)

if TYPE_CHECKING:
    from logstore.log.producer_state import ProducerState

SLOT_INTERVAL = 0.001  # seconds between two writes of the slot for appends that are not flushed
PREFIX_BYTES = 16  # of a batch: base offset, length, leader epoch; written by the log


class LogWriter:
    """Owned by a PartitionLog; what the Flusher flushes. Thread-safe."""

    def __init__(
        self,
        fs: FileSystem,
        directory: str,
        *,
        name: str,
        config: TopicConfig,
        clock: Clock,
        slot: StateSlot,
        cache: SegmentCache,
        flusher: Flusher,
        found: Recovered,
        view: LogView,
        generation: int,
    ) -> None:
        self.config = config
        self.end = self.flushed = found.end_offset
        self.leader_epoch = found.epochs.current
        self.error: LogStoreError | None = None  # why it takes no writes any more
        self.is_touched = False  # since it was opened: close has something to do
        self.waiters = Waiters(lambda: view.published.offset)
        self.stable_waiters = Waiters(lambda: view.published.stable_offset)
        self._name = name
        self._fs = fs
        self._directory = directory
        self._clock = clock
        self._slot = slot
        self._cache = cache
        self._flusher = flusher
        self._view = view
        self._generation = generation
        self._producers: ProducerState = found.producers
        self._snapshots = SnapshotSchedule(fs, directory, found.snapshot_offset)
        self._lock = threading.Lock()
        self._active = found.segments[-1]
        self._unsealed: list[Segment] = []
        self._is_directory_dirty = False
        self._slot_due = 0.0
        self._is_marked = False  # the flusher knows that it is dirty, and has not begun
        self._is_waited_for = False  # the append at work
        self._planned = self.end  # what the last round that began covers
        self._closing: LogStoreError | None = None

    # --- append -----------------------------------------------------------------------------

    def append(
        self, view: memoryview, header: BatchHeader, *, flush: Flush, is_own: bool = False
    ) -> Appended:
        """See PartitionLog.append; the batch is known to be valid. `is_own`: the engine's, which
        may hold a lock that a callback of a flush round wants: it waits for no round."""
        if self._cache.is_crowded and not is_own:
            self._flusher.run_round()
        is_page_cache = self.config.durability == "page_cache"
        try:
            with self._lock:
                self._is_waited_for = flush is not Flush.LATER and not is_page_cache
                appended = self._append_locked(view, header)
                if appended.duplicate:
                    return appended
                if is_page_cache:
                    self._publish(self.end, self._active, self._active.size)
                    self._tell_followers()
                is_marked, self._is_marked = self._is_marked, True
        except StorageFailedError as failure:
            if failure is self.error:  # it was this write that failed
                self.tell_end(failure)
            raise
        if is_page_cache:
            if not is_marked:
                self._mark(urgent=False)
            self._tell_readers()
            return appended
        if flush is Flush.NOW or not is_marked:
            self._mark(urgent=flush is Flush.NOW)
        return appended

    def _mark(self, *, urgent: bool) -> None:
        self._flusher.mark_dirty(self, urgent=urgent, within_ms=self.config.flush_interval_ms)

    def want_flush(self, last_offset: int) -> None:
        """Somebody who leads no round waits for it."""
        if last_offset >= self._planned:  # else the round in progress covers it
            self._mark(urgent=True)

    def _publish(self, offset: int, segment: Segment, position: int) -> None:
        self._view.published = self._publishable(offset, segment, position)

    def _publishable(self, offset: int, segment: Segment, position: int) -> Published:
        stable = self._view.transactions.stable_offset(offset, self._producers.open_since)
        return Published(offset, segment, position, stable)

    def _tell_readers(self) -> None:
        for waiters in (self.waiters, self.stable_waiters):
            if waiters.by_offset:
                run_callbacks(waiters.take(), None)

    def _tell_followers(self) -> None:
        """Of page-cache appends, once in a millisecond; of the last of them the next flush tells,
        within flush_interval_ms."""
        now = self._clock.monotonic()
        if now >= self._slot_due:
            self._slot_due = now + SLOT_INTERVAL
            self._write_slot()

    def _append_locked(self, view: memoryview, header: BatchHeader) -> Appended:
        refusal = self.error or self._closing
        if refusal is not None:
            raise fresh(refusal)
        has_producer = header.producer_id != NO_PRODUCER_ID
        repeated = self._producers.check(header) if has_producer else None
        is_log_time = self.config.message_timestamp_type == "LogAppendTime"
        if repeated is not None:
            append_time = repeated.timestamp_ms if is_log_time else -1
            return Appended(repeated.base_offset, repeated.last_offset, append_time, True)
        now_ms = self._clock.now_ms()
        if is_log_time:
            view = memoryview(with_log_append_time(view, now_ms))
            header = parse_header(view)
        base_offset = self.end
        last_offset = base_offset + header.last_offset_delta
        if self._active.must_roll(header, view.nbytes, last_offset, now_ms, self.config):
            self._roll(now_ms)
        marker = marker_of(view) if header.attributes & CONTROL_BIT else None
        self._write(view, header, base_offset)
        if has_producer:
            ended = self._producers.update(
                header,
                base_offset=base_offset,
                timestamp_ms=header.max_timestamp,
                used_ms=self._monotonic_ms(),
                marker=marker,
            )
            if ended is not None:
                self._view.transactions.end(ended, self._producers.open_since)
        self.end = last_offset + 1
        self._snapshots.count(view.nbytes)
        return Appended(base_offset, last_offset, now_ms if is_log_time else -1, False)

    def _write(self, view: memoryview, header: BatchHeader, base_offset: int) -> None:
        """Put the batch at the end of the active segment; all or nothing."""
        segment = self._active
        prefix = header_prefix(
            header.batch_length, base_offset=base_offset, leader_epoch=self.leader_epoch
        )
        self.is_touched = True  # also by a write that fails
        try:
            was_dirty = segment.is_dirty
            files = segment.files if was_dirty else None  # pinned as long as it is dirty
            if files is None:
                files = self._cache.pin_dirty(segment)
            try:
                if not segment.is_max_timestamp_known:  # read before the batch is there, may fail
                    segment.load_max_timestamp(files)
                self._put(segment, files, [prefix, view[PREFIX_BYTES:]], view.nbytes)
            except OSError:
                if not was_dirty:
                    self._cache.mark_clean(segment)
                raise
            if self._is_waited_for and not self._is_marked and self._flusher.is_idle:
                # A round begins with this append alone, as soon as this thread has made some more
                # steps. The disk need not wait for them.
                files.log.start_write_back(segment.size, view.nbytes)
            segment.note_append(files, header, base_offset=base_offset, config=self.config)
        except OSError as error:
            raise self._write_failed(error, segment.log_path) from error

    def _put(
        self, segment: Segment, files: SegmentFiles, buffers: list[bytes | memoryview], size: int
    ) -> None:
        """A write that fails may have written everything but last bytes that are zero, and the file
        held zeros there: then the batch is whole, and a crash may bring it back whatever is done
        about it. So it counts as written. Of any other rest no byte is a batch."""
        end = segment.size + size
        if end > segment.allocated:
            segment.reserve(files, end, self.config.segment_bytes)
        try:
            files.log.write(buffers, segment.size)
        except OSError as error:
            if is_no_space(error) and files.log.read(size, segment.size) == b"".join(buffers):
                return
            with suppress(OSError):
                files.log.write([bytes(HEADER_BYTES)], segment.size)
            raise

    def _roll(self, now_ms: int) -> None:
        """Begin a new segment at the log's end; the old one is sealed by the next flush.

        It is trimmed here already: followers may be told of the new segment before that flush,
        and take a segment that is not the last for one whose files do not change.
        """
        old = self._active
        try:
            create_segment_file(self._fs, self._directory, self.end)
            files = self._cache.pin(old)
            try:
                old.trim(files)
                self._cache.mark_dirty(old)
            finally:
                self._cache.unpin(old)
        except OSError as error:
            with suppress(OSError):  # if it stays, or a crash brings it back: see recovery
                self._fs.unlink(f"{self._directory}/{offset_name(self.end)}{LOG_SUFFIX}")
            raise self._write_failed(error, self._directory) from error
        self._active = Segment(self._fs, self._directory, self.end, created_ms=now_ms)
        self._view.segments = (*self._view.segments, self._active)
        self._unsealed.append(old)
        self._is_directory_dirty = True
        self.is_touched = True
        self._generation += 1
        self._take_snapshot()

    def _take_snapshot(self) -> None:
        self._snapshots.take(self.end, self._producers, self._view.transactions.aborted)

    def _write_failed(self, error: OSError, path: str) -> LogStoreError:
        """A full disk passes; anything else is the end of writing."""
        failure = storage_error(error, "write", path)
        if not is_no_space(error):
            self._fail(failure)
        return failure

    # --- the end of writing -----------------------------------------------------------------

    def _fail(self, error: LogStoreError) -> None:
        """Take no more writes, under the lock. What was published stays readable.

        Nothing above the flushed offset is trusted any more: Linux marks pages clean whose write
        failed, so neither a later sync nor the page cache proves anything. Reopening checks each
        batch and writes it again (see recovery.py).
        """
        if self.error is None:
            self.error = error
        self.end = self._view.published.offset
        self._write_slot()  # how much was told to readers, if that is more than is on disk
        for segment in (*self._unsealed, self._active):
            self._cache.mark_clean(segment)

    def tell_end(self, error: LogStoreError) -> None:
        """Outside the lock: those who wait, and those who help a flush along, look again."""
        run_callbacks(self.waiters.end(error), error)
        run_callbacks(self.stable_waiters.end(error), error)
        self._flusher.poke()

    def begin_close(self, error: LogStoreError) -> None:
        """No appends from here on (they get `error`), but what is there is still flushed."""
        with self._lock:
            self._closing = error

    def stop(self, error: LogStoreError) -> None:
        """No appends, no flushes; waiters get `error`. The files are closed."""
        with self._lock:
            if self.error is None:
                self.error = error
            segments = self._view.segments
        self.tell_end(error)
        for segment in segments:
            self._cache.mark_clean(segment)
            self._cache.forget(segment)

    def finish(self) -> bool:
        """After begin_close: flush, trim, snapshot. Whether all of it went well."""
        if self.error is None and self.is_touched:
            self.flush_now()
        if self.error is not None or self.flushed != self.end or self._unsealed:
            return False
        if not self.is_touched:
            return True
        try:
            files = self._cache.pin(self._active)
            try:
                self._active.trim(files)
                self._active.finish_sums(files)
            finally:
                self._cache.unpin(self._active)
        except OSError:
            return False
        self._take_snapshot()
        self._snapshots.write(self._snapshots.drain())
        with self._lock:
            return self._write_slot()

    # --- flush ------------------------------------------------------------------------------

    def flush_now(self) -> None:
        """Wait until what was appended so far is on disk, or the partition has failed."""
        self._flusher.mark_dirty(self, urgent=True)
        self._flusher.run_round()

    def begin_flush(self) -> FlushPlan | None:
        """For the Flusher: what is to be synced."""
        with self._lock:
            self._is_marked = False
            has_news = self.flushed != self.end or self._unsealed or self._is_directory_dirty
            if self.error is not None or not has_news:
                return None
            if self._snapshots.is_due:
                self._take_snapshot()
            active = self._active
            segments = [*self._unsealed, active]
            plan = FlushPlan(self, self.end, active, active.size, segments, syncs=[])
            plan.snapshots = self._snapshots.drain()
            self._planned = plan.end_offset
            self._prepare(plan)
            if self._is_directory_dirty:
                plan.syncs.append(self._sync_directory)
            self._is_directory_dirty = False
        try:
            for segment in segments:
                self._plan_segment(plan, segment)
        except OSError as error:
            plan.error = error
        return plan

    def _prepare(self, plan: FlushPlan) -> None:
        """What is true once the plan is synced, while there is time: the disk is at work. Appends
        that come meanwhile change neither what is stable below the plan's end nor the slot."""
        published = self._view.published
        if plan.end_offset > published.offset:
            published = self._publishable(plan.end_offset, plan.active, plan.active_size)
        plan.published = published
        slot = self._slot.prepare(self._slot_values(published, plan.end_offset))
        plan.slot, plan.generation = slot, self._generation

    def _sync_directory(self) -> None:
        self._fs.sync_directory(self._directory)

    def _plan_segment(self, plan: FlushPlan, segment: Segment) -> None:
        files = self._cache.pin(segment)
        plan.pinned.append(segment)
        if segment is not plan.active:
            segment.trim(files)  # again: the disk may have been full when it was rolled
            for index in (files.offsets.file, files.times.file):
                if index is not None:
                    plan.syncs.append(index.sync)
            sums = segment.finish_sums(files)
            if sums is not None:
                plan.syncs.append(sums.sync)
        else:
            segment.extend_sums(files, plan.active_size)
        if segment.is_dirty:
            plan.syncs.append(files.log.sync)

    def finish_flush(self, plan: FlushPlan) -> None:
        """For the Flusher: the plan was synced, or failed with plan.error."""
        failure: LogStoreError | None = None
        with self._lock:
            is_over = self.error is not None  # failed, closed or deleted: the waiters were told
            if is_over or plan.error is not None:
                for segment in plan.pinned:
                    self._cache.unpin(segment)
            if is_over:
                return
            if plan.error is not None:
                failure = sync_error(plan.error, self._name)
                self._fail(failure)
            else:
                self._flushed_to(plan)
        if failure is not None:
            self.tell_end(failure)
        else:
            try:
                self._tell_readers()
            finally:  # a waiter's bug is not the producers'
                if plan.snapshots:
                    self._snapshots.write(plan.snapshots)

    def _flushed_to(self, plan: FlushPlan) -> None:
        active = plan.active
        for segment in plan.pinned:
            if segment is not active:
                self._cache.mark_clean(segment)
                self._cache.unpin(segment)
                self._unsealed.remove(segment)
        # The plan's active segment may have grown since, or been rolled: the next flush takes it.
        is_clean = active is self._active and active.size == plan.active_size
        self._cache.unpin(active, is_clean=is_clean)
        self.flushed = plan.end_offset
        published = self._view.published
        if plan.published is not None and plan.published.offset > published.offset:
            published = plan.published
        is_prepared = published is plan.published and plan.generation == self._generation
        # The slot first: who sees the new watermark may be killed with the process.
        self._write_slot(published, plan.slot if is_prepared else None)
        self._view.published = published

    def _write_slot(
        self, published: Published | None = None, prepared: PreparedSlot | None = None
    ) -> bool:
        """Tell recovery and followers, under the lock. If that fails, what the slot says is a lower
        bound still, and recovery reads more."""
        try:
            if not self._slot.write_prepared(prepared):
                values = self._slot_values(published or self._view.published, self.flushed)
                self._slot.write(values)
        except OSError:
            return False
        return True

    def _slot_values(self, published: Published, flushed: int) -> SlotValues:
        return SlotValues(
            published.offset,
            flushed,
            published.stable_offset,
            self._view.log_start_offset,
            self._generation,
        )

    # --- forget -----------------------------------------------------------------------------

    def roll_if_expired(self, now_ms: int) -> bool:
        """Roll a segment whose newest record is too old, so that retention can take it too."""
        keep_ms = self.config.retention_ms if self.config.is_deleted else -1
        try:
            with self._lock:
                active = self._active
                if self.error or self._closing or keep_ms < 0 or not active.size:
                    return False
                if self.flushed != self.end:
                    return False
                if not 0 <= self._view.max_timestamp(active) < now_ms - keep_ms:
                    return False
                self._roll(now_ms)
        except StorageFailedError as failure:
            self.tell_end(failure)
            raise
        self._flusher.mark_dirty(self, urgent=False, within_ms=self.config.flush_interval_ms)
        return True

    def sealed_segments(self) -> list[Segment]:
        """All but the active one and those that the next flush seals, oldest first."""
        with self._lock:
            return list(self._view.segments[: -1 - len(self._unsealed)])

    def keep_producers(self, from_offset: int, *, may_flush: bool) -> bool:
        """Whether a snapshot from `from_offset` on is on disk: segments below it may go, and their
        producers are known all the same. If none is, one is made, at once or with a flush. With
        `may_flush` that is waited for: then it is so unless the partition has failed.

        Raises OSError."""
        while not self._snapshots.make_durable(from_offset):
            with self._lock:
                if self.error is not None:
                    return False
                taken = []
                if self.flushed == self.end and not self._unsealed:
                    self._take_snapshot()
                    taken = self._snapshots.drain()
                else:
                    self._snapshots.ask_for_one()
            if taken:
                self._snapshots.write(taken)
            elif may_flush:
                self.flush_now()  # the second at the latest begins after it was asked for
            else:
                return False
            if self._snapshots.error is not None:
                raise self._snapshots.error
        return True

    def drop(self, doomed: Sequence[Segment], log_start_offset: int) -> None:
        """Raise the log start and leave out segments below it; their files are the caller's."""
        with self._lock:
            self._view.log_start_offset = max(self._view.log_start_offset, log_start_offset)
            self._view.transactions.drop_below(self._view.log_start_offset)
            kept = tuple(part for part in self._view.segments if part not in doomed)
            self._view.segments = kept
            self._generation += len(doomed)
            self.is_touched = True
            self._write_slot()

    def replace(self, old: Sequence[Segment], new: Segment, gone_markers: Collection[int]) -> None:
        """`new` takes the place of these neighbours, which are sealed; without the markers at these
        offsets, and nothing of their transactions is left."""
        with self._lock:
            self._view.transactions.forget(gone_markers)
            segments = self._view.segments
            at = segments.index(old[0])
            new.next_offset = old[-1].next_offset
            self._view.segments = (*segments[:at], new, *segments[at + len(old) :])
            published = self._view.published
            if published.segment in old:  # nothing was published since it was sealed
                self._view.published = published._replace(segment=new, position=new.size)
            self._generation = (self._generation + 1) | REPLACING
            self.is_touched = True
            self._write_slot()

    def replaced(self) -> None:
        """The files are in place: followers may look at them."""
        with self._lock:
            self._generation = (self._generation + 1) & ~REPLACING
            self._write_slot()

    @property
    def is_ending(self) -> bool:
        """It takes no writes any more, or is being closed or deleted."""
        return self.error is not None or self._closing is not None

    def fail(self, error: LogStoreError) -> None:
        """The end of writing, found by somebody else, who calls `tell_end` then, under no lock."""
        with self._lock:
            self._fail(error)

    def producers(self) -> KnownProducers:
        """What is known of each now."""
        with self._lock:
            return KnownProducers(self._producers.entries(), self.flushed, self.end)

    def expire_producers(self, keep_ms: int) -> int:
        """See ProducerState.expire."""
        with self._lock:
            return self._producers.expire(self._monotonic_ms(), keep_ms)

    def _monotonic_ms(self) -> int:
        return int(self._clock.monotonic() * 1000)

    def open_transactions(self) -> dict[int, tuple[int, int]]:
        """producer id -> (epoch, first offset)."""
        with self._lock:
            return {
                producer_id: (entry.epoch, first_offset)
                for producer_id, first_offset in self._producers.open_transactions().items()
                if (entry := self._producers.get(producer_id)) is not None
            }

    def is_marked(self, producer_id: int, epoch: int) -> bool:
        """See PartitionLog.is_marked."""
        with self._lock:
            entry = self._producers.get(producer_id)
            return entry is not None and entry.epoch == epoch and entry.open_since == NO_OFFSET

    def announce(self) -> None:
        """Write the slot of a log that was just recovered."""
        with self._lock:
            self.is_touched = True
            self._write_slot()
