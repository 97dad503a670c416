"""aiokafka, with nothing but its bootstrap address set."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

PART = TopicPartition("t", 0)


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("acks", ["all", 1, 0])
def test_it_reads_what_it_wrote(address: str, compression: str | None, acks: object) -> None:
    asyncio.run(_write_and_read(address, compression, acks))


async def _write_and_read(address: str, compression: str | None, acks: object) -> None:
    values = [b"%d" % number for number in range(300)]
    producer = AIOKafkaProducer(bootstrap_servers=address, compression_type=compression, acks=acks)
    await producer.start()
    try:
        for value in values:
            await producer.send("t", value, headers=[("h", b"1")])
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=address)
    await consumer.start()
    try:
        consumer.assign([PART])
        await consumer.seek_to_beginning(PART)
        found: list[Any] = []
        while len(found) < len(values):
            batches = await asyncio.wait_for(consumer.getmany(timeout_ms=5_000), 20)
            found += [record for records in batches.values() for record in records]
        assert [record.value for record in found] == values
        assert found[0].headers == (("h", b"1"),)
        assert await consumer.end_offsets([PART]) == {PART: 300}
    finally:
        await consumer.stop()
