from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import logstore.aio
from logstore.aio import AsyncStore
from logstore.client import Delivery
from logstore.errors import BatchTooLargeError, ClientClosedError, UnknownTopicError


@pytest.fixture
def in_store(tmp_path: Path) -> Callable[[Callable[[AsyncStore], Awaitable[None]]], None]:
    """Runs a coroutine function with an open store that has the topic t (4 partitions)."""

    def run(body: Callable[[AsyncStore], Awaitable[None]]) -> None:
        async def main() -> None:
            async with logstore.aio.open(tmp_path / "data") as store:
                await store.create_topic("t", partitions=4)
                await body(store)

        asyncio.run(main())

    return run


InStore = Callable[[Callable[[AsyncStore], Awaitable[None]]], None]


async def values_of(store: AsyncStore, topic: str, partition: int) -> list[bytes | None]:
    async with store.consumer(auto_offset_reset="earliest") as consumer:
        await consumer.assign([(topic, partition)])
        return [record.value async for record in consumer.records(idle_timeout=0)]


def test_send_gives_a_delivery_to_await(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        async with store.producer(linger_ms=60_000) as producer:
            first = await producer.send("t", b"a", partition=2, timestamp_ms=1000)
            second = await producer.send("t", b"b", partition=2, headers={"h": b"1"})
            assert not first.done
            stored = await first  # does not linger
            assert (stored.topic, stored.partition, stored.offset) == ("t", 2, 0)
            assert stored.timestamp == 1000
            assert (await second).offset == 1
            assert (await second).offset == 1
            assert second.done
        assert await values_of(store, "t", 2) == [b"a", b"b"]

    in_store(body)


def test_records_keep_the_order_of_the_calls(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        wanted = [b"%d" % number for number in range(3000)]
        # small buffer: many sends have to wait for room, in the worker, and the rest behind them
        options = {"batch_bytes": 1024, "buffer_bytes_max": 4096, "linger_ms": 0}
        async with store.producer(**options) as producer:
            for value in wanted:
                await producer.send("t", value, partition=0)
        assert await values_of(store, "t", 0) == wanted

    in_store(body)


def test_send_many_flush_and_the_callback(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        told: list[int] = []
        loop = asyncio.get_running_loop()

        def tell(done: Delivery) -> None:
            assert asyncio.get_running_loop() is loop
            told.append(done.result(0).offset)

        producer = store.producer(linger_ms=60_000, on_delivery=tell)
        runs = await producer.send_many("t", [b"x"] * 5, partition=1)
        single = await producer.send("t", b"y", partition=1)
        await producer.flush()
        assert single.done
        ((topic, partition, base_offset, records),) = await runs
        assert (topic, partition, base_offset, records) == ("t", 1, 0, 5)
        assert await single == ("t", 1, 5, (await single).timestamp)
        while not told:
            await asyncio.sleep(0)
        assert told == [5]
        await producer.close()

    in_store(body)


def test_errors_come_to_whoever_awaits(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        async with store.producer() as producer:
            with pytest.raises(UnknownTopicError):
                await producer.send("nowhere", b"x")
            with pytest.raises(BatchTooLargeError):
                await producer.send("t", bytes(9 << 20))
            with pytest.raises(UnknownTopicError):
                await producer.send_many("nowhere", [b"x"])
        assert producer.closed
        with pytest.raises(ClientClosedError):
            await producer.send("t", b"x")
        await producer.close()

    in_store(body)


def test_close_stores_what_was_sent(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        producer = store.producer(linger_ms=60_000)
        deliveries = [await producer.send("t", b"%d" % n, b"key") for n in range(100)]
        await producer.close()
        assert [(await delivery).offset for delivery in deliveries] == list(range(100))

    in_store(body)


def test_an_awaiting_task_can_be_cancelled(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        async with store.producer() as producer:
            delivery = await producer.send("t", b"x", partition=0)

            async def wait() -> None:
                await delivery

            waiting = asyncio.create_task(wait())
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await delivery).offset == 0

    in_store(body)
