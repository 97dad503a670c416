"""One partition: what a store opens, appends to, reads, trims at the front and closes.

    segments     [0 .. 500)  [500 .. 900)  [900 .. 1000)
                   sealed      not sealed      active
    offsets      log start 120   flushed = high watermark 850   log end 1000

It puts together the parts: recovery finds what is there, LogWriter appends and flushes (and states
the invariants of both), LogView reads, retention says what is not kept.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TypedDict, Unpack

from logstore.clock import Clock
from logstore.config import StoreConfig, TopicConfig
from logstore.errors import (
    BatchTooLargeError,
    DiskFullError,
    InvalidBatchError,
    LogStoreError,
    OffsetOutOfRangeError,
    StorageFailedError,
    StoreClosedError,
    UnknownTopicError,
)
from logstore.fs import FileSystem
from logstore.log.append_values import Appended, Flush
from logstore.log.checkpoint import LeaderEpochs, write_identity, write_log_start
from logstore.log.faults import fresh, is_no_space, storage_error
from logstore.log.flush import Flusher
from logstore.log.format import IDENTITY_FILE, REPLACING
from logstore.log.lease import Lease
from logstore.log.log_view import LogView, Published
from logstore.log.log_writer import LogWriter
from logstore.log.partition_cleaner import PartitionCleaner
from logstore.log.producer_state import KnownProducers
from logstore.log.recovery import RecoveryReport, recover
from logstore.log.retention import expired_segments, remove_segment
from logstore.log.segment import Segment, create_segment_file
from logstore.log.segment_cache import SegmentCache
from logstore.log.state_file import StateSlot
from logstore.log.topic_codec import SENDERS_CHOICE, in_topics_codec
from logstore.log.transactions import AbortedTransaction
from logstore.log.waiters import Callback, Registration
from logstore.record import (
    CONTROL_BIT,
    TIMESTAMP_TYPE_BIT,
    BatchHeader,
    parse_header,
    validated_body,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer


NOT_OF_CLIENTS = CONTROL_BIT | TIMESTAMP_TYPE_BIT  # what only the log itself may write


class PartitionParts(TypedDict):
    """What every partition is given: who it is, and what it shares with the store's others."""

    topic: str
    topic_id: uuid.UUID
    partition: int
    config: TopicConfig
    limits: StoreConfig
    clock: Clock
    slot: StateSlot
    segments: SegmentCache
    flusher: Flusher


