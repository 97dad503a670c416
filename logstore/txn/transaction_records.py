"""Records of the internal topic `__transaction_state`, in Kafka's formats (its TransactionLogKey
and TransactionLogValue schemas): big-endian, first an int16 version.

    key 0      int16 0, string transactional id
    value 0    int16 0, int64 producer id, int16 producer epoch, int32 timeout ms, int8 state,
               int32 count of topics (-1: null), each: string topic, int32 count, int32 partitions;
               int64 last update ms, int64 start ms (-1: none)
    value 1    the same, but: a count is an unsigned varint, one higher; so is the length of a
               string; behind each topic, and at the end, tagged fields: varint count, each varint
               tag, varint length, bytes. Tag 2: int16, the version of the client's transactions

A string is an int16 length and UTF-8. A null value forgets the transactional id. Value 0 is written
of transactions of version TWO, as ever; value 1 of those of version ONE, whose ends differ.
The state's epoch is raised when the end of a transaction is decided (KIP-890), so that one record
tells both epochs: before the decision `epoch`, from then on `epoch`, one higher.
"""

from __future__ import annotations

import struct
from typing import Final

from logstore.api import TopicPartition, TransactionVersion
from logstore.errors import CorruptDataError
from logstore.txn.transaction import Transaction, TransactionState

_VERSION: Final = 0
_TAGGED_VERSION: Final = 1
_CLIENT_VERSION_TAG: Final = 2
_UINT8: Final = struct.Struct(">B")
_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")
_HEAD: Final = struct.Struct(">hqhib")
_TIMES: Final = struct.Struct(">qq")


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return _INT16.pack(len(data)) + data


def encode_key(transactional_id: str) -> bytes:
    return _INT16.pack(_VERSION) + _string(transactional_id)


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def encode_value(transaction: Transaction) -> bytes:
    is_tagged = transaction.version is TransactionVersion.ONE
    topics: dict[str, list[int]] = {}
    for part in sorted(transaction.partitions):
        topics.setdefault(part.topic, []).append(part.partition)
    version = _TAGGED_VERSION if is_tagged else _VERSION
    parts = [
        _HEAD.pack(
            version,
            transaction.producer_id,
            transaction.epoch,
            transaction.timeout_ms,
            transaction.state,
        ),
        _varint(len(topics) + 1) if is_tagged else _INT32.pack(len(topics)),
    ]
    for topic, partitions in topics.items():
        name = topic.encode("utf-8")
        parts += (
            [_varint(len(name) + 1), name, _varint(len(partitions) + 1)]
            if is_tagged
            else [_string(topic), _INT32.pack(len(partitions))]
        )
        parts.extend(_INT32.pack(partition) for partition in partitions)
        if is_tagged:
            parts.append(_varint(0))
    parts.append(_TIMES.pack(transaction.updated_ms, transaction.started_ms))
    if is_tagged:
        field = _INT16.pack(transaction.version)
        parts += [_varint(1), _varint(_CLIENT_VERSION_TAG), _varint(len(field)), field]
    return b"".join(parts)


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        fields = layout.unpack_from(self._data, self._position)
        self._position += layout.size
        return fields

    def varint(self) -> int:
        number = shift = 0
        while shift < 35:
            (byte,) = self.unpack(_UINT8)
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7
        raise ValueError("a varint of more than 5 bytes")

    def tags(self) -> dict[int, bytes]:
        found = {}
        for _ in range(self.varint()):
            tag = self.varint()
            found[tag] = self._take(self.varint())
        return found

    def count(self, version: int) -> int:
        return self.varint() - 1 if version == _TAGGED_VERSION else self.unpack(_INT32)[0]

    def string(self, version: int = _VERSION) -> str:
        is_tagged = version == _TAGGED_VERSION
        length = self.varint() - 1 if is_tagged else self.unpack(_INT16)[0]
        return self._take(length).decode("utf-8")

    def _take(self, length: int) -> bytes:
        data = self._data[self._position : self._position + length]
        if length < 0 or len(data) < length:
            raise ValueError(f"a string of {length} bytes")
        self._position += length
        return data

    def end(self) -> None:
        if self._position != len(self._data):
            raise ValueError(f"{len(self._data) - self._position} bytes are left")


def decode_key(data: bytes) -> str | None:
    """The transactional id; None for a key of a version that is not known, to be passed over.

    Raises CorruptDataError.
    """
    try:
        cursor = _Cursor(data)
        if cursor.unpack(_INT16) != (_VERSION,):
            return None
        transactional_id = cursor.string()
        cursor.end()
    except (ValueError, struct.error) as error:
        raise CorruptDataError(f"a key of __transaction_state, {data.hex()}: {error}") from None
    return transactional_id


def decode_value(transactional_id: str, data: bytes) -> Transaction:
    """Raises CorruptDataError."""
    try:
        cursor = _Cursor(data)
        version, producer_id, epoch, timeout_ms, state = cursor.unpack(_HEAD)
        if version not in (_VERSION, _TAGGED_VERSION):
            raise ValueError(f"version {version} is not known")
        partitions = set()
        for _ in range(cursor.count(version)):
            topic = cursor.string(version)
            for _ in range(cursor.count(version)):
                partitions.add(TopicPartition(topic, cursor.unpack(_INT32)[0]))
            if version == _TAGGED_VERSION:
                cursor.tags()
        updated_ms, started_ms = cursor.unpack(_TIMES)
        client_version = TransactionVersion.TWO
        if version == _TAGGED_VERSION:
            tag = cursor.tags().get(_CLIENT_VERSION_TAG, b"\0\0")
            client_version = TransactionVersion(max(1, *_INT16.unpack(tag)))
        cursor.end()
        return Transaction(
            transactional_id=transactional_id,
            producer_id=producer_id,
            epoch=epoch,
            timeout_ms=timeout_ms,
            state=TransactionState(state),
            partitions=frozenset(partitions),
            started_ms=started_ms,
            updated_ms=updated_ms,
            version=client_version,
        )
    except (ValueError, struct.error) as error:
        raise CorruptDataError(
            f"a value of __transaction_state, of {transactional_id!r}: {error}"
        ) from None
