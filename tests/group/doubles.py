"""What the coordinator is given in tests: a journal that is durable when told, and some topics."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from logstore.api import ProducerIdentity
from logstore.errors import LogStoreError, UnknownPartitionError, UnknownTopicError
from logstore.group.offsets import KeyValue, TopicIds
from logstore.pending import Pending


class JournalDouble:
    """Records become durable, in order, with `flush`; who waits for a result flushes."""

    def __init__(self) -> None:
        self.durable: list[KeyValue] = []
        self.waiting: list[tuple[Sequence[KeyValue], Pending[None]]] = []
        self.failure: LogStoreError | None = None  # of every append, while it is set

    def append(
        self,
        records: Sequence[KeyValue],
        entity: str,
        producer: ProducerIdentity | None = None,
    ) -> Pending[None]:
        """What is written in a transaction is in the way of none of these tests."""
        assert records, "an empty batch is no batch"
        if self.failure is not None:
            return Pending.failed(self.failure)
        pending: Pending[None] = Pending(lambda _is_done, _timeout: self.flush())
        self.waiting.append((records, pending))
        return pending

    def replay(self) -> Iterator[tuple[bytes, bytes | None, int]]:
        for key, value in self.durable:
            yield key, value, 0

    def replay_with_open(self) -> Iterator[tuple[int, bytes, bytes | None]]:
        for key, value in self.durable:
            yield -1, key, value

    def flush(self, count: int | None = None) -> None:
        """Make the first `count` appends durable, or all."""
        count = len(self.waiting) if count is None else count
        done, self.waiting = self.waiting[:count], self.waiting[count:]
        for records, _ in done:
            self.durable += records
        for _, pending in done:
            pending.set_result(None)

    def fail(self, error: LogStoreError) -> None:
        """What waits is lost."""
        lost, self.waiting = self.waiting, []
        for _, pending in lost:
            pending.set_error(error)

    def crash(self, kept: int = 0) -> None:
        """The process ends; the first `kept` appends that nobody was told of are durable."""
        for records, _ in self.waiting[:kept]:
            self.durable += records
        self.waiting = []


class TopicsDouble:
    def __init__(self, **partitions: int) -> None:
        self.ids: dict[str, tuple[uuid.UUID, int]] = {}
        self.ends: dict[tuple[str, int], tuple[int, int]] = {}  # start offset, high watermark
        for name, count in partitions.items():
            self.make(name, count)

    def make(self, name: str, partitions: int, high_watermark: int = 100) -> None:
        self.ids[name] = (uuid.uuid4(), 0)
        self.grow(name, partitions, high_watermark)

    def grow(self, name: str, total: int, high_watermark: int = 100) -> None:
        topic_id, before = self.ids[name]
        self.ids[name] = (topic_id, total)
        self.ends |= {(name, p): (0, high_watermark) for p in range(before, total)}

    def delete(self, name: str) -> None:
        del self.ids[name]

    def partition_counts(self) -> TopicIds:
        return dict(self.ids)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        if topic not in self.ids:
            raise UnknownTopicError(f"no {topic}")
        if not 0 <= partition < self.ids[topic][1]:
            raise UnknownPartitionError(f"no {topic}-{partition}")
        return self.ends[topic, partition]
