"""logstore.client.Store for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from logstore import api, client
from logstore.aio.consumer import AsyncConsumer
from logstore.aio.producer import AsyncProducer
from logstore.aio.transactional_producer import AsyncTransactionalProducer
from logstore.aio.worker import Worker

if TYPE_CHECKING:
    from types import TracebackType


class Opening:
    """A store about to be opened: `store = await opening`, or `async with opening as store`."""

    def __init__(self, make: Callable[[], client.Store]) -> None:
        self._make = make
        self._store: AsyncStore | None = None

    def __await__(self) -> Generator[Any, None, AsyncStore]:
        return self._open().__await__()

    async def _open(self) -> AsyncStore:
        worker = Worker("store")
        try:
            return AsyncStore(await worker.run(self._make), worker)
        except BaseException:
            worker.close()
            raise

    async def __aenter__(self) -> AsyncStore:
        self._store = await self
        return self._store

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._store is not None:
            await self._store.close()


def open(path: str | os.PathLike[str], **options: Any) -> Opening:  # noqa: A001
    """Open the store in directory `path`; `options` are those of logstore.open."""
    return Opening(lambda: client.open(path, **options))


def connect(endpoint: str, **options: Any) -> Opening:
    """Use the store at `endpoint`; `options` are those of logstore.connect."""
    return Opening(lambda: client.connect(endpoint, **options))


class AsyncStore:
    """A store, embedded or remote. Its verbs are those of logstore.client.Store, as coroutines.

    Belongs to one event loop. Closing it closes the producers and consumers it made.
    """

    def __init__(self, store: client.Store, worker: Worker) -> None:
        self._store = store
        self._worker = worker
        self._clients: dict[AsyncProducer | AsyncConsumer, None] = {}

    # --- topics -----------------------------------------------------------------------------

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        configs: Mapping[str, str] | None = None,
        exist_ok: bool = False,
    ) -> api.TopicInfo:
        return await self._worker.run(
            lambda: self._store.create_topic(
                name, partitions=partitions, configs=configs, exist_ok=exist_ok
            )
        )

    async def delete_topic(self, name: str) -> None:
        await self._worker.run(lambda: self._store.delete_topic(name))

    async def describe_topic(self, name: str) -> api.TopicInfo:
        return await self._worker.run(lambda: self._store.describe_topic(name))

    async def describe_topics(
        self, names: Sequence[str] | None = None, *, include_internal: bool = False
    ) -> list[api.TopicInfo]:
        return await self._worker.run(
            lambda: self._store.describe_topics(names, include_internal=include_internal)
        )

    async def alter_topic(
        self,
        name: str,
        *,
        set_configs: Mapping[str, str] | None = None,
        reset_configs: Sequence[str] = (),
    ) -> api.TopicInfo:
        return await self._worker.run(
            lambda: self._store.alter_topic(
                name, set_configs=set_configs, reset_configs=reset_configs
            )
        )

    async def add_partitions(self, name: str, *, total: int) -> api.TopicInfo:
        return await self._worker.run(lambda: self._store.add_partitions(name, total=total))

    # --- records ----------------------------------------------------------------------------

    def producer(self, **options: Any) -> AsyncProducer:
        """A new producer; `options` are those of logstore.client.Producer."""
        producer = AsyncProducer(self._store.log_store, **options)
        self._keep(producer)
        return producer

    async def transactional_producer(
        self, transactional_id: str, **options: Any
    ) -> AsyncTransactionalProducer:
        """As logstore.client.Store.transactional_producer."""
        producer = await AsyncTransactionalProducer.make(
            self._store.log_store, transactional_id, **options
        )
        self._keep(producer)
        return producer

    def consumer(self, *topics: str, **options: Any) -> AsyncConsumer:
        """A new consumer; `options` are those of logstore.client.Consumer."""
        consumer = AsyncConsumer(self._store.log_store, *topics, **options)
        self._keep(consumer)
        return consumer

    async def list_offsets(self, queries: Iterable[tuple[str, int, int]]) -> list[api.OffsetAnswer]:
        asked = list(queries)
        return await self._worker.run(lambda: self._store.list_offsets(asked))

    async def delete_records(self, topic: str, partition: int, *, before_offset: int) -> int:
        return await self._worker.run(
            lambda: self._store.delete_records(topic, partition, before_offset=before_offset)
        )

    # --- groups -----------------------------------------------------------------------------

    async def list_groups(self) -> list[api.GroupSummary]:
        return await self._worker.run(self._store.list_groups)

    async def describe_group(self, group_id: str) -> api.GroupInfo:
        return await self._worker.run(lambda: self._store.describe_group(group_id))

    async def delete_group(self, group_id: str) -> None:
        await self._worker.run(lambda: self._store.delete_group(group_id))

    async def committed_offsets(
        self, group_id: str, partitions: Iterable[tuple[str, int]] | None = None
    ) -> list[api.CommittedOffset]:
        named = None if partitions is None else list(partitions)
        return await self._worker.run(lambda: self._store.committed_offsets(group_id, named))

    async def delete_offsets(self, group_id: str, partitions: Iterable[tuple[str, int]]) -> None:
        named = list(partitions)
        await self._worker.run(lambda: self._store.delete_offsets(group_id, named))

    async def reset_offsets(
        self, group_id: str, to: api.ResetTo | str, value: int = 0, **which: Any
    ) -> list[api.CommittedOffset]:
        """`which`: topics, partitions, dry_run, as in logstore.client.Store.reset_offsets."""
        return await self._worker.run(
            lambda: self._store.reset_offsets(group_id, to, value, **which)
        )

    # --- the end ----------------------------------------------------------------------------

    def _keep(self, made: AsyncProducer | AsyncConsumer) -> None:
        self._clients = {known: None for known in self._clients if not known.closed}
        self._clients[made] = None

    @property
    def closed(self) -> bool:
        return self._worker.closed

    async def close(self) -> None:
        """Close its consumers and producers, then the store. Idempotent.

        All are closed whatever fails; the last error is raised at the end.
        """
        if self._worker.closed:
            return
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(self._close_store)
            for made in self._clients:
                closing.push_async_callback(made.close)

    async def _close_store(self) -> None:
        if self._worker.closed:
            return
        closing = self._worker.submit(self._store.close)
        self._worker.close()
        await asyncio.shield(closing)

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
