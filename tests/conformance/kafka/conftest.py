from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from logstore.store import LocalLogStore
from logstore_server.config import KafkaConfig
from tests.server.in_process import InProcessServer

with warnings.catch_warnings():
    # kafka-python reads its schemas by a deprecated call when it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcessServer]:
    store = LocalLogStore.open(str(tmp_path / "data"))
    with InProcessServer(store, kafka=KafkaConfig(port=0)) as server:
        yield server
    store.close()


@pytest.fixture
def address(server: InProcessServer) -> str:
    """For `bootstrap.servers`."""
    return server.kafka
