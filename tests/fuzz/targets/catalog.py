"""Invariant: a catalog record is corrupt, or leaves only topics that a store could have made."""

from __future__ import annotations

import uuid

from logstore.catalog import (
    PARTITIONS_PER_TOPIC_MAX,
    CatalogState,
    Topic,
    check_topic_name,
    producer_ids_record,
    topic_record,
    topic_removed_record,
)
from logstore.errors import CorruptDataError
from tests.fuzz.target import Target, promised, require

SPLIT = b"\n"  # between key and value, which has none; a null value without one


def seeds() -> list[bytes]:
    records = (
        topic_record(Topic("orders", uuid.UUID(int=7), 6, {"retention_ms": "1"})),
        topic_record(Topic("a.b_c-d", uuid.UUID(int=8), PARTITIONS_PER_TOPIC_MAX, {})),
        topic_removed_record("orders"),
        producer_ids_record(2000),
    )
    return [key if value is None else key + SPLIT + value for key, value in records]


def check(data: bytes) -> object:
    key, split, value = data.partition(SPLIT)
    topic_id = uuid.UUID(int=9)
    before = CatalogState({"orders": Topic("orders", topic_id, 1)}, next_producer_id=1000)
    state = before.apply([(key, value if split else None)])
    require(state.next_producer_id < 1 << 63, "a producer id is an int64")
    for topic in state.topics.values():
        with promised:
            check_topic_name(topic.name)
            again = CatalogState().apply([topic_record(topic)])
        require(1 <= topic.partitions <= PARTITIONS_PER_TOPIC_MAX, "a number of partitions")
        require(again.topics[topic.name] == topic, "a round trip")
    with promised:
        again = CatalogState().apply([producer_ids_record(state.next_producer_id)])
    require(again.next_producer_id == state.next_producer_id, "a round trip")
    return len(state.topics), key[:6]


TARGET = Target("catalog", seeds, check, (CorruptDataError,), bytes_max=1024)
