"""What the members of a classic group of protocol type `consumer` say of themselves and are given:
Kafka's ConsumerProtocolSubscription and ConsumerProtocolAssignment, bytes <-> values, pure.

    subscription  version int16 | topics [string] | user data bytes?
                  1: | owned [topic string, partitions [int32]]   2: | generation int32
                  3: | rack string?
    assignment    version int16 | assigned [topic string, partitions [int32]] | user data bytes?

    string: int16 length, UTF-8     bytes: int32 length (-1: null)     [x]: int32 count, items

A later version only adds at the end: it is read as the last that is known here. Counts are trusted
only as far as there are bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from logstore.api import TopicPartition
from logstore.errors import InvalidRequestError

PROTOCOL_TYPE = "consumer"
VERSION_WITH_OWNED = 1
VERSION_MAX = 3
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class ConsumerSubscription:
    """`owned` is empty for a member that gives up everything before it joins."""

    version: int
    topics: tuple[str, ...]
    owned: tuple[TopicPartition, ...] = ()


class _Input:
    """Raises InvalidRequestError where the bytes end too early or make no sense."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def int16(self) -> int:
        return int(_INT16.unpack(self._take(2))[0])

    def int32(self) -> int:
        return int(_INT32.unpack(self._take(4))[0])

    def count(self, *, item_bytes_min: int) -> int:
        count = self.int32()
        if not 0 <= count * item_bytes_min <= self.left:
            raise InvalidRequestError(f"a list of {count} does not fit in what a member sent")
        return count

    def string(self) -> str:
        try:
            return self._take(self.int16()).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidRequestError("a name that a member sent is no UTF-8") from None

    def skip_nullable_bytes(self) -> None:
        length = self.int32()
        if length != -1:
            self._take(length)

    def partitions(self) -> tuple[TopicPartition, ...]:
        found = []
        for _ in range(self.count(item_bytes_min=6)):
            topic = self.string()
            found += [
                TopicPartition(topic, self.int32()) for _ in range(self.count(item_bytes_min=4))
            ]
        return tuple(found)

    def _take(self, length: int) -> bytes:
        if not 0 <= length <= self.left:
            raise InvalidRequestError("what a member sent of itself is cut short")
        self._at += length
        return self._data[self._at - length : self._at]


def decode_subscription(data: bytes) -> ConsumerSubscription:
    """Raises InvalidRequestError."""
    source = _Input(data)
    version = source.int16()
    if version < 0:
        raise InvalidRequestError(f"a subscription of version {version} is not known")
    topics = tuple(source.string() for _ in range(source.count(item_bytes_min=2)))
    source.skip_nullable_bytes()
    owned: tuple[TopicPartition, ...] = ()
    # Some clients wrote version 1 before it had an end: nothing more means nothing owned.
    if version >= VERSION_WITH_OWNED and source.left:
        owned = source.partitions()
    return ConsumerSubscription(min(version, VERSION_MAX), topics, owned)


def encode_subscription(topics: Iterable[str], owned: Iterable[TopicPartition]) -> bytes:
    """Of version 1, without user data."""
    names = sorted(topics)
    return b"".join(
        (
            _INT16.pack(VERSION_WITH_OWNED),
            _INT32.pack(len(names)),
            *(_string(name) for name in names),
            _INT32.pack(-1),
            _partitions(owned),
        )
    )


def decode_assignment(data: bytes) -> tuple[TopicPartition, ...]:
    """Raises InvalidRequestError. No bytes at all are an empty assignment."""
    if not data:
        return ()
    source = _Input(data)
    if source.int16() < 0:
        raise InvalidRequestError("an assignment of a negative version is not known")
    return source.partitions()


def encode_assignment(partitions: Iterable[TopicPartition], *, version: int = 0) -> bytes:
    return _INT16.pack(version) + _partitions(partitions) + _INT32.pack(-1)


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return _INT16.pack(len(data)) + data


def _partitions(partitions: Iterable[TopicPartition]) -> bytes:
    by_topic: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        by_topic.setdefault(topic, []).append(partition)
    parts = [_INT32.pack(len(by_topic))]
    for topic, numbers in by_topic.items():
        parts += [_string(topic), _INT32.pack(len(numbers)), *map(_INT32.pack, numbers)]
    return b"".join(parts)
