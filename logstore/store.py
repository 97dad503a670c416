"""LocalLogStore: a directory opened for reading and writing; implements api.ServedLogStore.

The engine's root: it wires catalog, partition logs, flusher and groups together and maps the
verbs onto them. It starts no thread; see `attach_driver` for who does the waiting.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from logstore import api
from logstore.access import AccessTable
from logstore.api import (
    Acks,
    Appended,
    FetchPosition,
    GroupAssignment,
    GroupHeartbeat,
    OffsetAnswer,
    OffsetQuery,
    TopicInfo,
)
from logstore.catalog import OFFSETS_TOPIC, TRANSACTIONS_TOPIC
from logstore.clock import Clock, SystemClock
from logstore.config import StoreConfig
from logstore.errors import LogStoreError, StoreClosedError
from logstore.fetching import Fetching
from logstore.flush_wait import pending_flush
from logstore.fs import FileSystem, RealFileSystem
from logstore.group import Coordination, GroupCoordinator, check_group_id
from logstore.journal import Journal
from logstore.log import Cleaner, Flush, UnopenedLog
from logstore.pending import Pending
from logstore.reader import LeasedFetch, LocalReader, OneShot
from logstore.record import TRANSACTIONAL_BIT, as_view, parse_header
from logstore.store_files import create_or_read_meta, make_root, take_lock
from logstore.topic_table import OpenTopic, TopicTable
from logstore.txn import Coordination as TransactionCoordination
from logstore.txn import TransactionCoordinator
from logstore.version import __version__

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_ALONE: AbstractContextManager[None] = nullcontext()


def _ignore() -> None:
    """The driver's place before there is one."""


