"""Invariant: a record of __transaction_state is read, passed over or corrupt; round trips hold."""

from __future__ import annotations

from logstore.api import TopicPartition
from logstore.errors import CorruptDataError
from logstore.txn.transaction import Transaction, TransactionState
from logstore.txn.transaction_records import decode_key, decode_value, encode_key, encode_value
from tests.fuzz.target import Target, promised, require

PARTS = frozenset({TopicPartition("t", 0), TopicPartition("t", 7), TopicPartition("orders", 1)})


def transaction(state: TransactionState, parts: frozenset[TopicPartition]) -> Transaction:
    return Transaction(
        transactional_id="id",
        producer_id=7,
        epoch=3,
        timeout_ms=60_000,
        state=state,
        partitions=parts,
        started_ms=1000,
        updated_ms=2000,
    )


def seeds() -> list[bytes]:
    """The first byte: a key or a value."""
    keys = [encode_key("id"), encode_key(""), b"\0\1" + encode_key("id")[2:]]
    values = [
        encode_value(transaction(state, parts))
        for state in TransactionState
        for parts in (PARTS, frozenset())
    ]
    return [b"\0" + key for key in keys] + [b"\1" + value for value in values]


def check(data: bytes) -> object:
    if not data:
        return None
    content = data[1:]
    if data[0] % 2 == 0:
        transactional_id = decode_key(content)
        if transactional_id is not None:
            with promised:
                require(encode_key(transactional_id) == content, "key: a round trip")
        return transactional_id is None
    value = decode_value("id", content)
    with promised:
        require(decode_value("id", encode_value(value)) == value, "value: a round trip")
    return value.state, min(len(value.partitions), 4)


TARGET = Target("transaction_records", seeds, check, (CorruptDataError,), bytes_max=512)
