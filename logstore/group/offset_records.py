"""Records of the internal topic `__consumer_offsets`, in Kafka's formats (its group-coordinator
message schemas): big-endian, first an int16 that is the key's type or the value's version.

    key 1, OffsetCommitKey       int16 1, string group, string topic, int32 partition
    value 3, OffsetCommitValue   int16 3, int64 offset, int32 leader epoch, string metadata,
                                 int64 commit timestamp
    value 4                      the same with compact strings and tagged fields, of which
                                 tag 0 is the topic's UUID; what is written here
    key 2, GroupMetadataKey      int16 2, string group
    value 3, GroupMetadataValue  int16 3, string protocol type, int32 generation, string protocol,
                                 string leader, int64 timestamp, members; of a classic group.
                                 Written without protocol, leader and members, as if empty.
    key 3, ConsumerGroupMetadataKey    int16 3, string group
    value 0, ConsumerGroupMetadataValue  int16 0, int32 group epoch, tagged fields

A string is an int16 length (-1: null) and UTF-8; a compact one an unsigned varint of length + 1.
A null value forgets what the key names. Keys of other types are Kafka's and are passed over.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from logstore.errors import CorruptDataError

OFFSET_COMMIT_KEY = 1
CLASSIC_METADATA_KEY = 2
GROUP_METADATA_KEY = 3
OFFSET_COMMIT_VALUE = 4
CLASSIC_METADATA_VALUE = 3
GROUP_METADATA_VALUE = 0
TOPIC_ID_TAG = 0
NO_TOPIC_ID = uuid.UUID(int=0)

_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_OFFSET_AND_EPOCH = struct.Struct(">qi")
_INT64 = struct.Struct(">q")


@dataclass(frozen=True, slots=True)
class OffsetKey:
    group_id: str
    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class OffsetValue:
    """`topic_id` tells a topic from a later one of the same name; zero where a foreign writer
    did not say."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    topic_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class GroupKey:
    """Of a server-assigned group."""

    group_id: str


@dataclass(frozen=True, slots=True)
class ClassicGroupKey:
    group_id: str


@dataclass(frozen=True, slots=True)
class ClassicGroupValue:
    protocol_type: str
    generation: int


Key = OffsetKey | GroupKey | ClassicGroupKey


# --- writing ----------------------------------------------------------------------------------


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return _INT16.pack(len(data)) + data


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def encode_key(key: Key) -> bytes:
    if isinstance(key, GroupKey):
        return _INT16.pack(GROUP_METADATA_KEY) + _string(key.group_id)
    if isinstance(key, ClassicGroupKey):
        return _INT16.pack(CLASSIC_METADATA_KEY) + _string(key.group_id)
    return (
        _INT16.pack(OFFSET_COMMIT_KEY)
        + _string(key.group_id)
        + _string(key.topic)
        + _INT32.pack(key.partition)
    )


def encode_offset(value: OffsetValue) -> bytes:
    metadata = value.metadata.encode("utf-8")
    return b"".join(
        (
            _INT16.pack(OFFSET_COMMIT_VALUE),
            _OFFSET_AND_EPOCH.pack(value.offset, value.leader_epoch),
            _varint(len(metadata) + 1),
            metadata,
            _INT64.pack(value.commit_timestamp_ms),
            _varint(1),  # tagged fields
            _varint(TOPIC_ID_TAG),
            _varint(16),
            value.topic_id.bytes,
        )
    )


def encode_group_epoch(epoch: int) -> bytes:
    return _INT16.pack(GROUP_METADATA_VALUE) + _INT32.pack(epoch) + _varint(0)


def encode_classic_group(value: ClassicGroupValue, timestamp_ms: int) -> bytes:
    return b"".join(
        (
            _INT16.pack(CLASSIC_METADATA_VALUE),
            _string(value.protocol_type),
            _INT32.pack(value.generation),
            _INT16.pack(-1),  # protocol
            _INT16.pack(-1),  # leader
            _INT64.pack(timestamp_ms),
            _INT32.pack(0),  # members
        )
    )


# --- reading ----------------------------------------------------------------------------------


