"""logstore.client.Producer for asyncio: the same batches and the same thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from logstore.aio.worker import Worker, call_in
from logstore.api import LogStore
from logstore.client.delivery import Deliveries, Delivery, RecordMetadata, StoredRun
from logstore.client.producer import Headers, Producer
from logstore.client.producer_topic import RECORD_OVERHEAD_BYTES

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")


class AsyncDelivery(Generic[T]):
    """The fate of what was sent together: await it to learn where it was stored.

    Awaiting does not linger. Raises the error for which it was given up. May be awaited any
    number of times; nobody has to.
    """

    def __init__(self, delivery: Delivery | Deliveries, result: Callable[[], T]) -> None:
        self._delivery = delivery
        self._result = result

    @property
    def done(self) -> bool:
        return self._delivery.done

    def __await__(self) -> Generator[Any, None, T]:
        if not self._delivery.done:
            loop = asyncio.get_running_loop()
            stored: asyncio.Future[None] = loop.create_future()
            self._delivery.expedite()
            self._delivery.add_callback(lambda _: call_in(loop, lambda: _wake(stored)))
            yield from stored
        return self._result()


class AsyncProducer:
    """Sends records to a store. Close it, or use it in an `async with` statement.

    `options` are those of Producer; `on_delivery` is called in the event loop.
    """

    def __init__(
        self,
        store: LogStore,
        *,
        on_delivery: Callable[[Delivery], None] | None = None,
        **options: Any,
    ) -> None:
        self._producer = Producer(
            store, on_delivery=None if on_delivery is None else in_loop(on_delivery), **options
        )
        self._worker = Worker("producer")

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        *,
        headers: Headers | None = None,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> AsyncDelivery[RecordMetadata]:
        """Add one record, waiting for room in the buffer; see Producer.send.

            delivery = await producer.send("orders", b"...")  # it is on its way
            stored = await delivery                           # it is stored

        Records are sent in the order of the calls.
        """

        def send() -> Delivery:
            return self._producer.send(
                topic, value, key, headers=headers, timestamp_ms=timestamp_ms, partition=partition
            )

        size_bytes = len(value or b"") + len(key or b"") + RECORD_OVERHEAD_BYTES
        if headers is not None or not self._is_direct(topic, size_bytes):
            delivery = await self._worker.run(send)
        else:
            delivery = send()
        return AsyncDelivery(delivery, lambda: delivery.result(0))

    async def send_many(
        self,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        *,
        timestamps_ms: Sequence[int] | None = None,
        partition: int | None = None,
    ) -> AsyncDelivery[list[StoredRun]]:
        """Add many records by columns; see Producer.send_many."""
        deliveries = await self._worker.run(
            lambda: self._producer.send_many(
                topic, values, keys, timestamps_ms=timestamps_ms, partition=partition
            )
        )
        return AsyncDelivery(deliveries, lambda: deliveries.result(0))

    async def flush(self, timeout: float | None = None) -> None:
        """Return when all that was sent before is stored or given up."""
        await self._worker.run(lambda: self._producer.flush(timeout))

    @property
    def closed(self) -> bool:
        return self._worker.closed

    async def close(self, timeout: float | None = None) -> None:
        """Send what is left and wait for it; see Producer.close. Idempotent."""
        if self._worker.closed:
            return
        closing = self._worker.submit(lambda: self._producer.close(timeout))
        self._worker.close()
        await asyncio.shield(closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _is_direct(self, topic: str, size_bytes: int) -> bool:
        """Whether send will not block, so that no other thread is needed. Behind calls that wait
        in the worker it has to wait too: order."""
        return (
            self._worker.is_idle
            and not self._worker.closed
            and not self._producer.may_block(topic, size_bytes)
        )


def in_loop(callback: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
    """The callback, called in the loop that runs now from whatever thread."""
    loop = asyncio.get_running_loop()
    return lambda delivery: call_in(loop, lambda: callback(delivery))


def _wake(stored: asyncio.Future[None]) -> None:
    if not stored.done():
        stored.set_result(None)
