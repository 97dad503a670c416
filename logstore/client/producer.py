"""The producer: records in, batches out, from one background thread.

`send` puts a record into the batch of its partition and returns; the thread sends batches that
are full or have lingered long enough, many at once, and sends again what failed for a reason that
may pass (producer_core.py decides). Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from logstore.api import Acks, Appended, LogStore
from logstore.client.delivery import Deliveries, Delivery
from logstore.client.partitioners import find_hash
from logstore.client.producer_core import Batch, PartitionQueue, ProducerSettings
from logstore.client.producer_topic import ProducerTopic, Share
from logstore.client.transaction import TransactionSession
from logstore.clock import Clock, SystemClock
from logstore.errors import (
    BufferFullError,
    ClientClosedError,
    InvalidRequestError,
    InvalidTransactionStateError,
    LogStoreError,
    RequestTimeoutError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.pending import Pending
from logstore.record import codec_code, with_producer

if TYPE_CHECKING:
    from types import TracebackType

Headers = Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]]
OnDelivery = Callable[[Delivery], None]

ACKS = {
    "all": Acks.ALL,
    -1: Acks.ALL,
    1: Acks.LEADER,
    0: Acks.NONE,
    "1": Acks.LEADER,
    "0": Acks.NONE,
}
EXTEND_RECORDS = 8192  # handed to a builder at a time
TOPIC_AGE_MAX = 30.0  # seconds after which partitions added meanwhile are looked for
_GONE = object()
_Columns = tuple[
    tuple[bytes | None, ...], tuple[bytes | None, ...] | None, tuple[int, ...] | None, int, None
]


class Producer:
    """Sends records to a store, embedded or remote. Close it, or use it in a with statement.

    acks: "all" (durable as the topic says), 1 (written) or 0 (sent).
    linger_ms: how long a batch waits for more records; batch_bytes: when it is full.
    buffer_bytes_max: what may be on its way; `send` then blocks up to block_seconds and raises
    BufferFullError. delivery_timeout: seconds until a record that cannot be stored is given up.
    idempotent: a batch sent again is stored once, and order holds with many in flight.
    """

    _session: TransactionSession | None = None  # of a TransactionalProducer

    def __init__(
        self,
        store: LogStore,
        *,
        acks: str | int = "all",
        compression: str = "none",
        batch_bytes: int = 256 << 10,
        linger_ms: float = 2.0,
        buffer_bytes_max: int = 64 << 20,
        block_seconds: float = 60.0,
        delivery_timeout: float = 120.0,
        idempotent: bool = True,
        on_delivery: OnDelivery | None = None,
        clock: Clock | None = None,
    ) -> None:
        if acks not in ACKS:
            raise InvalidRequestError(f"acks={acks!r} is not valid: it takes 'all', 1 or 0")
        if not 1024 <= batch_bytes <= buffer_bytes_max:
            raise InvalidRequestError(
                f"batch_bytes={batch_bytes} is not valid: it takes 1024 to buffer_bytes_max "
                f"({buffer_bytes_max})"
            )
        codec_code(compression)
        self._store = store
        self._settings = ProducerSettings(
            acks=ACKS[acks],
            compression=compression,
            batch_bytes=batch_bytes,
            linger=linger_ms / 1000,
            delivery_timeout=delivery_timeout,
            idempotent=idempotent and ACKS[acks] is Acks.ALL,
            is_transactional=self._session is not None,
        )
        self._buffer_bytes_max = buffer_bytes_max
        self._block_seconds = block_seconds
        self._on_delivery = on_delivery
        self._clock = clock or SystemClock()
        self._now_ms = self._clock.now_ms
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # work for the thread
        self._drained = threading.Condition(self._lock)  # something is done
        self._topics: dict[str, ProducerTopic] = {}
        self._active: dict[int, PartitionQueue] = {}  # by id: those that are not idle
        self._buffered_bytes = 0
        self._unfinished: dict[Batch, object] = {}
        self._closing = False
        self._refresh_at = self._clock.monotonic() + TOPIC_AGE_MAX
        self._thread = threading.Thread(target=self._run, name="logstore-producer", daemon=True)
        self._thread.start()

    # --- sending ----------------------------------------------------------------------------

    def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        *,
        headers: Headers | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> Delivery:
        """Add one record; it is on its way when this returns.

        The partition is the given one, else the key's by the topic's partitioner, else one that
        changes from batch to batch. Raises UnknownTopicError, UnknownPartitionError,
        BatchTooLargeError, BufferFullError, ClientClosedError; the rest comes by the Delivery.
        """
        state = self._topics.get(topic) or self._load_topic(topic)
        if timestamp_ms is None:
            timestamp_ms = self._now_ms()
        pairs = () if headers is None else _pairs(headers)
        with self._lock:
            if self._session is not None:
                self._session.check_open()
            if partition is not None:
                queue = state.queue(partition)
            elif key is not None:
                queue = state.queues[state.hash(key) % len(state.queues)]
            elif state.sticky.filling is None:
                queue = state.next_sticky()
            else:
                queue = state.sticky
            batch = queue.filling
            if batch is None or not batch.builder.try_append(  # type: ignore[union-attr]
                key, value, timestamp_ms, pairs
            ):
                if batch is not None and key is None and partition is None:
                    queue.seal()
                    queue = state.next_sticky()
                batch = self._append_to_new(queue, state, key, value, timestamp_ms, pairs)
            index = batch.record_count
            batch.record_count = index + 1
        delivery = Delivery(batch, index, timestamp_ms)
        if self._on_delivery is not None:
            delivery.add_callback(self._on_delivery)
        return delivery

    def send_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        *,
        timestamps_ms: Sequence[int] | None = None,
        partition: int | None = None,
    ) -> Deliveries:
        """Add many records by columns, far faster than one by one. Raises as `send` does; the
        records before the one that could not be sent are then on their way."""
        state = self._topics.get(topic) or self._load_topic(topic)
        now_ms = self._now_ms()
        for column in (keys, timestamps_ms):
            if column is not None and len(column) != len(values):
                raise InvalidRequestError("values, keys and timestamps_ms differ in length")
        runs: list[tuple[Batch, int, int]] = []
        if keys is None or partition is not None:
            queue = None if partition is None else state.queue(partition)
            self._extend(state, Share(queue, values, keys, timestamps_ms), now_ms, runs)
            return Deliveries(runs)
        for share in state.split(values, keys, timestamps_ms):
            self._extend(state, share, now_ms, runs)
        return Deliveries(runs)

    def _extend(
        self, state: ProducerTopic, share: Share, now_ms: int, runs: list[tuple[Batch, int, int]]
    ) -> None:
        """Fill batch after batch of the partition; of changing ones if there is none."""
        queue, values, keys, timestamps = share
        done = 0
        while done < len(values):
            end = done + EXTEND_RECORDS
            columns = (
                tuple(values[done:end]),
                None if keys is None else tuple(keys[done:end]),
                None if timestamps is None else tuple(timestamps[done:end]),
                now_ms,
                None,
            )
            with self._lock:
                if self._session is not None:
                    self._session.check_open()
                target = queue or state.sticky
                if queue is None and target.filling is None:
                    target = state.next_sticky()
                batch = target.filling
                added = 0 if batch is None else self._fill(batch, columns)
                while batch is None or added == 0:
                    if queue is None and batch is not None:
                        target.seal()
                        target = state.next_sticky()
                    batch = self._open(target, self._size(state, None, values[done]))
                    added = self._fill(batch, columns)
                runs.append((batch, batch.record_count - added, added))
            done += added

    def _fill(self, batch: Batch, columns: _Columns) -> int:
        """Under the lock: how many records the batch took."""
        assert batch.builder is not None
        try:
            return batch.builder.extend(*columns)
        finally:
            batch.record_count = batch.builder.record_count
            self._forget_if_empty(batch)

    def _forget_if_empty(self, batch: Batch) -> None:
        """Under the lock: a batch whose first record was refused must not be sent."""
        if batch.record_count == 0:
            batch.queue.filling = None
            del self._unfinished[batch]
            self._buffered_bytes -= batch.charge
            self._drained.notify_all()

    def may_block(self, topic: str, size_bytes: int) -> bool:
        """Whether sending so many bytes might have to wait: the topic is new to the producer, or
        its buffer may be full. Holds until another thread sends."""
        charge = max(self._settings.batch_bytes, size_bytes)
        return topic not in self._topics or self._buffered_bytes + charge > self._buffer_bytes_max

    def flush(self, timeout: float | None = None) -> None:
        """Return when all that was sent before is stored or given up; does not linger.

        Raises RequestTimeoutError after `timeout` seconds.
        """
        with self._lock:
            for queue in self._active.values():
                queue.seal()
            self._changed.notify()
            waiting = list(self._unfinished)
            if not self._drained.wait_for(
                lambda: all(batch.pending.done for batch in waiting), timeout
            ):
                raise RequestTimeoutError(f"not everything was stored within {timeout} s")

    # --- the end ----------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self._closing

    def close(self, timeout: float | None = None) -> None:
        """Send what is left, wait for it, stop the thread. Idempotent.

        Raises RequestTimeoutError after `timeout` seconds; what is left is then given up.
        """
        with self._lock:
            self._closing = True
            self._changed.notify()
            self._drained.notify_all()  # whoever waits for room
        try:
            self.flush(timeout)
        finally:
            with self._lock:
                left = list(self._unfinished)
                self._unfinished.clear()
                self._active.clear()
                self._changed.notify()
            for batch in left:
                if not batch.pending.done:
                    batch.pending.set_error(ClientClosedError("the producer was closed"))
            if threading.current_thread() is not self._thread:
                self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- topics and batches -----------------------------------------------------------------

    def _load_topic(self, topic: str) -> ProducerTopic:
        if self._closing:
            raise ClientClosedError("the producer is closed")
        (info,) = self._store.describe_topics([topic])
        message_bytes_max = int(info.configs["max_message_bytes"])
        batch_bytes = min(self._settings.batch_bytes, message_bytes_max)
        with self._lock:
            known = self._topics.get(topic)
            queues = [] if known is None else known.queues
            queues = queues + [
                PartitionQueue(topic, item.partition, self._settings, batch_bytes, self._expedite)
                for item in info.partitions[len(queues) :]
            ]
            state = ProducerTopic(
                topic, queues, find_hash(info.partitioner), message_bytes_max=message_bytes_max
            )
            self._topics[topic] = state
        return state

    def _append_to_new(
        self,
        queue: PartitionQueue,
        state: ProducerTopic,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: tuple[tuple[str, bytes | None], ...],
    ) -> Batch:
        """Under the lock, which it may give up while it waits for room in the buffer."""
        size = self._size(state, key, value) + sum(
            len(name) + len(data or b"") for name, data in headers
        )
        while True:
            batch = queue.filling
            if batch is not None and batch.builder is not None:
                try:
                    if batch.builder.try_append(key, value, timestamp_ms, headers):
                        return batch
                except BaseException:
                    self._forget_if_empty(batch)
                    raise
            self._open(queue, size)

    def _size(self, state: ProducerTopic, key: bytes | None, value: bytes | None) -> int:
        return state.size(key, value, compressed=self._settings.compression != "none")

    def _open(self, queue: PartitionQueue, size: int) -> Batch:
        """Seal what is filling and begin a batch, once there is room for it."""
        charge = max(queue.batch_bytes, size)
        if queue.filling is not None:
            queue.seal()
            self._changed.notify()
        room = min(self._buffer_bytes_max, self._buffer_bytes_max - charge)
        if not self._closing and self._buffered_bytes > max(room, 0):
            self._changed.notify()
            self._drained.wait_for(
                lambda: self._closing or self._buffered_bytes <= max(room, 0),
                self._block_seconds,
            )
            if self._buffered_bytes > max(room, 0) and not self._closing:
                raise BufferFullError(
                    f"{self._buffered_bytes} bytes wait to be stored, the limit is "
                    f"{self._buffer_bytes_max} (buffer_bytes_max); nothing was taken for "
                    f"{self._block_seconds} s"
                )
        if self._closing:
            raise ClientClosedError("the producer is closed")
        if queue.filling is not None:  # another thread was first while this one waited
            return queue.filling
        batch = queue.open_batch(self._clock.monotonic())
        batch.charge = charge
        self._buffered_bytes += charge
        self._unfinished[batch] = None
        self._active[id(queue)] = queue
        self._changed.notify()
        return batch

    def _expedite(self, batch: Batch) -> None:
        with self._lock:
            if batch.queue.filling is batch:
                batch.queue.seal()
                self._changed.notify()

    # --- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._send_until_closed()
        except BaseException as error:  # a fault of ours: nobody may wait for ever because of it
            with self._lock:
                self._closing = True
                left = list(self._unfinished)
            failure = LogStoreError(f"the producer's thread ended: {error!r}; nothing can be sent")
            for batch in left:
                self._finish(batch, failure)
            raise

    def _send_until_closed(self) -> None:
        while True:
            with self._lock:
                now = self._clock.monotonic()
                work = self._take_work(now)
                renewals = [queue for queue in self._active.values() if _wants_renewal(queue, now)]
                expired = [batch for queue in self._active.values() for batch in queue.expired(now)]
                is_stale = bool(self._active) and now >= self._refresh_at and not self._closing
                if not (work or renewals or expired or is_stale):
                    if self._closing and not self._unfinished:
                        return
                    self._changed.wait(self._next_due(now))
                    continue
            for batch in expired:
                self._finish(batch, _timed_out(batch))
            for batch in work:
                self._dispatch(batch)
            if renewals:
                self._renew(renewals)
            if is_stale:
                self._refresh_topics()

    def _take_work(self, now: float) -> list[Batch]:
        work = []
        for queue in list(self._active.values()):
            while (batch := queue.take(now)) is not None:
                work.append(batch)
            if queue.is_idle:
                del self._active[id(queue)]
        return work

    def _next_due(self, now: float) -> float | None:
        dues = [due for queue in self._active.values() if (due := queue.due(now)) is not None]
        dues += [at for queue in self._active.values() if (at := queue.expires_at) is not None]
        return max(0.0, min(dues) - now) if dues else None

    def _renew(self, queues: Sequence[PartitionQueue]) -> None:
        if self._session is not None:
            with self._lock:
                doomed = self._session.join(queues)
            for batch in doomed:
                self._finish(batch, InvalidTransactionStateError("the transaction has failed"))
            return
        try:
            identity = self._store.init_producer()
        except LogStoreError as error:
            with self._lock:
                now = self._clock.monotonic()
                for queue in queues:
                    queue.seal()
                    queue.wait_until = now + self._settings.retry_backoff_max
                doomed = [] if error.retriable else [b for q in queues for b in q.ready]
                for batch in doomed:
                    batch.queue.ready.remove(batch)
            for batch in doomed:
                self._finish(batch, error)
            return
        with self._lock:
            for queue in queues:
                queue.renew(identity)

    def _dispatch(self, batch: Batch) -> None:
        queue = batch.queue
        if batch.data is None and batch.builder is not None:
            batch.data = batch.builder.build(is_transactional=self._settings.is_transactional)
            batch.builder = None
            with self._lock:
                self._buffered_bytes += len(batch.data) - batch.charge
                batch.charge = len(batch.data)
        data = batch.data
        assert data is not None
        if self._session is not None:
            self._session.has_work = True
        if batch.identity is not None:
            with_producer(
                data,
                producer_id=batch.identity.producer_id,
                producer_epoch=batch.identity.producer_epoch,
                base_sequence=batch.sequence,
            )
        try:
            answer = self._store.append(
                queue.topic, queue.partition, data, acks=self._settings.acks
            )
        except LogStoreError as error:
            answer = Pending.failed(error)
        answer.add_done_callback(lambda done: self._answered(batch, done))

    def _answered(self, batch: Batch, answer: Pending[Appended]) -> None:
        with self._lock:
            if answer.error is None:
                batch.queue.succeeded(batch)
                verdict: LogStoreError | None = None
            else:
                verdict = batch.queue.failure(batch, answer.error, self._clock.monotonic())
                if verdict is None:  # it will be sent again
                    self._changed.notify()
                    return
                if isinstance(verdict, UnknownTopicError | UnknownPartitionError):
                    self._topics.pop(batch.queue.topic, None)  # the next send asks for it again
        self._finish(batch, verdict if verdict is not None else answer.result(0))

    def _finish(self, batch: Batch, outcome: LogStoreError | Appended) -> None:
        with self._lock:
            if self._unfinished.pop(batch, _GONE) is _GONE:  # given up by close
                return
            if self._session is not None and isinstance(outcome, LogStoreError):
                self._session.fail(outcome)
        if isinstance(outcome, LogStoreError):
            batch.pending.set_error(outcome)
        else:
            batch.pending.set_result(outcome)
        with self._lock:
            self._buffered_bytes -= batch.charge
            batch.data = None
            self._drained.notify_all()
            self._changed.notify()

    # --- topics that grow -------------------------------------------------------------------

    def _refresh_topics(self) -> None:
        """Learn of partitions added meanwhile; an error waits for the next time."""
        self._refresh_at = self._clock.monotonic() + TOPIC_AGE_MAX
        for topic in list(self._topics):
            try:
                self._load_topic(topic)
            except LogStoreError:
                continue


def _pairs(headers: Headers) -> tuple[tuple[str, bytes | None], ...]:
    return tuple(headers.items() if isinstance(headers, Mapping) else headers)


def _wants_renewal(queue: PartitionQueue, now: float) -> bool:
    due = queue.due(now)
    return queue.is_renewal_due and due is not None and due <= now


def _timed_out(batch: Batch) -> RequestTimeoutError:
    queue = batch.queue
    return RequestTimeoutError(
        f"{queue.topic}-{queue.partition}: not stored within {queue.settings.delivery_timeout} s",
        topic=queue.topic,
        partition=queue.partition,
    )
