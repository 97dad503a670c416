"""logstore for asyncio: the same classes, with verbs to await. See README.md.

async with logstore.aio.open("data/") as store:  # or logstore.aio.connect("localhost:7070")
    async with store.producer() as producer:
        delivery = await producer.send("orders", b"...")
        stored = await delivery
    async with store.consumer("orders", auto_offset_reset="earliest") as consumer:
        async for record in consumer:
            ...
"""

from logstore.aio.consumer import AsyncConsumer
from logstore.aio.producer import AsyncDelivery, AsyncProducer
from logstore.aio.store import AsyncStore, Opening, connect, open  # noqa: A004
from logstore.aio.transactional_producer import AsyncTransactionalProducer

__all__ = [
    "AsyncConsumer",
    "AsyncDelivery",
    "AsyncProducer",
    "AsyncStore",
    "AsyncTransactionalProducer",
    "Opening",
    "connect",
    "open",
]
