"""The order in which a server calls its listeners."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from logstore_server import app
from logstore_server.config import RpcConfig, ServerConfig
from tests.server.memory_store import MemoryStore

CONFIG = ServerConfig("unused", rpc=RpcConfig(port=0))


class Recorder:
    name = "recorder"

    def __init__(self, *, fails: bool = False) -> None:
        self.calls: list[str] = []
        self._fails = fails

    async def start(self) -> str:
        self.calls.append("start")
        if self._fails:
            raise OSError("taken")
        return "nowhere:1"

    async def stop_accepting(self) -> None:
        self.calls.append("stop_accepting")

    async def drain(self, grace_s: float) -> None:
        self.calls.append(f"drain {grace_s:g}")

    async def stop(self) -> None:
        self.calls.append("stop")


def serve(monkeypatch: pytest.MonkeyPatch, *listeners: Recorder) -> dict[str, str]:
    found: dict[str, str] = {}

    async def scenario() -> None:
        stop = asyncio.Event()

        def ready(addresses: dict[str, str]) -> None:
            found.update(addresses)
            stop.set()

        store: Any = MemoryStore()
        await app.serve(CONFIG, store, ready=ready, stop=stop)

    monkeypatch.setattr(app, "make_listeners", lambda bridge, config: list(listeners))
    asyncio.run(scenario())
    return found


def test_the_order_of_a_life(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Recorder()
    assert serve(monkeypatch, listener) == {"recorder": "nowhere:1"}
    assert listener.calls == ["start", "stop_accepting", "drain 10", "stop"]


def test_one_that_cannot_start_takes_down_those_that_did(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = Recorder(), Recorder(fails=True)
    with pytest.raises(OSError, match="taken"):
        serve(monkeypatch, good, bad)
    assert good.calls == ["start", "stop_accepting", "drain 10", "stop"]
    assert bad.calls == ["start"]
