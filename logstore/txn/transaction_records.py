"""Records of the internal topic `__transaction_state`, in Kafka's formats (its TransactionLogKey
and TransactionLogValue schemas): big-endian, first an int16 version.

    key 0      int16 0, string transactional id
    value 0    int16 0, int64 producer id, int16 producer epoch, int32 timeout ms, int8 state,
               int32 count of topics (-1: null), each: string topic, int32 count, int32 partitions;
               int64 last update ms, int64 start ms (-1: none)

A string is an int16 length and UTF-8. A null value forgets the transactional id. Kafka's value 1
has compact strings and tagged fields, which can all be left out; what is written here is value 0.
The state's epoch is raised when the end of a transaction is decided (KIP-890), so that one record
tells both epochs: before the decision `epoch`, from then on `epoch`, one higher.
"""

from __future__ import annotations

import struct
from typing import Final

from logstore.api import TopicPartition
from logstore.errors import CorruptDataError
from logstore.txn.transaction import Transaction, TransactionState

_VERSION: Final = 0
_INT16: Final = struct.Struct(">h")
_INT32: Final = struct.Struct(">i")
_HEAD: Final = struct.Struct(">hqhib")
_TIMES: Final = struct.Struct(">qq")


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return _INT16.pack(len(data)) + data


def encode_key(transactional_id: str) -> bytes:
    return _INT16.pack(_VERSION) + _string(transactional_id)


def encode_value(transaction: Transaction) -> bytes:
    topics: dict[str, list[int]] = {}
    for part in sorted(transaction.partitions):
        topics.setdefault(part.topic, []).append(part.partition)
    parts = [
        _HEAD.pack(
            _VERSION,
            transaction.producer_id,
            transaction.epoch,
            transaction.timeout_ms,
            transaction.state,
        ),
        _INT32.pack(len(topics)),
    ]
    for topic, partitions in topics.items():
        parts.append(_string(topic) + _INT32.pack(len(partitions)))
        parts.extend(_INT32.pack(partition) for partition in partitions)
    parts.append(_TIMES.pack(transaction.updated_ms, transaction.started_ms))
    return b"".join(parts)


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        fields = layout.unpack_from(self._data, self._position)
        self._position += layout.size
        return fields

    def string(self) -> str:
        (length,) = self.unpack(_INT16)
        data = self._data[self._position : self._position + length]
        if length < 0 or len(data) < length:
            raise ValueError(f"a string of {length} bytes")
        self._position += length
        return data.decode("utf-8")

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
        if version != _VERSION:
            raise ValueError(f"version {version} is not known")
        partitions = set()
        for _ in range(cursor.unpack(_INT32)[0]):
            topic = cursor.string()
            for _ in range(cursor.unpack(_INT32)[0]):
                partitions.add(TopicPartition(topic, cursor.unpack(_INT32)[0]))
        updated_ms, started_ms = cursor.unpack(_TIMES)
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
        )
    except (ValueError, struct.error) as error:
        raise CorruptDataError(
            f"a value of __transaction_state, of {transactional_id!r}: {error}"
        ) from None
