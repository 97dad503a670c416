from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import logstore.aio
from logstore.api import OffsetSpec
from logstore.errors import ClientClosedError, StoreLockedError, TopicExistsError, UnknownTopicError


def test_topics(tmp_path: Path) -> None:
    async def main() -> None:
        async with logstore.aio.open(tmp_path / "data") as store:
            created = await store.create_topic("t", partitions=2, configs={"retention_ms": "1000"})
            assert (created.name, len(created.partitions)) == ("t", 2)
            with pytest.raises(TopicExistsError):
                await store.create_topic("t")
            await store.create_topic("t", exist_ok=True)
            altered = await store.alter_topic("t", set_configs={"retention_ms": "2000"})
            assert altered.configs["retention_ms"] == "2000"
            assert len((await store.add_partitions("t", total=3)).partitions) == 3
            assert (await store.describe_topic("t")).name == "t"
            assert [info.name for info in await store.describe_topics()] == ["t"]
            await store.delete_topic("t")
            with pytest.raises(UnknownTopicError):
                await store.describe_topic("t")

    asyncio.run(main())


def test_records_and_groups(tmp_path: Path) -> None:
    async def main() -> None:
        store = await logstore.aio.open(tmp_path / "data")
        await store.create_topic("t")
        async with store.producer() as producer:
            await (await producer.send_many("t", [b"a", b"b", b"c"]))
        (end,) = await store.list_offsets([("t", 0, OffsetSpec.LATEST)])
        assert end.offset == 3
        async with store.consumer("t", group="g", auto_offset_reset="earliest") as consumer:
            records = [await anext(aiter(consumer)) for _ in range(2)]
            assert [record.value for record in records] == [b"a", b"b"]
        (committed,) = await store.committed_offsets("g")
        assert committed.offset == 2
        assert [group.group_id for group in await store.list_groups()] == ["g"]
        assert (await store.describe_group("g")).offsets[0].lag == 1
        (moved,) = await store.reset_offsets("g", "earliest", topics=["t"], dry_run=True)
        assert moved.offset == 0
        await store.delete_offsets("g", [("t", 0)])
        assert await store.committed_offsets("g", [("t", 0)]) == [("t", 0, -1, -1, "", -1)]
        await store.delete_group("g")
        assert await store.list_groups() == []
        assert await store.delete_records("t", 0, before_offset=1) == 1
        await store.close()
        await store.close()

    asyncio.run(main())


def test_closing_the_store_closes_what_it_made(tmp_path: Path) -> None:
    async def main() -> None:
        async with logstore.aio.open(tmp_path / "data") as store:
            await store.create_topic("t")
            producer, consumer = store.producer(linger_ms=60_000), store.consumer("t")
            delivery = await producer.send("t", b"x")
            await consumer.poll(0)
        assert (await delivery).offset == 0
        assert producer.closed
        assert consumer.closed
        assert store.closed
        with pytest.raises(ClientClosedError):
            await store.create_topic("u")

    asyncio.run(main())


def test_an_error_of_opening_comes_to_whoever_opens(tmp_path: Path) -> None:
    async def main() -> None:
        async with logstore.aio.open(tmp_path / "data"):
            with pytest.raises(StoreLockedError):
                await logstore.aio.open(tmp_path / "data")

    asyncio.run(main())
