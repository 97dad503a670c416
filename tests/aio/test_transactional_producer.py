from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import logstore.aio
from logstore.aio import AsyncTransactionalProducer
from logstore.errors import InvalidTransactionStateError, ProducerFencedError


async def send_and_raise(producer: AsyncTransactionalProducer) -> None:
    async with producer.transaction():
        await producer.send("t", b"never")
        raise ZeroDivisionError


def test_transactions_in_a_loop(tmp_path: Path) -> None:
    async def main() -> list[bytes | None]:
        told: list[bool] = []
        async with logstore.aio.open(tmp_path / "data") as store:
            await store.create_topic("t", partitions=2)
            producer = await store.transactional_producer(
                "x", on_delivery=lambda delivery: told.append(delivery.error is None)
            )
            async with producer.transaction():
                await producer.send("t", b"1")
            with pytest.raises(ZeroDivisionError):
                await send_and_raise(producer)
            with pytest.raises(InvalidTransactionStateError):
                await producer.send("t", b"outside")
            await producer.begin_transaction()
            await producer.send("t", b"2")
            async with store.consumer("t", group="g", auto_offset_reset="earliest") as consumer:
                await consumer.poll(2)
                await producer.send_offsets(await consumer.group_offsets())
            await producer.commit_transaction()
            await store.transactional_producer("x")
            await producer.begin_transaction()
            await producer.send("t", b"zombie")
            with pytest.raises((ProducerFencedError, InvalidTransactionStateError)):
                await producer.commit_transaction()
            await producer.close()
            found: list[bytes | None] = []
            async with store.consumer("t", auto_offset_reset="earliest") as reader:
                while len(found) < 2:
                    found += [record.value for record in await reader.poll(2)]
            assert True in told
            return sorted(found, key=lambda value: value or b"")

    assert asyncio.run(main()) == [b"1", b"2"]
