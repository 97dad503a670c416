from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logstore.remote import RemoteLogStore, connect_store
from logstore.store import LocalLogStore
from tests.remote.proxy import Proxy
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalLogStore]:
    store = LocalLogStore.open(str(tmp_path / "data"))
    yield store
    store.close()


@pytest.fixture
def server(local: LocalLogStore) -> Iterator[InProcessServer]:
    with InProcessServer(local) as server:
        yield server


@pytest.fixture
def store(server: InProcessServer) -> Iterator[RemoteLogStore]:
    store = connect_store(server.address)
    yield store
    store.close()


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def memory_server(memory: MemoryStore) -> Iterator[InProcessServer]:
    with InProcessServer(memory) as server:
        yield server


@pytest.fixture
def proxy(memory_server: InProcessServer) -> Iterator[Proxy]:
    with Proxy(memory_server.address) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: Proxy) -> Iterator[RemoteLogStore]:
    """A client of the memory server, by way of the proxy."""
    store = connect_store(proxy.address)
    yield store
    store.close()
