"""The records of logstore's own topics, read as the engine reads them."""

from __future__ import annotations

from collections.abc import Callable

from logstore.catalog import OFFSETS_TOPIC, TRANSACTIONS_TOPIC
from logstore.errors import CorruptDataError
from logstore.group.offset_records import (
    ClassicGroupKey,
    OffsetKey,
    decode_classic_group,
    decode_group_epoch,
    decode_key,
    decode_offset,
)
from logstore.txn import transaction_records

ReadRecord = Callable[[bytes | None, bytes | None], object]  # key, value; raises CorruptDataError


def _read_offset(key: bytes | None, value: bytes | None) -> None:
    if key is None:
        raise CorruptDataError("a record without a key")
    found = decode_key(key)
    if found is None or value is None:
        return
    if isinstance(found, OffsetKey):
        decode_offset(value)
    elif isinstance(found, ClassicGroupKey):
        decode_classic_group(value)
    else:
        decode_group_epoch(value)


def _read_transaction(key: bytes | None, value: bytes | None) -> None:
    if key is None:
        raise CorruptDataError("a record without a key")
    found = transaction_records.decode_key(key)
    if found is not None and value is not None:
        transaction_records.decode_value(found, value)


_READERS: dict[str, ReadRecord] = {
    OFFSETS_TOPIC: _read_offset,
    TRANSACTIONS_TOPIC: _read_transaction,
}


def reader_of(topic: str) -> ReadRecord | None:
    """What must be able to read the topic's records; None for a topic of users. The catalog is read
    by whoever wants to know the topics."""
    return _READERS.get(topic)
