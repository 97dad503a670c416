"""What a producer gives back for what it was told to send."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from logstore.api import OFFSET_UNKNOWN, Appended
from logstore.client.producer_core import Batch
from logstore.errors import LogStoreError

T = TypeVar("T")
_log = logging.getLogger(__name__)


class RecordMetadata(NamedTuple):
    """Where a record is. `timestamp` in ms; the log's time if the topic keeps that.

    `offset` is -1 where the store does not say it (possible with acks=0).
    """

    topic: str
    partition: int
    offset: int
    timestamp: int


class StoredRun(NamedTuple):
    """Where a run of records is: offsets base_offset to base_offset + records - 1."""

    topic: str
    partition: int
    base_offset: int
    records: int


class Delivery:
    """The fate of one record. Thread-safe."""

    __slots__ = ("_batch", "_index", "_timestamp")

    def __init__(self, batch: Batch, index: int, timestamp: int) -> None:
        self._batch = batch
        self._index = index
        self._timestamp = timestamp

    @property
    def done(self) -> bool:
        return self._batch.pending.done

    @property
    def error(self) -> LogStoreError | None:
        return self._batch.pending.error

    def result(self, timeout: float | None = None) -> RecordMetadata:
        """Where it was stored, after waiting up to `timeout` seconds; does not linger.

        Raises the error for which it was given up, or RequestTimeoutError.
        """
        batch = self._batch
        self.expedite()
        stored = batch.pending.result(timeout)
        timestamp = self._timestamp
        if stored.log_append_time_ms >= 0:
            timestamp = stored.log_append_time_ms
        return RecordMetadata(
            batch.queue.topic, batch.queue.partition, _offset(stored, self._index), timestamp
        )

    def expedite(self) -> None:
        """Have it sent without lingering."""
        if not self._batch.pending.done:
            self._batch.queue.expedite(self._batch)

    def add_callback(self, callback: Callable[[Delivery], None]) -> None:
        """Call back with this object once it is done, in another thread; must not block.

        What the callback raises is logged.
        """
        self._batch.pending.add_done_callback(lambda _: tell(callback, self))


class Deliveries:
    """The fate of records sent together. Thread-safe."""

    __slots__ = ("_runs",)

    def __init__(self, runs: Sequence[tuple[Batch, int, int]]) -> None:
        self._runs = runs  # batch, index of the first record in it, records

    def __len__(self) -> int:
        """Records."""
        return sum(count for _, _, count in self._runs)

    @property
    def done(self) -> bool:
        return all(batch.pending.done for batch, _, _ in self._runs)

    def result(self, timeout: float | None = None) -> list[StoredRun]:
        """Where they were stored, run by run; `timeout` seconds for each batch.

        Raises the error of the first batch that was given up, or RequestTimeoutError.
        """
        self.expedite()
        return [
            StoredRun(
                batch.queue.topic,
                batch.queue.partition,
                _offset(batch.pending.result(timeout), first),
                count,
            )
            for batch, first, count in self._runs
        ]

    def expedite(self) -> None:
        """Have them sent without lingering."""
        for batch, _, _ in self._runs:
            if not batch.pending.done:
                batch.queue.expedite(batch)

    def add_callback(self, callback: Callable[[Deliveries], None]) -> None:
        """Call back with this object once all are done, in another thread; must not block.

        What the callback raises is logged.
        """
        left = iter(self._runs)

        def go_on(_: object) -> None:
            for batch, _, _ in left:
                if not batch.pending.done:
                    batch.pending.add_done_callback(go_on)
                    return
            tell(callback, self)

        go_on(None)


def _offset(stored: Appended, index: int) -> int:
    """Of the record at `index` of its batch; a store does not know it of every batch."""
    return OFFSET_UNKNOWN if stored.base_offset < 0 else stored.base_offset + index


def tell(callback: Callable[[T], None], news: T) -> None:
    """Run a user's callback in a thread that is not the user's: an error of it ends there."""
    try:
        callback(news)
    except Exception:
        _log.exception("a callback of a producer or consumer failed")
