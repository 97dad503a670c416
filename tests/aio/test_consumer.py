from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import logstore.aio
from logstore.aio import AsyncStore
from logstore.api import TopicPartition
from logstore.errors import ClientClosedError, UnknownTopicError

InStore = Callable[[Callable[[AsyncStore], Awaitable[None]]], None]


@pytest.fixture
def in_store(tmp_path: Path) -> InStore:
    """Runs a coroutine function with an open store whose topic t has 10 records in partition 0."""

    def run(body: Callable[[AsyncStore], Awaitable[None]]) -> None:
        async def main() -> None:
            async with logstore.aio.open(tmp_path / "data") as store:
                await store.create_topic("t", partitions=2)
                await produce(store, range(10))
                await body(store)

        asyncio.run(main())

    return run


async def produce(store: AsyncStore, numbers: range) -> None:
    async with store.producer() as producer:
        await producer.send_many(
            "t",
            [b"%d" % number for number in numbers],
            timestamps_ms=[1000 + number for number in numbers],
            partition=0,
        )


def test_iterate_until_idle(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        async with store.consumer("t", auto_offset_reset="earliest") as consumer:
            seen = [record.offset async for record in consumer.records(idle_timeout=0)]
            assert seen == list(range(10))
            assert await consumer.position("t", 0) == 10

    in_store(body)


def test_iterate_until_closed(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        consumer = store.consumer("t", auto_offset_reset="earliest")
        seen: list[int] = []
        all_seen = asyncio.Event()

        async def read() -> None:
            async for record in consumer:
                seen.append(record.offset)
                if len(seen) == 12:
                    all_seen.set()

        reading = asyncio.create_task(read())
        await produce(store, range(10, 12))
        await all_seen.wait()
        await consumer.close()
        await reading
        assert seen == list(range(12))

    in_store(body)


def test_poll_batch_and_columns(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        async with store.consumer("t", auto_offset_reset="earliest") as consumer:
            (batch,) = await consumer.poll_batch(5)
            assert (batch.topic, batch.partition, len(batch.records)) == ("t", 0, 10)
            await consumer.seek("t", 0, 4)
            (columns,) = await consumer.poll_columns(5)
            assert list(columns.columns.offsets) == list(range(4, 10))

    in_store(body)


def test_assign_seek_pause_resume(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        async with store.consumer() as consumer:
            await consumer.assign([("t", 0)])
            assert await consumer.assignment() == {TopicPartition("t", 0)}
            assert await consumer.position("t", 0) == 10
            await consumer.seek_to_beginning()
            assert (await consumer.poll(5, max_records=1))[0].offset == 0
            await consumer.seek_to_end([("t", 0)])
            assert await consumer.poll(0) == []
            await consumer.seek_to_timestamp(1007)
            await consumer.pause(("t", 0))
            assert await consumer.paused() == {TopicPartition("t", 0)}
            assert await consumer.poll(0) == []
            await consumer.resume(("t", 0))
            assert [record.offset for record in await consumer.poll(5)] == [7, 8, 9]
            await consumer.unsubscribe()
            assert await consumer.assignment() == set()

    in_store(body)


def test_commit_and_go_on(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        options = {"group": "g", "auto_offset_reset": "earliest", "enable_auto_commit": False}
        async with store.consumer("t", **options) as consumer:
            records = await consumer.poll(30, max_records=3)
            assert len(records) == 3
            await consumer.commit()
            assert [item.offset for item in await consumer.committed(("t", 0))] == [3]
            await consumer.commit({("t", 0): 5})
        async with store.consumer("t", **options) as consumer:
            assert (await consumer.poll(30))[0].offset == 5

    in_store(body)


@pytest.mark.parametrize("is_coroutine", [True, False])
def test_rebalance_callbacks_run_in_the_loop_and_may_use_the_consumer(
    in_store: InStore, is_coroutine: bool
) -> None:
    async def body(store: AsyncStore) -> None:
        consumer = store.consumer(group="g", auto_offset_reset="earliest", enable_auto_commit=False)
        loop = asyncio.get_running_loop()
        told: list[tuple[str, list[TopicPartition]]] = []

        async def commit(parts: list[TopicPartition]) -> None:
            assert asyncio.get_running_loop() is loop
            told.append(("revoked", parts))
            await consumer.commit()

        def note(parts: list[TopicPartition]) -> None:
            assert asyncio.get_running_loop() is loop
            told.append(("assigned", parts))

        async def note_later(parts: list[TopicPartition]) -> None:
            note(parts)

        await consumer.subscribe(
            ["t"], on_assigned=note_later if is_coroutine else note, on_revoked=commit
        )
        assert len(await consumer.poll(30)) == 10
        await consumer.close()
        both = [TopicPartition("t", 0), TopicPartition("t", 1)]
        assert told == [("assigned", both), ("revoked", both)]
        assert {item.partition: item.offset for item in await store.committed_offsets("g")} == {
            0: 10
        }

    in_store(body)


def test_a_cancelled_poll_loses_no_record(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        async with store.consumer("t", group="g", auto_offset_reset="earliest") as consumer:
            assert len(await consumer.poll(30, max_records=2)) == 2
            # the poll is on its way and will hand out records that nobody takes
            polling = asyncio.create_task(consumer.poll(30, max_records=3))
            await asyncio.sleep(0)
            polling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await polling
            assert await consumer.position("t", 0) == 2
            assert [record.offset for record in await consumer.poll(30, max_records=2)] == [2, 3]
            polling = asyncio.create_task(consumer.poll(30, max_records=3))
            await asyncio.sleep(0)
            polling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await polling
        (committed,) = [item for item in await store.committed_offsets("g") if item.offset > 0]
        assert committed.offset == 4

    in_store(body)


def test_a_cancelled_poll_does_not_hold_up_the_next_call(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        async with store.consumer("t") as consumer:
            polling = asyncio.create_task(consumer.poll(3600))
            await asyncio.sleep(0)
            polling.cancel()
            await asyncio.wait_for(consumer.seek_to_beginning(), 30)
            assert len(await consumer.poll(30)) == 10

    in_store(body)


def test_errors_come_with_the_first_await(in_store: InStore) -> None:
    async def body(store: AsyncStore) -> None:
        consumer = store.consumer("nowhere")
        with pytest.raises(UnknownTopicError):
            await consumer.poll()
        await consumer.close()
        with pytest.raises(ClientClosedError):
            await consumer.poll()
        assert [record async for record in consumer] == []
        await consumer.close()

    in_store(body)
