"""Where a consumer starts in a partition: at the committed offset, an end of the log, or a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from logstore.api import LogStore, OffsetQuery, OffsetSpec, TopicPartition
from logstore.clock import Clock
from logstore.errors import LogStoreError, OffsetOutOfRangeError

T = TypeVar("T")
RETRY_SECONDS = 0.1  # between two tries of what failed for a reason that may pass


class StartingPoints:
    """Used by the consumer's thread. `reset`: where to start without a committed offset; None: that
    is an error."""

    def __init__(
        self,
        store: LogStore,
        group: str | None,
        reset: OffsetSpec | None,
        *,
        retry_seconds: float,
        clock: Clock,
    ) -> None:
        self._store = store
        self._group = group
        self._reset = reset
        self._retry_seconds = retry_seconds
        self._clock = clock

    def of(self, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Committed offsets, and where there is none what `reset` says."""
        found: dict[TopicPartition, int] = {}
        if self._group is not None and parts:
            group = self._group
            committed = self._retry(lambda: self._store.committed_offsets(group, parts))
            found = {
                TopicPartition(item.topic, item.partition): item.offset
                for item in committed
                if item.offset >= 0
            }
        missing = [part for part in parts if part not in found]
        if not missing:
            return found
        reset = self._reset
        if reset is None:
            raise OffsetOutOfRangeError(
                f"group {self._group!r} has no committed offset for {missing[0].topic}-"
                f"{missing[0].partition}, and auto_offset_reset is 'error'"
            )
        return found | self._retry(lambda: self.look_up(missing, reset))

    def look_up(
        self, parts: Sequence[TopicPartition], timestamp_ms: int
    ) -> dict[TopicPartition, int]:
        """By time (or OffsetSpec); the end where no record is as late."""
        found: dict[TopicPartition, int] = {}
        missing: list[TopicPartition] = []
        queries = [OffsetQuery(*part, timestamp_ms) for part in parts]
        for part, answer in zip(parts, self._store.list_offsets(queries), strict=True):
            if answer.error is not None:
                raise answer.error
            if answer.offset < 0:
                missing.append(part)
            else:
                found[part] = answer.offset
        return found | (self.look_up(missing, OffsetSpec.LATEST) if missing else {})

    def _retry(self, call: Callable[[], T]) -> T:
        deadline = self._clock.monotonic() + self._retry_seconds
        while True:
            try:
                return call()
            except LogStoreError as error:
                if not error.retriable or self._clock.monotonic() >= deadline:
                    raise
                time.sleep(RETRY_SECONDS)
