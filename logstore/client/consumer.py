"""The consumer: reads partitions, alone or as a member of a group. One thread uses it at a time.

Positions are those of the user: the offset behind the last record that was handed out. The store
is read ahead of them into a buffer. In a group, partitions come and go inside `poll` only, so the
user's code never loses one in the middle of its work on it unless the group has declared the
consumer dead.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from logstore.api import (
    CommittedOffset,
    FetchedPartition,
    LogStore,
    OffsetSpec,
    OffsetToCommit,
    TopicPartition,
)
from logstore.client.delivery import tell
from logstore.client.group_session import GroupSession
from logstore.client.membership import Subscription
from logstore.client.positions import Positions
from logstore.client.read_ahead import ReadAhead
from logstore.client.starting import RETRY_SECONDS, StartingPoints
from logstore.clock import Clock, SystemClock
from logstore.errors import (
    ClientClosedError,
    InvalidRequestError,
    LogStoreError,
    OffsetOutOfRangeError,
    StaleMemberEpochError,
)
from logstore.pending import Pending
from logstore.record import Columns, Record

if TYPE_CHECKING:
    from types import TracebackType

OnPartitions = Callable[[list[TopicPartition]], None]
Offsets = Mapping[tuple[str, int], int] | Mapping[TopicPartition, int]
RESETS = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST, "error": None}
ITERATION_SECONDS = 0.5  # of one poll of an iteration, between which it sees that it was closed


class PartitionColumns(NamedTuple):
    """Records of one partition by columns, in offset order."""

    topic: str
    partition: int
    columns: Columns


class PartitionRecords(NamedTuple):
    """Records of one partition, in offset order."""

    topic: str
    partition: int
    records: list[Record]


class GroupOffsets(NamedTuple):
    """How far a member of a group has read: offset of the next record by partition."""

    group_id: str
    offsets: Mapping[TopicPartition, int]
    member_id: str = ""
    member_epoch: int = -1


class Consumer:
    """Reads from a store, embedded or remote. Close it, or use it in a with statement.

    With `group`, partitions are shared with the group's other members and positions start from
    committed offsets; without, all partitions of the topics are read. `auto_offset_reset` says
    where to start without a committed offset, or when the offset is gone: "latest", "earliest" or
    "error". With `enable_auto_commit` what earlier polls handed out is committed every
    `auto_commit_interval` seconds, before partitions are given up, and on close. With
    `read_committed` records of transactions are seen once they are committed, in the order of the
    log, and those of aborted ones never; False shows all as they are written.
    Times are in seconds.
    """

    def __init__(
        self,
        store: LogStore,
        *topics: str,
        group: str | None = None,
        auto_offset_reset: str = "latest",
        enable_auto_commit: bool = True,
        auto_commit_interval: float = 5.0,
        group_instance_id: str | None = None,
        client_id: str = "",
        assignor: str | None = None,
        session_timeout: float = 45.0,
        max_poll_interval: float = 300.0,
        max_poll_records: int = 500,
        read_committed: bool = True,
        fetch_bytes_max: int = 16 << 20,
        partition_bytes_max: int = 1 << 20,
        request_timeout: float = 30.0,
        clock: Clock | None = None,
    ) -> None:
        if auto_offset_reset not in RESETS:
            raise InvalidRequestError(
                f"auto_offset_reset={auto_offset_reset!r} is not valid: it takes 'earliest', "
                "'latest' or 'error'"
            )
        if max_poll_records < 1:
            raise InvalidRequestError(f"max_poll_records={max_poll_records} is not positive")
        self._store = store
        self._group = group
        self._reset = RESETS[auto_offset_reset]
        self._clock = clock or SystemClock()
        self._starts = StartingPoints(
            store, group, self._reset, retry_seconds=request_timeout, clock=self._clock
        )
        self._auto_commit_interval = auto_commit_interval if group and enable_auto_commit else None
        self._instance_id = group_instance_id
        self._client_id = client_id
        self._assignor = assignor
        self._session_timeout = session_timeout
        self._max_poll_interval = max_poll_interval
        self._wait_max = max_poll_interval / 3  # a long poll is no missing poll
        self._max_poll_records = max_poll_records
        self._request_timeout = request_timeout
        self._reader = store.open_reader(
            bytes_max=fetch_bytes_max,
            partition_bytes_max=partition_bytes_max,
            read_committed=read_committed,
        )
        self._positions = Positions()
        self._ahead = ReadAhead(self._positions)
        self._woken = False
        self._session: GroupSession | None = None
        self._on_assigned: OnPartitions | None = None
        self._on_revoked: OnPartitions | None = None
        self._on_lost: OnPartitions | None = None
        self._committed_at = self._poll_due_at = self._clock.monotonic()
        self._closed = False
        if topics:
            try:
                self.subscribe(topics)
            except BaseException:
                self.close()
                raise

    # --- what to read -----------------------------------------------------------------------

    def subscribe(
        self,
        topics: Iterable[str] | str = (),
        *,
        pattern: str | None = None,
        on_assigned: OnPartitions | None = None,
        on_revoked: OnPartitions | None = None,
        on_lost: OnPartitions | None = None,
    ) -> None:
        """Read topics by name, or in a group also by an RE2 `pattern` for their whole names.

        The callbacks run inside poll and close: `on_revoked` before partitions are given up,
        `on_lost` when they are another's already, `on_assigned` before the first record of new
        ones (again if it raises). Ends an earlier subscription.
        """
        self._check_open()
        names = (topics,) if isinstance(topics, str) else tuple(topics)
        self.unsubscribe()
        self._on_assigned, self._on_revoked, self._on_lost = on_assigned, on_revoked, on_lost
        if self._group is None:
            if pattern is not None:
                raise InvalidRequestError("a pattern needs a group")
            infos = self._store.describe_topics(names)
            self._take(
                TopicPartition(info.name, item.partition)
                for info in infos
                for item in info.partitions
            )
            return
        if not names and pattern is None:
            raise InvalidRequestError("subscribe takes topics or a pattern")
        subscription = Subscription(
            group_id=self._group,
            topics=names,
            pattern=pattern,
            instance_id=self._instance_id,
            client_id=self._client_id,
            assignor=self._assignor,
            session_timeout_ms=int(self._session_timeout * 1000),
            rebalance_timeout_ms=int(self._max_poll_interval * 1000),
        )
        self._session = GroupSession(
            self._store,
            subscription,
            member_id=str(uuid.uuid4()),
            clock=self._clock,
            session_timeout=self._session_timeout,
            max_poll_interval=self._max_poll_interval,
            wake=self._reader.wake,
        )

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Read these partitions, chosen by the caller; takes part in no group's sharing.

        With a group, positions start from its committed offsets and may be committed while the
        group has no members.
        """
        self._check_open()
        self.unsubscribe()
        self._take(TopicPartition(*part) for part in partitions)

    def unsubscribe(self) -> None:
        """Read nothing any more; leaves the group after an automatic commit."""
        session = self._session
        try:
            owned = set(self._positions)
            if owned:
                self._give_up(owned, session)
        finally:
            self._session = None
            if session is not None:
                session.leave()

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    # --- records ----------------------------------------------------------------------------

    def poll(self, timeout: float = 1.0, *, max_records: int | None = None) -> list[Record]:
        """Up to `max_records` records, waiting up to `timeout` seconds for the first.

        In offset order within a partition. Raises UnknownTopicError and other errors of a
        partition, OffsetOutOfRangeError with auto_offset_reset="error", ClientClosedError.
        """
        limit = max_records or self._max_poll_records
        self._wait_for_records(timeout, limit)
        return self._ahead.take(limit)

    def poll_batch(self, timeout: float = 1.0) -> list[PartitionRecords]:
        """All that has arrived, a list for each partition, waiting for the first of it."""
        self._wait_for_records(timeout, 1 << 62)
        found = self._ahead.take_by_partition()
        return [PartitionRecords(*part, records) for part, records in found.items()]

    def _wait_for_records(self, timeout: float, limit: int) -> None:
        self._prepare()
        deadline = self._clock.monotonic() + timeout
        while not self._ahead.decode(limit):
            if not self._fetch(deadline):
                return

    def poll_columns(self, timeout: float = 1.0) -> list[PartitionColumns]:
        """All that has arrived, by columns: no Python object a record."""
        self._prepare()
        for part in self._ahead.drop_decoded():
            self._restart(part)
        if not self._ahead.has_batches:
            self._fetch(self._clock.monotonic() + timeout)
        return [PartitionColumns(*part, columns) for part, columns in self._ahead.take_columns()]

    def __iter__(self) -> Iterator[Record]:
        """Records for ever; ends when the consumer is closed."""
        return self.records()

    def records(self, *, idle_timeout: float | None = None) -> Iterator[Record]:
        """Records one by one, until none came for `idle_timeout` seconds (None: for ever)."""
        idle_since = self._clock.monotonic()
        wait = ITERATION_SECONDS if idle_timeout is None else min(ITERATION_SECONDS, idle_timeout)
        while not self._closed:
            records = self.poll(wait, max_records=1)
            if records:
                record: Record | None = records[0]
                while record is not None:
                    yield record
                    record = self.take_ready()
                idle_since = self._clock.monotonic()
            elif idle_timeout is not None and self._clock.monotonic() - idle_since >= idle_timeout:
                return

    def take_ready(self) -> Record | None:
        """The next record, if it is read and decoded already and nothing else has to be done
        before it. Never blocks; None says that a poll is due."""
        session = self._session
        if session is not None and session.has_changes:
            return None
        if self._group is not None and self._clock.monotonic() >= self._poll_due_at:
            return None
        return None if self._closed else self._ahead.take_one()

    def _prepare(self) -> None:
        """What every poll does first: group changes, automatic commits."""
        self._check_open()
        if self._session is not None:
            self._session.polled()
            self._follow_group(self._session)
        now = self._clock.monotonic()
        self._poll_due_at = now + self._wait_max
        if self._auto_commit_interval is not None:
            if now - self._committed_at >= self._auto_commit_interval:
                self._committed_at = now
                self.commit_async()
            commit_due_at = self._committed_at + self._auto_commit_interval
            self._poll_due_at = min(self._poll_due_at, commit_due_at)

    def _fetch(self, deadline: float) -> bool:
        """Wait for batches until `deadline` or a wake; whether there are any."""
        while True:
            left = deadline - self._clock.monotonic()
            if self._session is not None:
                self._session.polled()
            self._take_fetched(self._reader.poll(max(0.0, min(left, self._wait_max))))
            if self._session is not None:
                self._follow_group(self._session)
            if self._ahead.has_batches:
                return True
            if left <= 0 or self._closed or self._woken:
                self._woken = False
                return False

    def _take_fetched(self, items: Sequence[FetchedPartition]) -> None:
        """Takes all of them, since the reader does not give them again, then raises what the user
        has to be told; the next poll raises it again if it has not passed. What came before an
        error is handed out before: the partition is read on behind it, and that tells it again."""
        retriable = lasting = None
        for item in items:
            error = self._take_item(item)
            if error is None:
                continue
            part = TopicPartition(item.topic, item.partition)
            end = self._ahead.end(part) if error is item.error else None
            if end is not None:
                self._reader.set_position(*part, max(end, self._positions.require(part)))
                continue
            self._ahead.drop({part})
            self._restart(part)
            if error.retriable:
                retriable = error
            else:
                lasting = error
        if lasting is not None:
            raise lasting
        if retriable is not None:
            time.sleep(RETRY_SECONDS)

    def _take_item(self, item: FetchedPartition) -> LogStoreError | None:
        """Returns why the partition has to be read again from the position."""
        part = TopicPartition(item.topic, item.partition)
        if part not in self._positions or self._positions.is_paused(part):
            return None
        try:
            if item.error is None:
                self._ahead.add(part, item.data)
            elif isinstance(item.error, OffsetOutOfRangeError) and self._reset is not None:
                self._start_at(self._starts.look_up([part], self._reset))
            else:
                return item.error
        except LogStoreError as error:
            return error
        return None

    # --- positions --------------------------------------------------------------------------

    def position(self, topic: str, partition: int) -> int:
        """The offset of the next record to be handed out."""
        return self._positions.require(TopicPartition(topic, partition))

    def seek(self, topic: str, partition: int, offset: int) -> None:
        if offset < 0:
            raise InvalidRequestError(f"offset {offset} is negative")
        self._start_at({TopicPartition(topic, partition): offset})

    def seek_to_beginning(self, partitions: Iterable[tuple[str, int]] = ()) -> None:
        self._start_at(self._starts.look_up(self._named(partitions), OffsetSpec.EARLIEST))

    def seek_to_end(self, partitions: Iterable[tuple[str, int]] = ()) -> None:
        self._start_at(self._starts.look_up(self._named(partitions), OffsetSpec.LATEST))

    def seek_to_timestamp(
        self, timestamp_ms: int, partitions: Iterable[tuple[str, int]] = ()
    ) -> None:
        """To the first record at or after the time, or the end where there is none."""
        self._start_at(self._starts.look_up(self._named(partitions), timestamp_ms))

    def pause(self, *partitions: tuple[str, int]) -> None:
        for part in self._named(partitions):
            self._positions.pause(part)
            self._reader.remove(*part)
            self._ahead.drop({part})

    def resume(self, *partitions: tuple[str, int]) -> None:
        for part in self._named(partitions):
            if self._positions.is_paused(part):
                self._positions.resume(part)
                self._restart(part)

    def paused(self) -> set[TopicPartition]:
        return self._positions.paused()

    def _named(self, partitions: Iterable[tuple[str, int]]) -> list[TopicPartition]:
        """The given partitions, which are assigned; all that are if none is given."""
        named = [TopicPartition(*part) for part in partitions]
        for part in named:
            self._positions.require(part)
        return named or sorted(self._positions)

    def _start_at(self, offsets: Mapping[TopicPartition, int]) -> None:
        for part, offset in offsets.items():
            self._positions.start(part, offset)
            self._restart(part)
        self._ahead.drop(set(offsets))

    def _restart(self, part: TopicPartition) -> None:
        if not self._positions.is_paused(part):
            self._reader.set_position(*part, self._positions.require(part))

    # --- offsets ----------------------------------------------------------------------------

    def commit(self, offsets: Offsets | None = None) -> None:
        """Commit the positions, or the given offsets, and wait until they are durable.

        Raises FencedMemberError and UnknownMemberError if the group has moved on, and after
        `request_timeout` what kept it from being done.
        """
        deadline = self._clock.monotonic() + self._request_timeout
        chosen = self._positions.uncommitted() if offsets is None else offsets
        while True:
            try:
                self._commit(chosen).result(max(0.0, deadline - self._clock.monotonic()))
                return
            except StaleMemberEpochError:
                if self._session is None or self._clock.monotonic() >= deadline:
                    raise
                self._session.refresh_epoch()
            except LogStoreError as error:
                if not error.retriable or self._clock.monotonic() >= deadline:
                    raise
                time.sleep(RETRY_SECONDS)

    def commit_async(
        self,
        offsets: Offsets | None = None,
        on_done: Callable[[LogStoreError | None], None] | None = None,
    ) -> None:
        """The same without waiting; `on_done` is called from another thread, with the error. What
        it raises is logged."""
        pending = self._commit(self._positions.uncommitted() if offsets is None else offsets)
        if on_done is not None:
            pending.add_done_callback(lambda done: tell(on_done, done.error))

    def group_offsets(self) -> GroupOffsets:
        """The positions, and who says so: for Producer.send_offsets, which commits them in a
        transaction. A consumer read for that is used with enable_auto_commit=False."""
        if self._group is None:
            raise InvalidRequestError("committed offsets need a group; this consumer has none")
        session = self._session
        return GroupOffsets(
            self._group,
            {part: self._positions.require(part) for part in self._positions},
            "" if session is None else session.member_id,
            -1 if session is None else session.member_epoch,
        )

    def _commit(self, offsets: Offsets) -> Pending[None]:
        if self._group is None:
            raise InvalidRequestError("a commit needs a group; this consumer has none")
        if not offsets:
            return Pending.completed(None)
        positions = {TopicPartition(*part): offset for part, offset in offsets.items()}
        session = self._session
        pending = self._store.commit_offsets(
            self._group,
            [OffsetToCommit(*part, offset) for part, offset in positions.items()],
            member_id="" if session is None else session.member_id,
            member_epoch=-1 if session is None else session.member_epoch,
        )
        return pending.then(lambda _: self._positions.committed(positions))

    def committed(self, *partitions: tuple[str, int]) -> list[CommittedOffset]:
        """The group's committed offsets of these partitions; offset -1 where there is none."""
        if self._group is None:
            raise InvalidRequestError("committed offsets need a group; this consumer has none")
        return self._store.committed_offsets(self._group, [TopicPartition(*p) for p in partitions])

    # --- partitions come and go -------------------------------------------------------------

    def _follow_group(self, session: GroupSession) -> None:
        if not session.has_changes:
            return
        lost = session.take_lost()
        if lost:
            self._forget(lost)
            _tell(self._on_lost or self._on_revoked, lost)
        revoked = session.to_revoke()
        if revoked:
            self._give_up(revoked, session)
        new = session.take_new()
        if new:
            try:
                self._take(new)
            except BaseException:
                self._forget(new)
                session.put_back(new)
                raise

    def _take(self, parts: Iterable[TopicPartition]) -> None:
        wanted = sorted(set(parts))
        self._start_at(self._starts.of(wanted))
        _tell(self._on_assigned, wanted)

    def _give_up(self, parts: set[TopicPartition], session: GroupSession | None) -> None:
        try:
            _tell(self._on_revoked, parts)
            if self._auto_commit_interval is not None:
                self._commit_before_giving_up()
        finally:
            self._forget(parts)
            if session is not None:
                session.gave_up(parts)

    def _commit_before_giving_up(self) -> None:
        try:
            self.commit()
        except LogStoreError:  # whoever takes over reads these records again: at least once
            return

    def _forget(self, parts: set[TopicPartition]) -> None:
        for part in parts:
            self._positions.remove(part)
            self._reader.remove(*part)
        self._ahead.drop(parts)

    # --- the end ----------------------------------------------------------------------------

    def wake(self) -> None:
        """Make a waiting poll return now. Safe from any thread."""
        self._woken = True
        self._reader.wake()

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Commit if that is automatic, leave the group, stop. Idempotent."""
        if self._closed:
            return
        try:
            self.unsubscribe()
        finally:
            self._closed = True
            self._reader.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("the consumer is closed")

    def __enter__(self) -> Consumer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _tell(callback: OnPartitions | None, parts: Iterable[TopicPartition]) -> None:
    if callback is not None:
        callback(sorted(parts))
