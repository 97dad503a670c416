"""Where a consumer stands in each of its partitions."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from logstore.api import TopicPartition
from logstore.errors import InvalidRequestError


class Positions:
    """Offsets of the next record to hand out, and what of them is committed.

    Used by the consumer's thread; `committed` may come from another.
    """

    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[TopicPartition]:
        return iter(list(self._next))

    def __contains__(self, part: object) -> bool:
        return part in self._next

    def get(self, part: TopicPartition) -> int | None:
        return self._next.get(part)

    def require(self, part: TopicPartition) -> int:
        position = self._next.get(part)
        if position is None:
            raise InvalidRequestError(
                f"{part.topic}-{part.partition} is not assigned to this consumer"
            )
        return position

    def start(self, part: TopicPartition, offset: int) -> None:
        """Start at `offset`; a first position counts as committed, since nothing was read."""
        with self._lock:
            if part not in self._next:
                self._committed[part] = offset
            self._next[part] = offset

    def advance(self, part: TopicPartition, offset: int) -> None:
        if part in self._next:
            self._next[part] = offset

    def remove(self, part: TopicPartition) -> None:
        with self._lock:
            self._next.pop(part, None)
            self._committed.pop(part, None)
            self._paused.discard(part)

    def uncommitted(self) -> dict[TopicPartition, int]:
        """The positions that are not committed as they are."""
        with self._lock:
            return {
                part: offset
                for part, offset in self._next.items()
                if self._committed.get(part) != offset
            }

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        with self._lock:
            for part, offset in offsets.items():
                if part in self._next:
                    self._committed[part] = offset

    def pause(self, part: TopicPartition) -> None:
        self._paused.add(part)

    def resume(self, part: TopicPartition) -> None:
        self._paused.discard(part)

    def is_paused(self, part: TopicPartition) -> bool:
        return part in self._paused

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)
