"""A server on a thread of the test's process, over any ServedLogStore."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import uvloop

from logstore_server.app import serve
from logstore_server.config import KafkaConfig, RpcConfig, ServerConfig


class InProcessServer:
    """Serves `store` from construction to `close`; `address` is "host:port"."""

    def __init__(
        self,
        store,
        *,
        rpc: RpcConfig | None = None,
        kafka: KafkaConfig | None = None,
        grace_ms: int = 5_000,
        port: int = 0,
    ) -> None:
        self.store = store
        self._config = ServerConfig(
            data_dir="unused",
            shutdown_grace_ms=grace_ms,
            rpc=replace(rpc or RpcConfig(), port=port),
            kafka=kafka or KafkaConfig(enabled=False),
        )
        self.address = ""
        self.kafka = ""
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()

        def ready(addresses: dict[str, str]) -> None:
            self.address = addresses["grpc"]
            self.kafka = addresses.get("kafka", "")
            self._ready.set()

        await serve(self._config, self.store, ready=ready, stop=self._stop)

    def begin_stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    def close(self) -> None:
        if self._thread.is_alive():
            self.begin_stop()
            self._thread.join(20)
            assert not self._thread.is_alive()

    def __enter__(self) -> InProcessServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
