"""A Pending that ends when a partition's high watermark covers an offset.

It looks at the log when it is asked: a thread that waits for it leads the flush, or is called by
the one that does, and nothing is registered anywhere. Only with a callback does it wait at the log,
and ask for the flush, which nobody may be there to lead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from logstore.errors import LogStoreError
from logstore.log import Flusher, PartitionLog
from logstore.pending import CREATION, Pending

T = TypeVar("T")


class PendingFlush(Pending[T]):
    """Has `value` once `last_offset` is on disk; the log's error if it ends before."""

    __slots__ = ("_last_offset", "_log")

    def __init__(self, log: PartitionLog, flusher: Flusher, last_offset: int, value: T) -> None:
        super().__init__(flusher.help)
        self._log = log
        self._last_offset = last_offset
        self._value = value

    @property
    def error(self) -> LogStoreError | None:
        self._is_over()
        return self._error

    def _is_over(self) -> bool:
        if self._done:
            return True
        error = self._log.error  # looked at first: once there is one, the watermark stays
        if self._log.high_watermark <= self._last_offset:
            if error is None:
                return False
            self._error = error
        self._done = True
        return True

    def add_done_callback(self, callback: Callable[[Pending[T]], None]) -> None:
        if not self._is_over():
            with CREATION:
                is_first = not self._callbacks
                self._callbacks.append(callback)
            if is_first:
                self._log.on_high_watermark(self._last_offset + 1, self._tell)
                self._log.want_flush(self._last_offset)
            return
        callback(self)

    def _tell(self, _error: LogStoreError | None) -> None:
        self._is_over()  # from here on it has its value or its error
        with CREATION:
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


def pending_flush(log: PartitionLog, flusher: Flusher, last_offset: int, value: T) -> Pending[T]:
    """Done with `value` once `last_offset` is on disk; a waiting thread leads the flush itself."""
    if log.high_watermark > last_offset:
        return Pending.completed(value)
    return PendingFlush(log, flusher, last_offset, value)
