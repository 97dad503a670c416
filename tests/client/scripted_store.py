"""A LogStore whose answers to `append` a test gives by hand, in the order it likes."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from logstore.api import Acks, Appended, PartitionInfo, ProducerIdentity, TopicInfo
from logstore.errors import LogStoreError, UnknownTopicError
from logstore.pending import Pending
from logstore.record import decode_records, parse_header

SECONDS_MAX = 30.0  # any wait of a test; reached only if it fails


@dataclass(eq=False)
class Append:
    """One call of append, not answered yet."""

    topic: str
    partition: int
    batch: bytes
    acks: Acks
    pending: Pending[Appended] = field(default_factory=Pending)

    @property
    def values(self) -> list[bytes | None]:
        return [
            record.value for record in decode_records(self.batch, decompressed_bytes_max=1 << 24)
        ]

    @property
    def place(self) -> tuple[int, int]:
        """Producer id and sequence."""
        header = parse_header(self.batch)
        return header.producer_id, header.base_sequence

    def store(self, base_offset: int = 0, log_append_time_ms: int = -1) -> None:
        last_offset = base_offset + parse_header(self.batch).last_offset_delta
        self.pending.set_result(Appended(base_offset, last_offset, log_append_time_ms, 0, False))

    def fail(self, error: LogStoreError) -> None:
        self.pending.set_error(error)


class ScriptedStore:
    """Its topics have `partitions` each. `appends` holds all calls so far, answered or not."""

    def __init__(self, *topics: str, partitions: int = 1, max_message_bytes: int = 1 << 20) -> None:
        self.topics = dict.fromkeys(topics, partitions)
        self.max_message_bytes = max_message_bytes
        self.appends: list[Append] = []
        self.on_append: Callable[[Append], None] = lambda call: None
        self.init_errors: list[LogStoreError] = []
        self.producers = 0
        self._arrived = threading.Condition()

    @property
    def as_log_store(self) -> Any:
        return self

    def wait_for(self, count: int) -> list[Append]:
        """The calls so far, once there are `count`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.appends) >= count, SECONDS_MAX), (
                f"{len(self.appends)} appends came, {count} were expected"
            )
            return list(self.appends)

    def answer_all(self, base_offset: int = 0) -> None:
        """From now on every append is stored at once; those that wait, now."""
        offset = base_offset

        def store(call: Append) -> None:
            nonlocal offset
            if not call.pending.done:
                call.store(offset)
                offset += len(call.values)

        with self._arrived:
            self.on_append = store
            waiting = list(self.appends)
        for call in waiting:
            store(call)

    def describe_topics(
        self, names: Sequence[str] | None = None, *, include_internal: bool = False
    ) -> list[TopicInfo]:
        found = []
        for name in names or self.topics:
            if name not in self.topics:
                raise UnknownTopicError(f"there is no topic {name!r}", topic=name)
            configs = {
                "max_message_bytes": str(self.max_message_bytes),
                "partitioner": "murmur3",
            }
            partitions = tuple(
                PartitionInfo(number, "", 0, 0, 0, 0, 0) for number in range(self.topics[name])
            )
            found.append(TopicInfo(name, uuid.UUID(int=1), False, configs, {}, partitions))
        return found

    def init_producer(
        self, transactional_id: str | None = None, *, transaction_timeout_ms: int = 60_000
    ) -> ProducerIdentity:
        if self.init_errors:
            raise self.init_errors.pop(0)
        self.producers += 1
        return ProducerIdentity(self.producers, 0)

    def append(
        self, topic: str, partition: int, batch: Any, *, acks: Acks = Acks.ALL
    ) -> Pending[Appended]:
        call = Append(topic, partition, bytes(batch), acks)
        with self._arrived:
            self.appends.append(call)
            on_append = self.on_append
            self._arrived.notify_all()
        on_append(call)
        return call.pending
