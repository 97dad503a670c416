"""What a producer knows of a topic: its partitions, and which of them a record goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from logstore.client.partitioners import Hash, place_keys
from logstore.client.producer_core import PartitionQueue
from logstore.errors import BatchTooLargeError, UnknownPartitionError

RECORD_OVERHEAD_BYTES = 100  # batch header and a record's own fields, generously


class Share(NamedTuple):
    """Records of one partition by columns, in order. Without `queue` they have no key, and go to
    partitions that change from batch to batch."""

    queue: PartitionQueue | None
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None] | None
    timestamps: Sequence[int] | None


class ProducerTopic:
    """Used under the producer's lock, but for `hash` and `split`, which change nothing."""

    __slots__ = ("hash", "message_bytes_max", "name", "queues", "sticky", "turn")

    def __init__(
        self, name: str, queues: list[PartitionQueue], hash_key: Hash, *, message_bytes_max: int
    ) -> None:
        self.name = name
        self.queues = queues
        self.hash = hash_key
        self.message_bytes_max = message_bytes_max
        self.turn = 0
        self.sticky = queues[0]

    def next_sticky(self) -> PartitionQueue:
        self.turn = (self.turn + 1) % len(self.queues)
        self.sticky = self.queues[self.turn]
        return self.sticky

    def queue(self, partition: int) -> PartitionQueue:
        if not 0 <= partition < len(self.queues):
            raise UnknownPartitionError(
                f"topic {self.name!r} has no partition {partition}: it has 0 to "
                f"{len(self.queues) - 1}",
                topic=self.name,
                partition=partition,
            )
        return self.queues[partition]

    def size(self, key: bytes | None, value: bytes | None, *, compressed: bool) -> int:
        """What a record takes of a batch, at most. Raises BatchTooLargeError if no batch of the
        topic can hold it."""
        size = len(key or b"") + len(value or b"")
        if size > self.message_bytes_max and not compressed:
            raise BatchTooLargeError(
                f"a record of {size} bytes is over the limit of topic {self.name!r}, "
                f"{self.message_bytes_max} (max_message_bytes)",
                topic=self.name,
                max_message_bytes=self.message_bytes_max,
            )
        return size + RECORD_OVERHEAD_BYTES

    def split(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        timestamps: Sequence[int] | None,
    ) -> list[Share]:
        """The records of each partition by their keys, then those without a key."""
        count = len(self.queues)
        places = place_keys(self.hash, keys, count)
        keyless = count  # behind the partitions' own, which is where -1 points too
        own_values: list[list[bytes | None]] = [[] for _ in range(count + 1)]
        own_keys: list[list[bytes | None]] = [[] for _ in range(count + 1)]
        add_value = [own.append for own in own_values]
        add_key = [own.append for own in own_keys]
        for place, key, value in zip(places, keys, values, strict=True):
            add_key[place](key)
            add_value[place](value)
        own_timestamps: list[list[int]] = [[] for _ in range(count + 1)]
        if timestamps is not None:
            for place, timestamp in zip(places, timestamps, strict=True):
                own_timestamps[place].append(timestamp)
        return [
            Share(
                None if place == keyless else self.queues[place],
                own_values[place],
                None if place == keyless else own_keys[place],
                None if timestamps is None else own_timestamps[place],
            )
            for place in range(count + 1)
            if own_values[place]
        ]
