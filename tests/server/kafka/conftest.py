from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logstore.store import LocalLogStore
from logstore_server.config import KafkaConfig
from tests.server.in_process import InProcessServer
from tests.server.kafka.wire import Wire


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalLogStore]:
    store = LocalLogStore.open(str(tmp_path / "data"))
    yield store
    store.close()


@pytest.fixture
def server(store: LocalLogStore) -> Iterator[InProcessServer]:
    with InProcessServer(store, kafka=KafkaConfig(port=0)) as server:
        yield server


@pytest.fixture
def wire(server: InProcessServer) -> Iterator[Wire]:
    with Wire(server.kafka) as wire:
        yield wire