class PartitionLog:
    """Thread-safe. Made by `create` or `open`, ended by `close` or `abandon`."""

    IDENTITY_FILE = IDENTITY_FILE

    def __init__(
        self, fs: FileSystem, directory: str, *, clean: bool, **parts: Unpack[PartitionParts]
    ) -> None:
        self.topic = parts["topic"]
        self.topic_id = parts["topic_id"]
        self.partition = parts["partition"]
        self._name = f"{self.topic}-{self.partition}"
        self._fs = fs
        self._directory = directory
        self._limits = parts["limits"]
        self._cache = parts["segments"]
        # One at a time raises the log start, replaces segments or closes.
        self._forgetting = threading.Lock()
        slot = parts["slot"]
        found = recover(
            fs,
            directory,
            topic_id=self.topic_id,
            slot=slot,
            clean=clean,
            now_ms=parts["clock"].now_ms(),
            config=parts["config"],
        )
        self.recovery_report: RecoveryReport = found.report
        self._epochs = found.epochs
        active = found.segments[-1]
        self._view = LogView(
            self._name,
            found.segments,
            Published(
                found.end_offset,
                active,
                active.size,
                found.transactions.stable_offset(found.end_offset, found.producers.open_since),
            ),
            log_start_offset=found.log_start_offset,
            transactions=found.transactions,
            cache=self._cache,
            limits=self._limits,
        )
        was_unclean = found.report.was_unclean
        self._writer = LogWriter(
            fs,
            directory,
            name=self._name,
            config=parts["config"],
            clock=parts["clock"],
            slot=slot,
            cache=self._cache,
            flusher=parts["flusher"],
            found=found,
            view=self._view,
            generation=(slot.recorded.generation & ~REPLACING if slot.recorded else 0)
            + was_unclean,
        )
        self.cleaner = self._make_cleaner(parts["clock"], was_unclean=was_unclean)
        if was_unclean:
            self._writer.announce()

    def _make_cleaner(self, clock: Clock, *, was_unclean: bool) -> PartitionCleaner:
        return PartitionCleaner(
            self._fs,
            self._directory,
            topic=self.topic,
            partition=self.partition,
            limits=self._limits,
            clock=clock,
            cache=self._cache,
            writer=self._writer,
            view=self._view,
            replacing=self._forgetting,
            was_unclean=was_unclean,
        )

    @classmethod
    def create(
        cls, fs: FileSystem, directory: str, **parts: Unpack[PartitionParts]
    ) -> PartitionLog:
        """A new log in `directory`, which must not exist. Durable but for the parent's entry.

        Raises DiskFullError, StorageFailedError.
        """
        try:
            fs.make_directory(directory)
            write_identity(fs, directory, parts["topic_id"])
            LeaderEpochs(((0, 0),)).write_new(fs, directory)
            create_segment_file(fs, directory, 0)
            fs.sync_directory(directory)
            return cls(fs, directory, clean=True, **parts)
        except OSError as error:
            raise storage_error(error, "create", directory) from error

    @classmethod
    def open(
        cls, fs: FileSystem, directory: str, *, clean: bool, **parts: Unpack[PartitionParts]
    ) -> PartitionLog:
        """Recover the log in `directory`. `clean`: the store was closed cleanly.

        Raises CorruptDataError if the directory is another topic's or cannot be made sense of,
        StorageFailedError if what was accepted cannot be synced, DiskFullError.
        """
        try:
            return cls(fs, directory, clean=clean, **parts)
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
        """All transactions with records below it are decided; up to the high watermark."""
        return self._view.stable_offset

    @property
    def log_end_offset(self) -> int:
        return self._writer.end

    @property
    def flushed_offset(self) -> int:
        return self._writer.flushed

    @property
    def leader_epoch(self) -> int:
        return self._writer.leader_epoch

    @property
    def size_bytes(self) -> int:
        return sum(segment.size for segment in self._view.segments)

    @property
    def segment_count(self) -> int:
        return len(self._view.segments)

    @property
    def config(self) -> TopicConfig:
        return self._writer.config

    @property
    def recovery_notes(self) -> list[str]:
        """What opening had to mend, a sentence each."""
        return [f"{self._name}: {note}" for note in self.recovery_report.notes]

    @property
    def has_lost(self) -> bool:
        """Whether opening found less than what had been published before."""
        return self.recovery_report.has_lost

    @property
    def error(self) -> LogStoreError | None:
        """Why it takes no writes (failed, closed, deleted); None while it does."""
        return self._writer.error

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """(largest known epoch not above `epoch`, end offset of its records); KIP-101."""
        return self._epochs.end_offset(epoch, self.high_watermark)

    # --- append -----------------------------------------------------------------------------

    def append(
        self,
        batch: Buffer,
        *,
        header: BatchHeader | None = None,
        flush: Flush = Flush.NOW,
        validated: bool = False,
    ) -> Appended:
        """Write one record batch at the log's end; base offset and leader epoch are set here.

        On disk when `on_high_watermark(last_offset + 1)` fires. `flush` says who
        sees to that. `header`: what parse_header says of the batch, if it
        was asked. `validated`: validated_body passed, or the batch is the engine's own; nothing is
        looked at again then.

        A producer's repeated batch is not written: `duplicate`, with the offsets of the first.

        Raises InvalidBatchError and its kin, OutOfOrderSequenceError, DuplicateSequenceError,
        ProducerFencedError, DiskFullError (nothing happened, try later), StorageFailedError,
        StoreClosedError, UnknownTopicError. Nothing was stored then; but a batch whose write or
        sync failed (StorageFailedError) may be found when the log is reopened.
        """
        view = memoryview(batch)
        if not validated:
            config = self._writer.config
            if view.nbytes > config.max_message_bytes:
                self._refuse_size(view.nbytes)
            header, body = validated_body(
                view,
                decompressed_bytes_max=self._limits.decompressed_bytes_max,
                require_keys=config.is_compacted,
                header=header,
            )
            if header.attributes & NOT_OF_CLIENTS:
                _refuse_client(header)
            if config.compression_type != SENDERS_CHOICE:
                view, header = in_topics_codec(view, header, body, config)
                if view.nbytes > config.max_message_bytes:
                    self._refuse_size(view.nbytes)
        else:
            header = header or parse_header(view)
            is_large = view.nbytes > self._writer.config.max_message_bytes
            if is_large and not header.is_control:  # a transaction must end, whatever the limit
                self._refuse_size(view.nbytes)
        return self._writer.append(view, header, flush=flush, is_own=validated)

    def _refuse_size(self, size: int) -> NoReturn:
        bytes_max = self._writer.config.max_message_bytes
        raise BatchTooLargeError(
            f"the batch has {size} bytes; topic {self.topic!r} takes up to "
            f"{bytes_max} (max_message_bytes)",
            batch_bytes=size,
            max_message_bytes=bytes_max,
        )

    def want_flush(self, last_offset: int) -> None:
        """Have the driver flush up to there, unless a round is at it. Of an append by Flush.LED."""
        self._writer.want_flush(last_offset)

    def on_high_watermark(self, offset: int, callback: Callback) -> Registration:
        """Call `callback(None)` once, when the high watermark is at least `offset`.

        At once if it is; `callback(error)` if the partition fails, is closed or deleted first. It
        runs in the thread that moved the watermark, under no lock, and must not block.
        """
        return self._writer.waiters.add(offset, callback)

    def on_stable_offset(self, offset: int, callback: Callback) -> Registration:
        """The same for the last stable offset."""
        return self._writer.stable_waiters.add(offset, callback)

    # --- transactions -----------------------------------------------------------------------

    def open_transactions(self) -> dict[int, tuple[int, int]]:
        """producer id -> (producer epoch, first offset) of those that no marker has ended."""
        return self._writer.open_transactions()

    def producers(self) -> KnownProducers:
        """producer id -> what is known of it now."""
        return self._writer.producers()

    def is_marked(self, producer_id: int, epoch: int) -> bool:
        """Whether the producer's last batch is of that epoch and left no transaction open."""
        return self._writer.is_marked(producer_id, epoch)

    @property
    def aborted(self) -> Sequence[AbortedTransaction]:
        """The aborted transactions that have records from the log start on, by last offset (see
        transactions.between); complete for offsets below the last stable offset. It may grow, and
        keeps what was in it."""
        return self._view.transactions.aborted

    def flush(self) -> None:
        """Wait until everything appended so far is on disk. Raises why it cannot be."""
        if self.flushed_offset < self.log_end_offset:
            self._writer.flush_now()
        if self.error is not None:
            raise fresh(self.error)

    def expire_producers(self, keep_ms: int) -> int:
        """Forget producers that have not written for `keep_ms`; how many."""
        return self._writer.expire_producers(keep_ms)

    # --- read -------------------------------------------------------------------------------

    def check_offset(self, offset: int) -> None:
        """Raises OffsetOutOfRangeError unless log start <= `offset` <= high watermark, and what
        ended the partition if it can bring nothing more from there."""
        self._view.check_offset(offset)
        error = self._writer.error
        if error is not None and (
            offset >= self.high_watermark or not isinstance(error, StorageFailedError)
        ):
            raise fresh(error)

    def read(
        self, offset: int, *, bytes_max: int, up_to: int | None = None, cold_ok: bool = False
    ) -> Lease:
        """Whole batches of one segment as one view, the first being the one that holds `offset`
        (or the next, where records are missing).

        At least one batch, however small `bytes_max` is; nothing at the high watermark. With
        `up_to` only batches below that offset. Without `cold_ok` nothing waits for the disk: a
        lease that is `cold` says that it would have to.

        A partition that failed serves what was published; at its end the error is raised, so that
        nobody waits there in vain.

        Raises OffsetOutOfRangeError, TooManyRequestsError, CorruptDataError, StorageFailedError,
        StoreClosedError, UnknownTopicError.
        """
        if self._writer.error is not None:
            self.check_offset(offset)
        return self._view.read(offset, bytes_max=bytes_max, up_to=up_to, cold_ok=cold_ok)

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        """(offset, timestamp) of the first visible record with that timestamp or a later one. May
        wait for the disk."""
        return self._view.offset_for_timestamp(timestamp_ms)

    def offset_for_max_timestamp(self) -> tuple[int, int] | None:
        """(offset, timestamp) of the first visible record with the largest timestamp. May wait for
        the disk."""
        return self._view.offset_for_max_timestamp()

    # --- forget -----------------------------------------------------------------------------

    def delete_records(self, before_offset: int) -> int:
        """Records below the offset are gone, durably; returns the new log start offset.

        Raises OffsetOutOfRangeError above the high watermark, DiskFullError, StorageFailedError.
        """
        with self._forgetting:
            if not 0 <= before_offset <= self.high_watermark:
                raise OffsetOutOfRangeError(
                    f"{self._name} cannot forget up to offset {before_offset}: it holds "
                    f"{self.log_start_offset} up to {self.high_watermark}",
                    offset=before_offset,
                )
            if before_offset > self.log_start_offset:
                # After a power loss the log must not end below its start.
                if self._writer.flushed < before_offset:
                    self._writer.flush_now()
                if self._writer.error is not None:
                    raise fresh(self._writer.error)
                sealed = self._writer.sealed_segments()
                self._forget([s for s in sealed if s.next_offset <= before_offset], before_offset)
            return self.log_start_offset

    def apply_retention(self, now_ms: int) -> int:
        """Remove the segments that are not kept any longer; how many. May wait for the disk.

        A full disk does not stop it: it may be what makes room. Raises StorageFailedError.
        """
        with self._forgetting:
            if self._writer.error is not None:
                return 0
            with suppress(DiskFullError):  # the active segment stays for now
                self._writer.roll_if_expired(now_ms)
            doomed = expired_segments(
                self._writer.sealed_segments(),
                size_bytes=self.size_bytes,
                log_start_offset=self.log_start_offset,
                config=self._writer.config,
                now_ms=now_ms,
                max_timestamp=self._view.max_timestamp,
            )
            if doomed:
                self._forget(doomed, doomed[-1].next_offset)
            return len(doomed)

    def _forget(self, doomed: Sequence[Segment], before_offset: int) -> None:
        """The new start is durable before anything goes: a removal that a power loss undoes in part
        would otherwise leave a log with holes. On a full disk, where it cannot be written, whole
        segments go first, one by one."""
        start = max(before_offset, self.log_start_offset)
        is_kept = not doomed or self._keep_producers(doomed[-1].next_offset)
        if start > self.log_start_offset:
            try:
                self._write_log_start(start)
            except DiskFullError:
                if not doomed:
                    raise
                self._forget_one_by_one(doomed)
                self._write_log_start(start)
                doomed = ()
        self._writer.drop(doomed, start)
        for segment in doomed:
            self._cache.forget(segment)
            try:
                remove_segment(self._fs, segment)
            except OSError:  # the next opening finds it below the log start and removes it
                continue
        if not is_kept:
            self._keep_producers(start)  # there may be room now

    def _keep_producers(self, from_offset: int) -> bool:
        """Of producers whose batches are about to go, for who sends one of them again. False on a
        full disk: they go all the same, to make room, and a crash may forget those producers."""
        try:
            self._writer.keep_producers(from_offset, may_flush=True)
        except OSError as error:
            if not is_no_space(error):
                raise storage_error(error, "write", self._directory) from error
            return False
        if self._writer.error is not None:
            raise fresh(self._writer.error)
        return True

    def _forget_one_by_one(self, doomed: Sequence[Segment]) -> None:
        """Make room where there is none to write the log start: it is where the first segment
        begins. Each is gone durably before the next goes, so that a power loss leaves no hole."""
        for segment in doomed:
            self._writer.drop([segment], segment.next_offset)
            self._cache.forget(segment)
            try:
                remove_segment(self._fs, segment)
                self._fs.sync_directory(self._directory)
            except OSError as error:
                raise storage_error(error, "remove", segment.log_path) from error

    def _write_log_start(self, offset: int) -> None:
        try:
            write_log_start(
                self._fs,
                self._directory,
                topic=self.topic,
                partition=self.partition,
                offset=offset,
            )
        except OSError as error:
            raise storage_error(error, "write", self._directory) from error

    # --- the end ----------------------------------------------------------------------------

    def update_config(self, config: TopicConfig) -> None:
        """From the next append on."""
        self._writer.config = config

    def close(self) -> bool:
        """Sync, trim, write the producers' snapshot, end the waiters. Whether that all went well:
        a log that had failed is not clean, so that reopening recovers it."""
        error = StoreClosedError(f"{self._name}: the store was closed")
        with self._forgetting:
            self._writer.begin_close(error)
            is_clean = self._writer.finish()
            self._writer.stop(error)
        return is_clean

    def abandon(self) -> None:
        """The topic was deleted: no more reads and writes. The caller removes the directory."""
        error = UnknownTopicError(f"topic {self.topic!r} was deleted", topic=self.topic)
        with self._forgetting:  # no segment is replaced from here on
            self._writer.begin_close(error)
        self._writer.stop(error)


def _refuse_client(header: BatchHeader) -> NoReturn:
    if header.is_control:
        raise InvalidBatchError("a control batch is written by the log itself, not by clients")
    raise InvalidBatchError("LogAppendTime is set by the log, not by clients")
