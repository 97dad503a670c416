"""Against bytes put together by hand from Kafka's schemas, and damaged ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.api import TopicPartition, TransactionVersion
from logstore.errors import CorruptDataError
from logstore.txn.transaction import Transaction, TransactionState
from logstore.txn.transaction_records import decode_key, decode_value, encode_key, encode_value

EXAMPLE = Transaction(
    "order-1",
    producer_id=258,
    epoch=3,
    timeout_ms=60_000,
    state=TransactionState.PREPARE_COMMIT,
    partitions=frozenset({TopicPartition("t", 2), TopicPartition("t", 0)}),
    started_ms=5,
    updated_ms=6,
)
EXAMPLE_HEX = (
    "0000 0000000000000102 0003 0000ea60 02"  # version, producer id, epoch, timeout, state
    "00000001 0001 74 00000002 00000000 00000002"  # topics: "t" with partitions 0 and 2
    "0000000000000006 0000000000000005"  # last update, start
)


def test_the_example_in_bytes() -> None:
    assert encode_value(EXAMPLE) == bytes.fromhex(EXAMPLE_HEX)
    assert encode_key("order-1") == b"\0\0\0\x07order-1"


ONE = replace(EXAMPLE, version=TransactionVersion.ONE)
ONE_HEX = (
    "0001 0000000000000102 0003 0000ea60 02"
    "02 02 74 03 00000000 00000002 00"  # the same in compact form, no tagged field of the topic
    "0000000000000006 0000000000000005"
    "01 02 02 0001"  # one tagged field: tag 2, two bytes, version 1
)


def test_the_example_of_version_one_in_bytes() -> None:
    assert encode_value(ONE) == bytes.fromhex(ONE_HEX)
    assert decode_value("order-1", bytes.fromhex(ONE_HEX)) == ONE
    without = bytes.fromhex(ONE_HEX)[:-5] + b"\0"  # as of an older Kafka
    assert decode_value("order-1", without) == ONE


_ids = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())
_partitions = st.frozensets(st.builds(TopicPartition, st.just("t") | _ids, st.integers(0, 99)))


@given(
    st.builds(
        Transaction,
        _ids,
        st.integers(0, (1 << 63) - 1),
        st.integers(0, (1 << 15) - 1),
        st.integers(1, (1 << 31) - 1),
        st.sampled_from(TransactionState),
        _partitions,
        st.integers(-1, 1 << 60),
        st.integers(-1, 1 << 60),
        st.sampled_from(TransactionVersion),
    )
)
def test_round_trip(transaction: Transaction) -> None:
    key = decode_key(encode_key(transaction.transactional_id))
    assert key == transaction.transactional_id
    assert decode_value(key, encode_value(transaction)) == transaction


def test_a_key_of_another_version_is_passed_over() -> None:
    assert decode_key(b"\0\1\0\1x") is None


def test_damaged_records_are_refused() -> None:
    key, value = encode_key("order-1"), encode_value(EXAMPLE)
    for whole in (value, encode_value(ONE)):
        for length in range(len(whole)):
            with pytest.raises(CorruptDataError):
                decode_value("order-1", whole[:length])
    for length in range(len(key)):
        with pytest.raises(CorruptDataError):
            decode_key(key[:length])
    for bad in (
        value + b"\0",
        b"\0\1" + value[2:],
        b"\0\2" + value[2:],
        value[:16] + b"\x09" + value[17:],
    ):
        with pytest.raises(CorruptDataError, match="order-1"):
            decode_value("order-1", bad)
