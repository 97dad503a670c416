"""logstore.client.TransactionalProducer for asyncio."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from logstore.aio.producer import AsyncProducer, in_loop
from logstore.aio.worker import Worker
from logstore.api import LogStore
from logstore.client import GroupOffsets, TransactionalProducer
from logstore.errors import InvalidTransactionStateError, LogStoreError


class AsyncTransactionalProducer(AsyncProducer):
    """Sends in transactions; see logstore.client.TransactionalProducer. Made by
    `await store.transactional_producer(...)`, since taking an id over waits for the disk.

        async with producer.transaction():
            await producer.send("out", b"...")
    """

    _producer: TransactionalProducer

    def __init__(self, producer: TransactionalProducer, worker: Worker) -> None:
        self._producer = producer
        self._worker = worker

    @classmethod
    async def make(
        cls, store: LogStore, transactional_id: str, **options: Any
    ) -> AsyncTransactionalProducer:
        if options.get("on_delivery") is not None:
            options["on_delivery"] = in_loop(options["on_delivery"])
        worker = Worker("producer")
        try:
            producer = await worker.run(
                lambda: TransactionalProducer(store, transactional_id, **options)
            )
        except BaseException:
            worker.close()
            raise
        return cls(producer, worker)

    async def begin_transaction(self) -> None:
        await self._worker.run(self._producer.begin_transaction)

    async def send_offsets(self, offsets: GroupOffsets) -> None:
        await self._worker.run(lambda: self._producer.send_offsets(offsets))

    async def commit_transaction(self, timeout: float | None = None) -> None:
        await self._worker.run(lambda: self._producer.commit_transaction(timeout))

    async def abort_transaction(self) -> None:
        await self._worker.run(self._producer.abort_transaction)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncTransactionalProducer]:
        """A transaction for an async with block: committed at its end, aborted if it raises."""
        await self.begin_transaction()
        try:
            yield self
        except BaseException:
            with contextlib.suppress(LogStoreError):  # the block's own error is the one to see
                await self.abort_transaction()
            raise
        try:
            await self.commit_transaction()
        except InvalidTransactionStateError:
            with contextlib.suppress(LogStoreError):
                await self.abort_transaction()
            raise