class LocalLogStore:
    """An open store. Thread-safe; make one with `open`, end it with `close`."""

    def __init__(
        self,
        path: str,
        *,
        config: StoreConfig,
        fs: FileSystem,
        clock: Clock,
        endpoint: str,
        executor: Executor | None,
        new_id: Callable[[], uuid.UUID],
    ) -> None:
        self._path = path
        self._config = config
        self._clock = clock
        self._endpoint = endpoint
        self._closed = False
        self._on_deadline: Callable[[], None] = _ignore
        make_root(fs, path)
        self._lock_file = take_lock(fs, path)
        try:
            self._meta = create_or_read_meta(fs, path, new_id())
            self._table = TopicTable(
                fs,
                path,
                limits=config,
                clock=clock,
                executor=executor,
                new_id=new_id,
                on_change=self._topics_changed,
            )
            self.access = AccessTable(self._table)
            self._flusher = self._table.flusher
            self._fetching = Fetching(self._table, waiters_max=config.waiters_max)
            self._transactions = self._open_transactions()
            self._groups = self._open_groups(new_id)
            self._transactions.attach_groups(self._groups)
            self._coordination = Coordination(
                self._groups, self._check_open, self._announce_deadline
            )
            self._transaction_coordination = TransactionCoordination(
                self._transactions,
                self._table,
                self._groups,
                self._offsets_part,
                self._check_open,
                self._announce_deadline,
            )
        except BaseException:
            self._lock_file.release()
            raise
        self._cleaner = Cleaner(self._table.all_logs, secret=new_id().bytes)
        self._maintenance_due = clock.monotonic()

    @classmethod
    def open(
        cls,
        path: str,
        *,
        config: StoreConfig | None = None,
        fs: FileSystem | None = None,
        clock: Clock | None = None,
        endpoint: str = "",
        executor: Executor | None = None,
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> LocalLogStore:
        """Open the store in directory `path`, made if missing, and recover it.

        `endpoint` ("host:port") is what metadata will say serves its partitions. `executor`, if
        given, syncs several files side by side in a flush round; the caller shuts it down.

        Raises StoreLockedError, StoreFormatError, CorruptDataError, OSError.
        """
        return cls(
            path,
            config=config or StoreConfig(),
            fs=fs or RealFileSystem(),
            clock=clock or SystemClock(),
            endpoint=endpoint,
            executor=executor,
            new_id=new_id,
        )

    def _open_transactions(self) -> TransactionCoordinator:
        """Before the groups: what was decided is completed, and they read only what counts."""
        transactions = TransactionCoordinator(
            self._config.transaction,
            self._clock,
            self._table,
            lambda: self._journal(TRANSACTIONS_TOPIC, 1),
        )
        if self._table.has(TRANSACTIONS_TOPIC):  # made with the first transactional id
            transactions.recover(is_exact=self._table.is_exact)
        return transactions

    def _open_groups(self, new_id: Callable[[], uuid.UUID]) -> GroupCoordinator:
        self._offsets_journal = self._journal(OFFSETS_TOPIC, self._config.offsets_topic_partitions)
        return GroupCoordinator(
            self._config.group,
            self._clock,
            self._offsets_journal,
            GroupTopics(self._table),
            new_id,
        )

    def _journal(self, topic: str, partitions: int) -> Journal:
        return Journal(
            self._table.create_internal(topic, partitions).logs,
            flusher=self._flusher,
            clock=self._clock,
            decompressed_bytes_max=self._config.decompressed_bytes_max,
        )

    # --- the store and its topics -----------------------------------------------------------

    def describe_store(self) -> api.StoreInfo:
        return api.StoreInfo(
            cluster_id=self._meta.cluster_id,
            node_id=self._meta.node_id,
            endpoints=(self._endpoint,),
            version=__version__,
            data_dir=self._path,
        )

    def create_topic(self, spec: api.TopicSpec, *, validate_only: bool = False) -> TopicInfo:
        self._check_open()
        return self._describe(self._table.create(spec, validate_only=validate_only))

    def adopt_topic(
        self, spec: api.TopicSpec, topic_id: uuid.UUID | None, fill: Callable[[int, str], int]
    ) -> tuple[list[int], list[str]]:
        """See TopicTable.adopt and the package `adopt`; where each partition ends, and notes."""
        self._check_open()
        opened, notes = self._table.adopt(spec, topic_id, fill)
        return [log.log_end_offset for log in opened.logs], notes

    def delete_topic(self, name: str) -> None:
        self._check_open()
        self._table.delete(name)

    def describe_topics(
        self, names: Sequence[str] | None = None, *, include_internal: bool = False
    ) -> list[TopicInfo]:
        self._check_open()
        if names is not None:
            return [self._describe(self._table.get(name)) for name in names]
        return [
            self._describe(opened)
            for opened in self._table.all()
            if include_internal or not opened.topic.internal
        ]

    def alter_topic(
        self,
        name: str,
        *,
        set_configs: Mapping[str, str],
        reset_configs: Sequence[str] = (),
        validate_only: bool = False,
    ) -> TopicInfo:
        self._check_open()
        altered = self._table.alter(
            name,
            set_configs=set_configs,
            reset_configs=reset_configs,
            validate_only=validate_only,
        )
        return self._describe(altered)

    def add_partitions(self, name: str, *, total: int, validate_only: bool = False) -> TopicInfo:
        self._check_open()
        added = self._table.add_partitions(name, total, validate_only=validate_only)
        return self._describe(added)

    def _describe(self, opened: OpenTopic) -> TopicInfo:
        return TopicInfo(
            name=opened.topic.name,
            topic_id=opened.topic.topic_id,
            internal=opened.topic.internal,
            configs=opened.config.as_mapping(),
            overrides=dict(opened.topic.overrides),
            partitions=tuple(
                api.PartitionInfo(
                    partition=log.partition,
                    endpoint=self._endpoint,
                    leader_epoch=log.leader_epoch,
                    log_start_offset=log.log_start_offset,
                    high_watermark=log.high_watermark,
                    log_end_offset=log.log_end_offset,
                    size_bytes=log.size_bytes,
                )
                for log in opened.logs
            ),
        )

    def _topics_changed(self) -> None:
        self._groups.topics_changed()
        self._announce_deadline()

    # --- records ----------------------------------------------------------------------------

    def init_producer(
        self,
        transactional_id: str | None = None,
        *,
        transaction_timeout_ms: int = api.TRANSACTION_TIMEOUT_MS,
    ) -> api.ProducerIdentity:
        self._check_open()
        if transactional_id is None:
            return api.ProducerIdentity(self._table.allocate_producer_id(), 0)
        return self.transactions.init_producer(
            transactional_id, transaction_timeout_ms=transaction_timeout_ms
        )

    def append(
        self,
        topic: str,
        partition: int,
        batch: ReadableBuffer,
        *,
        acks: Acks = Acks.ALL,
        transaction_version: api.TransactionVersion = api.TransactionVersion.TWO,
    ) -> Pending[Appended]:
        try:
            self._check_open()
            log = self._table.log_for_users(topic, partition)
            view = as_view(batch)
            header = parse_header(view)
            during: AbstractContextManager[None] = _ALONE
            if header.attributes & TRANSACTIONAL_BIT:
                producer = api.ProducerIdentity(header.producer_id, header.producer_epoch)
                part = api.TopicPartition(topic, partition)
                if transaction_version is api.TransactionVersion.ONE:
                    during = self._transactions.writing(producer, part)
                else:
                    self._transactions.enrol(producer, [part])
            flush = Flush.LED if acks is Acks.ALL else Flush.LATER
            with during:
                stored = log.append(view, header=header, flush=flush)
        except LogStoreError as error:
            return Pending.failed(error)
        answer = Appended(
            base_offset=stored.base_offset,
            last_offset=stored.last_offset,
            log_append_time_ms=stored.log_append_time_ms,
            log_start_offset=log.log_start_offset,
            duplicate=stored.duplicate,
        )
        if acks is not Acks.ALL:
            return Pending.completed(answer)
        return pending_flush(log, self._flusher, stored.last_offset, answer)

    def commit_offsets_in_transaction(
        self,
        transactional_id: str,
        producer: api.ProducerIdentity,
        group_id: str,
        offsets: Sequence[api.OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
    ) -> None:
        self._check_open()
        check_group_id(group_id)
        self._transactions.check_producer(transactional_id, producer)
        self._transactions.enrol(producer, [self._offsets_part(group_id)])
        self._groups.commit_offsets(
            group_id, offsets, member_id=member_id, member_epoch=member_epoch, producer=producer
        ).result()

    def _offsets_part(self, group_id: str) -> api.TopicPartition:
        """Where the offsets of the group are kept."""
        return api.TopicPartition(OFFSETS_TOPIC, self._offsets_journal.partition_of(group_id))

    def end_transaction(
        self, transactional_id: str, producer: api.ProducerIdentity, *, commit: bool
    ) -> api.ProducerIdentity:
        return self.transactions.end(
            transactional_id, producer, commit=commit, version=api.TransactionVersion.TWO
        )

    @property
    def transactions(self) -> TransactionCoordination:
        return self._transaction_coordination

    def open_reader(
        self, *, bytes_max: int, partition_bytes_max: int, read_committed: bool = False
    ) -> LocalReader:
        self._check_open()
        return LocalReader(
            self,
            bytes_max=bytes_max,
            partition_bytes_max=partition_bytes_max,
            read_committed=read_committed,
        )

    def fetch(
        self,
        positions: Sequence[FetchPosition],
        *,
        bytes_max: int,
        read_committed: bool = False,
        cold_ok: bool = False,
    ) -> LeasedFetch:
        self._check_open()
        return self._fetching.fetch(
            positions, bytes_max=bytes_max, read_committed=read_committed, cold_ok=cold_ok
        )

    def topic_name(self, topic_id: uuid.UUID) -> str:
        self._check_open()
        return self._table.name_of(topic_id)

    def compresses(self, topic: str) -> bool:
        return self._table.compresses(topic)

    def partition_bounds(self, topic: str, partition: int) -> api.PartitionBounds:
        self._check_open()
        return self._fetching.bounds(topic, partition)

    def epoch_end(self, topic: str, partition: int, leader_epoch: int) -> api.EpochEnd:
        self._check_open()
        return self._fetching.epoch_end(topic, partition, leader_epoch)

    def wait_for_data(
        self,
        positions: Sequence[FetchPosition],
        on_ready: Callable[[], None],
        *,
        read_committed: bool = False,
    ) -> OneShot:
        self._check_open()
        return self._fetching.wait_for_data(positions, on_ready, read_committed=read_committed)

    def list_offsets(self, queries: Sequence[OffsetQuery]) -> list[OffsetAnswer]:
        self._check_open()
        return self._fetching.list_offsets(queries)

    def delete_records(self, topic: str, partition: int, *, before_offset: int) -> int:
        self._check_open()
        log = self._table.log_for_users(topic, partition)
        return log.delete_records(log.high_watermark if before_offset == -1 else before_offset)

    # --- groups -----------------------------------------------------------------------------

    @property
    def coordination(self) -> Coordination:
        return self._coordination

    def heartbeat_now(self, heartbeat: GroupHeartbeat) -> GroupAssignment:
        self._check_open()
        answer = self._groups.heartbeat(heartbeat)
        self._announce_deadline()
        return answer

    def watch_member(
        self, group_id: str, member_id: str, known: GroupAssignment, on_change: Callable[[], None]
    ) -> api.Registration:
        self._check_open()
        return self._groups.watch_member(group_id, member_id, known, on_change)

    def group_heartbeat(self, heartbeat: GroupHeartbeat, *, wait: float = 0.0) -> GroupAssignment:
        answer = self.heartbeat_now(heartbeat)
        if wait <= 0 or api.is_news(heartbeat, answer):
            return answer
        changed = threading.Event()
        watching = self.watch_member(heartbeat.group_id, answer.member_id, answer, changed.set)
        try:
            changed.wait(wait)
        finally:
            watching.cancel()
        return self.heartbeat_now(replace(heartbeat, owned=None))

    def commit_offsets(
        self,
        group_id: str,
        offsets: Sequence[api.OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
    ) -> Pending[None]:
        try:
            self._check_open()
            return self._groups.commit_offsets(
                group_id, offsets, member_id=member_id, member_epoch=member_epoch
            )
        except LogStoreError as error:
            return Pending.failed(error)

    def committed_offsets(
        self, group_id: str, partitions: Sequence[api.TopicPartition] | None = None
    ) -> list[api.CommittedOffset]:
        self._check_open()
        return self._groups.committed_offsets(group_id, partitions)

    def list_groups(self) -> list[api.GroupSummary]:
        self._check_open()
        return self._groups.list_groups()

    def describe_group(self, group_id: str) -> api.GroupInfo:
        self._check_open()
        return replace(self._groups.describe_group(group_id), endpoint=self._endpoint)

    def delete_group(self, group_id: str) -> None:
        self._check_open()
        self._groups.delete_group(group_id)

    def delete_offsets(self, group_id: str, partitions: Sequence[api.TopicPartition]) -> None:
        self._check_open()
        self._groups.delete_offsets(group_id, partitions)

    def reset_offsets(self, reset: api.OffsetReset) -> list[api.CommittedOffset]:
        self._check_open()
        return self._groups.reset_offsets(reset, self.list_offsets)

    def find_group(self, group_id: str) -> str:
        self._check_open()
        return self._endpoint

    # --- the driver -------------------------------------------------------------------------

    def attach_driver(
        self, *, on_flush: Callable[[], None], on_deadline: Callable[[], None]
    ) -> None:
        self._on_deadline = on_deadline
        self._flusher.set_notify(on_flush)
        self._flusher.set_on_deadline(on_deadline)

    def next_deadline(self) -> float | None:
        deadlines = (
            self._groups.next_deadline(),
            self._flusher.next_look(),
            self._transactions.next_deadline(),
            self._clock.monotonic() if self._cleaner.is_busy else self._maintenance_due,
        )
        return min(deadline for deadline in deadlines if deadline is not None)

    def tick(self) -> None:
        self._groups.tick()
        due = self._flusher.next_deadline()
        if due is not None and due <= self._clock.monotonic():
            self._flusher.notify()

    def run_flush(self) -> None:
        self._flusher.run_round()

    def run_maintenance(self) -> None:
        now = self._clock.monotonic()
        if self._closed:
            return
        self._transactions.run_due()
        if now >= self._maintenance_due:
            self._maintenance_due = now + self._config.retention_check_interval_ms / 1000
            now_ms = self._clock.now_ms()
            for log in self._table.all_logs():
                log.apply_retention(now_ms)
                log.expire_producers(self._config.transaction.producer_retention_ms)
            self._transactions.expire()
            self._groups.expire_offsets()
            self._cleaner.begin()
        self._cleaner.step()

    def _announce_deadline(self) -> None:
        """Tell the driver, whose next tick may have been planned for later than is now needed."""
        self._on_deadline()

    # --- the end ----------------------------------------------------------------------------

    @property
    def recovery_notes(self) -> list[str]:
        """What opening had to mend, a sentence each; empty after a clean close."""
        notes = [note for log in self._table.all_logs() for note in log.recovery_notes]
        notes += [f"{name} belongs to no topic and was set aside" for name in self._table.set_aside]
        return notes + self._transactions.recovery_notes + self._groups.recovery_notes

    def close(self) -> None:
        """Sync everything and mark the store clean. Waiters get StoreClosedError. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self._cleaner.close()
            self._groups.close()
            self._table.close()
        finally:
            self._lock_file.release()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the store is closed")


class GroupTopics:
    """What the groups may know of topics (group.Topics)."""

    def __init__(self, table: TopicTable) -> None:
        self._table = table

    def partition_counts(self) -> Mapping[str, tuple[uuid.UUID, int]]:
        return {
            opened.topic.name: (opened.topic.topic_id, len(opened.logs))
            for opened in self._table.all()
            if not opened.topic.internal
        }

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(log start offset, high watermark). Raises what keeps the partition from being open."""
        log = self._table.log(topic, partition)
        if isinstance(log, UnopenedLog):
            log.check_offset(0)
        return log.log_start_offset, log.high_watermark
