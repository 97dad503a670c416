from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logstore.store import LocalLogStore
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore
from tests.server.rpc.stubs import Stubs


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalLogStore]:
    store = LocalLogStore.open(str(tmp_path / "data"))
    yield store
    store.close()


@pytest.fixture
def server(store: LocalLogStore) -> Iterator[InProcessServer]:
    with InProcessServer(store) as server:
        yield server


@pytest.fixture
def stubs(server: InProcessServer) -> Iterator[Stubs]:
    with Stubs(server.address) as stubs:
        yield stubs


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def memory_server(memory: MemoryStore) -> Iterator[InProcessServer]:
    with InProcessServer(memory) as server:
        yield server


@pytest.fixture
def memory_stubs(memory_server: InProcessServer) -> Iterator[Stubs]:
    with Stubs(memory_server.address) as stubs:
        yield stubs
