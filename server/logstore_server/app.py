"""A server process from start to end: open the store, listen, serve, and stop in order.

    open store -> bridge -> listeners start -> ready -> (SIGTERM, SIGINT) ->
    stop accepting -> drain within the grace -> stop -> flush and close the store, marked clean

What was acknowledged is on disk by then in any case; the orderly end saves clients a retry and
the next start a recovery. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import uvloop

from logstore.api import ServedLogStore
from logstore.store import LocalLogStore
from logstore_server.bridge import StoreBridge
from logstore_server.buffers import keep_large_buffers
from logstore_server.config import ServerConfig
from logstore_server.kafka.listener import KafkaListener
from logstore_server.listener import Listener
from logstore_server.open_files import allow_open_files
from logstore_server.rpc.listener import RpcListener

Addresses = dict[str, str]  # listener's name -> "host:port"


async def serve(
    config: ServerConfig,
    store: ServedLogStore,
    *,
    ready: Callable[[Addresses], None],
    stop: asyncio.Event,
) -> None:
    """Serve `store`, which stays the caller's to close, until `stop` is set.

    `ready` is called once when all listeners answer. Raises OSError if one cannot listen.
    """
    bridge = StoreBridge(store, worker_threads=config.worker_threads)
    bridge.start()
    listeners = make_listeners(bridge, config)
    started: list[Listener] = []
    try:
        addresses = {}
        for listener in listeners:
            addresses[listener.name] = await listener.start()
            started.append(listener)
        ready(addresses)
        await stop.wait()
    finally:
        await _stop(started, config.shutdown_grace_ms / 1000)
        await bridge.close()


def make_listeners(bridge: StoreBridge, config: ServerConfig) -> list[Listener]:
    listeners: list[Listener] = [RpcListener(bridge, config.rpc, host=config.host)]
    if config.kafka.enabled:
        listeners.append(KafkaListener(bridge, config.kafka, host=config.host))
    return listeners


async def _stop(listeners: Sequence[Listener], grace_s: float) -> None:
    for listener in listeners:
        await listener.stop_accepting()
    await asyncio.gather(*(listener.drain(grace_s) for listener in listeners))
    for listener in listeners:
        await listener.stop()


def run(config: ServerConfig) -> int:
    """A whole process: returns its exit code, 0 after an orderly end.

    Prints one line with the addresses once it answers, and what recovery had to mend before.
    Raises what opening the store and listening raise: LogStoreError, OSError.
    """
    keep_large_buffers()
    allow_open_files(config)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(config))
    return 0


async def _run(config: ServerConfig) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def told_to_stop(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)  # the next one ends the process

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop, number)
    with ThreadPoolExecutor(config.store.flush_threads, "logstore-sync") as executor:
        store = LocalLogStore.open(
            config.data_dir, config=config.store, endpoint=config.endpoint, executor=executor
        )
        try:
            for note in store.recovery_notes:
                _say(f"recovery: {note}", sys.stderr)

            def ready(addresses: Addresses) -> None:
                places = ", ".join(f"{name} {address}" for name, address in addresses.items())
                _say(f"logstore serves {config.data_dir} at {places}", sys.stdout)

            await serve(config, store, ready=ready, stop=stop)
        finally:
            await asyncio.to_thread(store.close)


def _say(line: str, stream: object) -> None:
    print(line, file=stream, flush=True)  # type: ignore[call-overload]
