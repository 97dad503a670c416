"""An event log that embeds like SQLite and serves like a broker.

    with logstore.open("data/") as store:           # or logstore.connect("localhost:7070")
        store.create_topic("orders", partitions=6)
        with store.producer() as producer:
            producer.send("orders", value=b"...", key=b"customer-42")

The names below are imported when they are first used, so that `import logstore.record` alone
stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logstore.version import __version__ as __version__

if TYPE_CHECKING:
    from logstore import api as api
    from logstore import errors as errors
    from logstore.client import Consumer as Consumer
    from logstore.client import Producer as Producer
    from logstore.client import Store as Store
    from logstore.client import TransactionalProducer as TransactionalProducer
    from logstore.client import connect as connect
    from logstore.client import open as open  # noqa: A004
    from logstore.config import StoreConfig as StoreConfig
    from logstore.errors import LogStoreError as LogStoreError
    from logstore.record import Record as Record

__all__ = [
    "Consumer",
    "LogStoreError",
    "Producer",
    "Record",
    "Store",
    "StoreConfig",
    "TransactionalProducer",
    "api",
    "connect",
    "errors",
    "open",
]

_HOMES = {
    "Consumer": "logstore.client",
    "LogStoreError": "logstore.errors",
    "Producer": "logstore.client",
    "Record": "logstore.record",
    "Store": "logstore.client",
    "StoreConfig": "logstore.config",
    "TransactionalProducer": "logstore.client",
    "connect": "logstore.client",
    "open": "logstore.client",
}


_MODULES = ("aio", "api", "errors")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"logstore.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'logstore' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
