from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from logstore.catalog import (
    CatalogState,
    Topic,
    check_partition_count,
    check_topic_name,
    producer_ids_record,
    topic_record,
    topic_removed_record,
)
from logstore.errors import (
    CorruptDataError,
    InvalidPartitionCountError,
    InvalidTopicNameError,
    UnknownTopicError,
)

ORDERS = Topic("orders", uuid.UUID(int=7), 6, {"retention_ms": "1000"})


def test_the_newest_record_of_a_topic_counts() -> None:
    grown = Topic("orders", ORDERS.topic_id, 9, {})
    state = CatalogState().apply([topic_record(ORDERS), topic_record(grown)])
    assert state.topic("orders") == grown


def test_a_removed_topic_is_unknown() -> None:
    state = CatalogState().apply([topic_record(ORDERS), topic_removed_record("orders")])
    with pytest.raises(UnknownTopicError):
        state.topic("orders")


def test_applying_leaves_the_old_state_alone() -> None:
    before = CatalogState().apply([topic_record(ORDERS)])
    before.apply([topic_removed_record("orders")])
    assert before.topic("orders") == ORDERS


def test_producer_ids_go_on_from_the_newest_record() -> None:
    state = CatalogState().apply([producer_ids_record(1000), producer_ids_record(2000)])
    assert state.next_producer_id == 2000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"other", b"{}"),
        (b"producer-ids", None),
        (b"producer-ids", b"{"),
        (b"producer-ids", b"[1]"),
        (b"producer-ids", b'{"v": 2, "next": 1}'),
        (b"topic/\xff", b"{}"),
        (b"topic/x", b'{"v": 1}'),
        (b"topic/x", b'{"v": 1, "id": "no", "partitions": 1, "configs": {}}'),
        (b"topic/x", b'{"v": 1, "id": 5, "partitions": 1, "configs": []}'),
        (b"topic/x", b"[" * 100_000),
        (b"producer-ids", b'{"v": 1, "next": Infinity}'),
        (b"producer-ids", b'{"v": 1, "next": -1}'),
        (b"producer-ids", b'{"v": 1, "next": 9223372036854775808}'),
        *((b"topic/" + name, topic_record(ORDERS)[1]) for name in (b"", b"..", b"a/b", b"a" * 250)),
        *(
            (b"topic/x", topic_record(replace(ORDERS, partitions=count))[1])
            for count in (-1, 0, 10_001)
        ),
    ],
)
def test_a_record_that_cannot_be_read_is_corruption(key: bytes, value: bytes) -> None:
    with pytest.raises(CorruptDataError, match="catalog record"):
        CatalogState().apply([(key, value)])


@pytest.mark.parametrize("name", ["a", "a" * 249, "Web.clicks_2024-01", "__mine", "..."])
def test_valid_topic_names(name: str) -> None:
    check_topic_name(name)
    assert topic_record(Topic(name, uuid.UUID(int=1), 1))[0] == b"topic/" + name.encode()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("a" * 250, "250 characters"),
        (".", "directories"),
        ("..", "directories"),
        ("a/b", "may hold"),
        ("caf\u00e9", "may hold"),
        ("a\n", "may hold"),
        ("__consumer_offsets", "belongs to logstore"),
    ],
)
def test_invalid_topic_names_say_why(name: str, why: str) -> None:
    with pytest.raises(InvalidTopicNameError, match=why):
        check_topic_name(name)


def test_partition_counts_are_bounded_by_the_topic_and_the_store() -> None:
    check_partition_count(3, minimum=3, room=1)
    with pytest.raises(InvalidPartitionCountError, match="from 3 to 3"):
        check_partition_count(4, minimum=3, room=1)
    with pytest.raises(InvalidPartitionCountError, match="from 1 to 10000"):
        check_partition_count(0, minimum=1, room=1 << 30)
