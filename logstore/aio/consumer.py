"""logstore.client.Consumer for asyncio: the same consumer, used by one thread beside the loop.

Invariants
- Only the worker's thread uses the consumer, but for `take_ready`, which does not block and is
  called in the loop while the worker is idle, and for calls from inside a rebalance callback,
  while the worker waits for that callback.
- Records of a poll whose caller was cancelled were handed out to nobody: before anything else is
  done with the consumer it goes back to them.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from logstore.aio.worker import Worker
from logstore.api import CommittedOffset, LogStore, TopicPartition
from logstore.client.consumer import (
    Consumer,
    GroupOffsets,
    PartitionColumns,
    PartitionRecords,
)
from logstore.errors import ClientClosedError
from logstore.record import Record

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")
OnPartitions = Callable[[list[TopicPartition]], Awaitable[None] | None]
POLL_SECONDS = 0.5  # of an iteration; a cancelled one does not wait for it
_inside: contextvars.ContextVar[AsyncConsumer | None] = contextvars.ContextVar(
    "_inside", default=None
)


class _Handover:
    """A call that hands out records, and where they began."""

    __slots__ = ("has_ended", "starts")

    def __init__(self) -> None:
        self.starts: dict[TopicPartition, int] = {}
        self.has_ended = False


class AsyncConsumer:
    """Reads from a store. Close it, or use it in an `async with` statement; `async for` iterates.

    `topics` and `options` are those of Consumer; the consumer is made by the first call that is
    awaited, so errors of theirs come there. One task uses it at a time.
    """

    def __init__(self, store: LogStore, *topics: str, **options: Any) -> None:
        self._store = store
        self._topics = topics
        self._options = options
        self._consumer: Consumer | None = None
        self._worker = Worker("consumer")
        self._abandoned: deque[_Handover] = deque()  # the loop appends, the worker takes away

    # --- what to read -----------------------------------------------------------------------

    async def subscribe(
        self,
        topics: Iterable[str] = (),
        *,
        pattern: str | None = None,
        on_assigned: OnPartitions | None = None,
        on_revoked: OnPartitions | None = None,
        on_lost: OnPartitions | None = None,
    ) -> None:
        """See Consumer.subscribe. The callbacks, functions or coroutine functions, run in the
        event loop, and may use this consumer; the poll that causes them waits for their end."""
        loop = asyncio.get_running_loop()
        bridged = {
            "on_assigned": self._bridge(loop, on_assigned),
            "on_revoked": self._bridge(loop, on_revoked),
            "on_lost": self._bridge(loop, on_lost),
        }
        names = tuple(topics)
        await self._run(lambda consumer: consumer.subscribe(names, pattern=pattern, **bridged))

    async def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        parts = list(partitions)
        await self._run(lambda consumer: consumer.assign(parts))

    async def unsubscribe(self) -> None:
        await self._run(lambda consumer: consumer.unsubscribe())

    async def assignment(self) -> set[TopicPartition]:
        return await self._run(lambda consumer: consumer.assignment())

    # --- records ----------------------------------------------------------------------------

    async def poll(self, timeout: float = 1.0, *, max_records: int | None = None) -> list[Record]:
        """Up to `max_records` records, waiting up to `timeout` seconds; see Consumer.poll.

        Cancelling it loses no record: the next poll returns them.
        """
        return await self._hand_over(
            lambda consumer: consumer.poll(timeout, max_records=max_records), _record_starts
        )

    async def poll_batch(self, timeout: float = 1.0) -> list[PartitionRecords]:
        return await self._hand_over(
            lambda consumer: consumer.poll_batch(timeout),
            lambda found: _record_starts([item.records[0] for item in found]),
        )

    async def poll_columns(self, timeout: float = 1.0) -> list[PartitionColumns]:
        return await self._hand_over(
            lambda consumer: consumer.poll_columns(timeout),
            lambda found: {
                TopicPartition(item.topic, item.partition): item.columns.offsets[0]
                for item in found
            },
        )

    def __aiter__(self) -> AsyncIterator[Record]:
        """Records for ever; ends when the consumer is closed."""
        return self.records()

    async def records(self, *, idle_timeout: float | None = None) -> AsyncIterator[Record]:
        """Records one by one, until none came for `idle_timeout` seconds (None: for ever)."""
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        wait = POLL_SECONDS if idle_timeout is None else min(POLL_SECONDS, idle_timeout)
        while not self.closed:
            record = self._take_ready()
            if record is None:
                try:
                    records = await self.poll(wait, max_records=1)
                except ClientClosedError:
                    return
                record = records[0] if records else None
            if record is not None:
                yield record
                idle_since = loop.time()
            elif idle_timeout is not None and loop.time() - idle_since >= idle_timeout:
                return

    def _take_ready(self) -> Record | None:
        if self._consumer is None or self._abandoned or not self._worker.is_idle:
            return None
        return self._consumer.take_ready()

    # --- positions and offsets --------------------------------------------------------------

    async def position(self, topic: str, partition: int) -> int:
        return await self._run(lambda consumer: consumer.position(topic, partition))

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        await self._run(lambda consumer: consumer.seek(topic, partition, offset))

    async def seek_to_beginning(self, partitions: Iterable[tuple[str, int]] = ()) -> None:
        parts = list(partitions)
        await self._run(lambda consumer: consumer.seek_to_beginning(parts))

    async def seek_to_end(self, partitions: Iterable[tuple[str, int]] = ()) -> None:
        parts = list(partitions)
        await self._run(lambda consumer: consumer.seek_to_end(parts))

    async def seek_to_timestamp(
        self, timestamp_ms: int, partitions: Iterable[tuple[str, int]] = ()
    ) -> None:
        parts = list(partitions)
        await self._run(lambda consumer: consumer.seek_to_timestamp(timestamp_ms, parts))

    async def pause(self, *partitions: tuple[str, int]) -> None:
        await self._run(lambda consumer: consumer.pause(*partitions))

    async def resume(self, *partitions: tuple[str, int]) -> None:
        await self._run(lambda consumer: consumer.resume(*partitions))

    async def paused(self) -> set[TopicPartition]:
        return await self._run(lambda consumer: consumer.paused())

    async def commit(self, offsets: Mapping[tuple[str, int], int] | None = None) -> None:
        """Commit the positions, or the given offsets; durable when it returns."""
        await self._run(lambda consumer: consumer.commit(offsets))

    async def group_offsets(self) -> GroupOffsets:
        return await self._run(lambda consumer: consumer.group_offsets())

    async def committed(self, *partitions: tuple[str, int]) -> list[CommittedOffset]:
        return await self._run(lambda consumer: consumer.committed(*partitions))

    # --- the end ----------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._worker.closed

    async def close(self) -> None:
        """Commit if that is automatic, leave the group, stop. A waiting poll ends. Idempotent."""
        if self._worker.closed:
            return
        closing = self._worker.submit(self._close_consumer)
        self._worker.close()
        if self._consumer is not None:
            self._consumer.wake()
        await asyncio.shield(closing)

    async def __aenter__(self) -> AsyncConsumer:
        await self._run(lambda _: None)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _close_consumer(self) -> None:
        if self._consumer is not None:
            self._go_back(self._consumer)
            self._consumer.close()

    # --- between the threads ----------------------------------------------------------------

    def _made(self) -> Consumer:
        """In the worker's thread: the consumer, where it should be."""
        if self._consumer is None:
            self._consumer = Consumer(self._store, *self._topics, **self._options)
        self._go_back(self._consumer)
        return self._consumer

    def _go_back(self, consumer: Consumer) -> None:
        """To where the first abandoned call began, in each partition. The last one in the queue
        may be of a call that is about to run."""
        starts: dict[TopicPartition, int] = {}
        while self._abandoned and self._abandoned[0].has_ended:
            starts = self._abandoned.popleft().starts | starts
        for part, offset in starts.items():
            if part in consumer.assignment():
                consumer.seek(*part, offset)

    async def _run(self, call: Callable[[Consumer], T]) -> T:
        consumer = self._consumer
        if _inside.get() is self and consumer is not None:
            return await asyncio.to_thread(call, consumer)
        return await self._worker.run(lambda: call(self._made()))

    async def _hand_over(
        self, call: Callable[[Consumer], T], starts: Callable[[T], dict[TopicPartition, int]]
    ) -> T:
        handover = _Handover()

        def run() -> T:
            try:
                found = call(self._made())
                handover.starts = starts(found)
                return found
            finally:
                handover.has_ended = True

        try:
            return await self._worker.run(run)
        except asyncio.CancelledError:
            self._abandoned.append(handover)
            if self._consumer is not None:
                self._consumer.wake()
            raise

    def _bridge(
        self, loop: asyncio.AbstractEventLoop, callback: OnPartitions | None
    ) -> Callable[[list[TopicPartition]], None] | None:
        if callback is None:
            return None

        async def call(parts: list[TopicPartition]) -> None:
            _inside.set(self)
            answer = callback(parts)
            if inspect.isawaitable(answer):
                await answer

        return lambda parts: asyncio.run_coroutine_threadsafe(call(parts), loop).result()


def _record_starts(records: Sequence[Record]) -> dict[TopicPartition, int]:
    starts: dict[TopicPartition, int] = {}
    for record in records:
        starts.setdefault(TopicPartition(record.topic, record.partition), record.offset)
    return starts