class _Cursor:
    """Reads from the front of `data`; raises ValueError where it ends early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        if count < 0 or self._position + count > len(self._data):
            raise ValueError(f"{count} bytes wanted at {self._position} of {len(self._data)}")
        self._position += count
        return self._data[self._position - count : self._position]

    def int16(self) -> int:
        return int.from_bytes(self.take(2), "big", signed=True)

    def int32(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def int64(self) -> int:
        return int.from_bytes(self.take(8), "big", signed=True)

    def string(self) -> str:
        return self.take(self.int16()).decode("utf-8")

    def nullable_string(self) -> str | None:
        length = self.int16()
        return None if length == -1 else self.take(length).decode("utf-8")

    def varint(self) -> int:
        number = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise ValueError("a varint of more than five bytes")

    def tagged_fields(self) -> dict[int, bytes]:
        return {self.varint(): self.take(self.varint()) for _ in range(self.varint())}

    def end(self) -> None:
        if self._position != len(self._data):
            raise ValueError(f"{len(self._data) - self._position} bytes are left over")


def decode_key(data: bytes) -> Key | None:
    """None for a key of a type that is not used here. Raises CorruptDataError."""
    cursor = _Cursor(data)
    key: Key
    try:
        kind = cursor.int16()
        if kind in (0, OFFSET_COMMIT_KEY):
            key = OffsetKey(cursor.string(), cursor.string(), cursor.int32())
        elif kind == GROUP_METADATA_KEY:
            key = GroupKey(cursor.string())
        elif kind == CLASSIC_METADATA_KEY:
            key = ClassicGroupKey(cursor.string())
        else:
            return None
        cursor.end()
    except ValueError as error:
        raise _corrupt("key", data, error) from error
    return key


def decode_offset(data: bytes) -> OffsetValue:
    """Versions 0 to 4. Raises CorruptDataError."""
    cursor = _Cursor(data)
    try:
        version = cursor.int16()
        offset = cursor.int64()
        epoch, topic_id = -1, NO_TOPIC_ID
        if version >= 3:
            epoch = cursor.int32()
        if version < OFFSET_COMMIT_VALUE:
            metadata, timestamp = cursor.string(), cursor.int64()
            if version == 1:
                cursor.int64()  # expire timestamp
        elif version == OFFSET_COMMIT_VALUE:
            metadata = cursor.take(cursor.varint() - 1).decode("utf-8")
            timestamp = cursor.int64()
            tagged = cursor.tagged_fields()
            topic_id = uuid.UUID(bytes=tagged.get(TOPIC_ID_TAG, NO_TOPIC_ID.bytes))
        else:
            raise ValueError(f"version {version}")
        if version < 0:
            raise ValueError(f"version {version}")
        cursor.end()
    except ValueError as error:
        raise _corrupt("offset", data, error) from error
    return OffsetValue(offset, epoch, metadata, timestamp, topic_id)


def decode_group_epoch(data: bytes) -> int:
    """Raises CorruptDataError."""
    cursor = _Cursor(data)
    try:
        version = cursor.int16()
        if version != GROUP_METADATA_VALUE:
            raise ValueError(f"version {version}")
        epoch = cursor.int32()
        cursor.tagged_fields()
        cursor.end()
    except ValueError as error:
        raise _corrupt("group", data, error) from error
    return epoch


def decode_classic_group(data: bytes) -> ClassicGroupValue:
    """Versions 0 to 3. Raises CorruptDataError."""
    cursor = _Cursor(data)
    try:
        version = cursor.int16()
        if not 0 <= version <= CLASSIC_METADATA_VALUE:
            raise ValueError(f"version {version}")
        value = ClassicGroupValue(cursor.string(), cursor.int32())
        cursor.nullable_string()  # protocol
        cursor.nullable_string()  # leader
        if version >= 2:
            cursor.int64()  # timestamp
        for _ in range(cursor.int32()):
            _pass_over_member(cursor, version)
        cursor.end()
    except ValueError as error:
        raise _corrupt("classic group", data, error) from error
    return value


def _pass_over_member(cursor: _Cursor, version: int) -> None:
    cursor.string()  # member id
    if version >= 3:
        cursor.nullable_string()  # instance id
    cursor.string()  # client id
    cursor.string()  # client host
    cursor.take(4 if version == 0 else 8)  # timeouts: of the session, before it of rebalances
    cursor.take(cursor.int32())  # subscription
    cursor.take(cursor.int32())  # assignment


def _corrupt(what: str, data: bytes, error: ValueError) -> CorruptDataError:
    return CorruptDataError(
        f"a {what} record of the consumer offsets cannot be read: {error}",
        record=data[:64].hex(),
    )
