"""A producer with transactions, of bytes: any version of each API."""

from __future__ import annotations

from typing import Any

from logstore.api import ProducerIdentity
from logstore.record import encode_batch
from tests.server.kafka.wire import Wire


def init(
    wire: Wire, name: str | None = "x", *, version: int = 4, timeout_ms: int = 60_000, **more: Any
) -> ProducerIdentity:
    answer = wire.ask(
        "init_producer_id", version, transactional_id=name, transaction_timeout=timeout_ms, **more
    )
    assert answer.error_code == 0, answer
    return ProducerIdentity(answer.producer_id, answer.producer_epoch)


def add(
    wire: Wire,
    producer: ProducerIdentity,
    topics: dict[str, list[int]],
    *,
    version: int = 3,
    name: str = "x",
) -> dict[tuple[str, int], int]:
    answer = wire.ask(
        "add_partitions_to_txn",
        version,
        v3_and_below_transactional_id=name,
        v3_and_below_producer_id=producer.producer_id,
        v3_and_below_producer_epoch=producer.producer_epoch,
        v3_and_below_topics=[
            {"name": topic, "partitions": partitions} for topic, partitions in topics.items()
        ],
    )
    return {
        (topic.name, part.partition_index): int(part.partition_error_code)
        for topic in answer.results_by_topic_v3_and_below
        for part in topic.results_by_partition
    }


def add_offsets(
    wire: Wire, producer: ProducerIdentity, *, version: int = 3, group: str = "g"
) -> int:
    answer = wire.ask(
        "add_offsets_to_txn", version, transactional_id="x", group_id=group, **fields_of(producer)
    )
    return int(answer.error_code)


def put(
    wire: Wire,
    producer: ProducerIdentity,
    value: bytes,
    at: int,
    *,
    version: int = 9,
    part: int = 0,
) -> int:
    """Into topic "t"."""
    batch = encode_batch(
        [value], timestamps=1000, base_sequence=at, is_transactional=True, **fields_of(producer)
    )
    assert version < 13, "by name"
    answer = wire.ask(
        "produce",
        version,
        transactional_id="x",
        acks=-1,
        timeout=1000,
        topic_data=[{"name": "t", "partition_data": [{"index": part, "records": batch}]}],
    )
    return int(answer.responses[0].partition_responses[0].error_code)


def commit_offsets(
    wire: Wire,
    producer: ProducerIdentity,
    offset: int,
    *,
    version: int = 3,
    topic: str = "t",
    **more: Any,
) -> int:
    answer = wire.ask(
        "txn_offset_commit",
        version,
        transactional_id="x",
        group_id="g",
        topics=[
            {
                "name": topic,
                "partitions": [
                    {
                        "partition_index": 0,
                        "committed_offset": offset,
                        "committed_metadata": None,
                    }
                ],
            }
        ],
        **fields_of(producer),
        **more,
    )
    return int(answer.topics[0].partitions[0].error_code)


def end(wire: Wire, producer: ProducerIdentity, *, commit: bool = True, version: int = 3) -> Any:
    return wire.ask(
        "end_txn", version, transactional_id="x", committed=commit, **fields_of(producer)
    )


def fields_of(producer: ProducerIdentity) -> dict[str, Any]:
    return producer._asdict()
