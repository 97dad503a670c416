"""A Pending that ends when a partition's high watermark covers an offset."""

from __future__ import annotations

from typing import TypeVar

from logstore.errors import LogStoreError
from logstore.log import Flusher, PartitionLog
from logstore.pending import Pending

T = TypeVar("T")


def pending_flush(log: PartitionLog, flusher: Flusher, last_offset: int, value: T) -> Pending[T]:
    """Done with `value` once `last_offset` is on disk; a waiting thread leads the flush itself."""
    if log.high_watermark > last_offset:
        return Pending.completed(value)
    pending: Pending[T] = Pending(flusher.help)

    def flushed(error: LogStoreError | None) -> None:
        if error is None:
            pending.set_result(value)
        else:
            pending.set_error(error)

    log.on_high_watermark(last_offset + 1, flushed)
    return pending
