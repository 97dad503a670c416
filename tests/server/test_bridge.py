from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from logstore import api
from logstore.errors import DiskFullError
from logstore.pending import Pending
from logstore.reader import LeasedFetch
from logstore_server import bridge as bridge_module
from logstore_server.bridge import StoreBridge
from tests.server.memory_store import MemoryStore


@asynccontextmanager
async def bridged(store: Any) -> AsyncIterator[StoreBridge]:
    bridge = StoreBridge(store, worker_threads=2)
    bridge.start()
    try:
        yield bridge
    finally:
        await bridge.close()


class DrivenStore(MemoryStore):
    """Counts what its driver does, and has a deadline."""

    def __init__(self) -> None:
        super().__init__()
        self.deadline: float | None = None
        self.calls: list[str] = []
        self.flush_takes_s = 0.0
        self.wake: tuple[Callable[[], None], Callable[[], None]] | None = None

    def attach_driver(self, *, on_flush: Callable[[], None], on_deadline: Callable[[], None]):
        self.wake = (on_flush, on_deadline)

    def next_deadline(self) -> float | None:
        return self.deadline

    def tick(self) -> None:
        self.calls.append("tick")
        if self.deadline is not None and self.deadline <= time.monotonic():
            self.deadline = None

    def run_flush(self) -> None:
        self.calls.append("flush")
        time.sleep(self.flush_takes_s)

    def run_maintenance(self) -> None:
        self.calls.append("maintenance")
        self.deadline = None


def test_a_deadline_that_moves_forward_is_kept() -> None:
    async def scenario() -> None:
        store = DrivenStore()
        async with bridged(store):
            assert store.wake is not None
            store.deadline = time.monotonic() + 0.1
            threading.Thread(target=store.wake[1]).start()
            await asyncio.sleep(0.05)
            assert "tick" not in store.calls
            await asyncio.sleep(0.15)
            assert store.calls.count("tick") == 1

    asyncio.run(scenario())


def test_what_the_tick_leaves_due_is_for_maintenance() -> None:
    class Due(DrivenStore):
        def tick(self) -> None:
            self.calls.append("tick")

    async def scenario() -> None:
        store = Due()
        store.deadline = time.monotonic()
        async with bridged(store):
            await asyncio.sleep(0.2)
            assert store.calls.count("maintenance") == 1
            assert store.calls.count("tick") < 20

    asyncio.run(scenario())


def test_flush_rounds_do_not_overlap_and_no_wish_is_lost() -> None:
    async def scenario() -> None:
        store = DrivenStore()
        store.flush_takes_s = 0.05
        async with bridged(store):
            await asyncio.sleep(0.1)
            store.calls.clear()
            assert store.wake is not None
            for _ in range(10):
                store.wake[0]()
            await asyncio.sleep(0.25)
            assert store.calls == ["flush", "flush"]  # the round at work, and one for the rest

    asyncio.run(scenario())


def test_a_flush_that_fails_does_not_end_flushing(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(DrivenStore):
        def run_flush(self) -> None:
            super().run_flush()
            raise DiskFullError("full")

    async def scenario() -> None:
        store = Failing()
        async with bridged(store):
            assert store.wake is not None
            for _ in range(3):
                await asyncio.sleep(0.05)
                store.wake[0]()
            await asyncio.sleep(0.05)
            assert store.calls.count("flush") == 4

    asyncio.run(scenario())
    assert "a flush round failed: full" in caplog.text


def test_a_pending_becomes_a_future_from_any_thread() -> None:
    async def scenario() -> None:
        async with bridged(MemoryStore()) as bridge:
            good: Pending[int] = Pending()
            bad: Pending[int] = Pending()
            futures = [bridge.future(good), bridge.future(bad), bridge.future(Pending.completed(3))]
            threading.Thread(target=lambda: good.set_result(1)).start()
            threading.Thread(target=lambda: bad.set_error(DiskFullError("full"))).start()
            assert await futures[0] == 1
            with pytest.raises(DiskFullError):
                await futures[1]
            assert await futures[2] == 3

    asyncio.run(scenario())


def test_a_future_that_nobody_awaits_any_more_takes_its_result_quietly() -> None:
    async def scenario() -> None:
        async with bridged(MemoryStore()) as bridge:
            pending: Pending[int] = Pending()
            bridge.future(pending).cancel()
            pending.set_result(1)
            await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_posts_keep_their_order_and_survive_a_callback_that_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with bridged(MemoryStore()) as bridge:
            seen: list[int] = []

            def posting() -> None:
                for number in range(1000):
                    bridge.post(lambda number=number: seen.append(number))  # type: ignore[misc]
                    if number == 500:
                        bridge.post(lambda: 1 / 0)  # type: ignore[arg-type]

            thread = threading.Thread(target=posting)
            thread.start()
            while len(seen) < 1000:
                await asyncio.sleep(0.001)
            thread.join()
            assert seen == list(range(1000))

    asyncio.run(scenario())
    assert "ZeroDivisionError" in caplog.text


class ColdStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []
        self.closed_results = 0
        self.reading_takes_s = 0.0

    def fetch(self, positions, *, bytes_max, read_committed=False, cold_ok=False):
        self.threads.append(threading.current_thread().name)
        if cold_ok:
            time.sleep(self.reading_takes_s)
        data = memoryview(b"data" if cold_ok else b"")
        item = api.FetchedPartition("t", 0, data, 1, 0, 1, cold=not cold_ok)
        return LeasedFetch([item], [self.Lease(self)])

    class Lease:
        def __init__(self, store: ColdStore) -> None:
            self._store = store

        def close(self) -> None:
            self._store.closed_results += 1


def test_cold_bytes_are_read_in_a_worker() -> None:
    async def scenario() -> None:
        store = ColdStore()
        async with bridged(store) as bridge:
            result = await bridge.fetch([], bytes_max=1, read_committed=False)
            assert bytes(result.partitions[0].data) == b"data"
            assert [name.startswith("logstore-worker") for name in store.threads] == [False, True]
            assert store.closed_results == 1
            result.close()

    asyncio.run(scenario())


def test_a_cold_read_that_nobody_waits_for_gives_its_leases_back() -> None:
    async def scenario() -> None:
        store = ColdStore()
        store.reading_takes_s = 0.1
        async with bridged(store) as bridge:
            reading = asyncio.create_task(bridge.fetch([], bytes_max=1, read_committed=False))
            await asyncio.sleep(0.03)
            reading.cancel()
            await asyncio.sleep(0.2)
            assert store.closed_results == 2

    asyncio.run(scenario())


class CountingStore(DrivenStore):
    """Notes how many appends were counted when each of its rounds began."""

    def __init__(self) -> None:
        super().__init__()
        self.appended = 0
        self.begun_with: list[int] = []
        self.flushed = threading.Semaphore(0)

    def run_flush(self) -> None:
        self.begun_with.append(self.appended)
        self.flushed.release()

    def want(self, bridge: StoreBridge, appends: int) -> None:
        assert self.wake is not None
        for _ in range(appends):
            self.appended += 1
            bridge.count_append()
        self.wake[0]()


def test_a_round_of_several_clients_waits_for_more_and_one_of_a_lone_client_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bridge_module, "GATHER_SLICE_S", 1.0)
    monkeypatch.setattr(bridge_module, "GATHER_S_MAX", 5.0)
    store = CountingStore()

    async def go() -> None:
        async with bridged(store) as bridge:
            await asyncio.to_thread(store.flushed.acquire)  # what was wanted before the start
            start = time.monotonic()
            for _ in range(3):  # alone: each append has its round
                store.want(bridge, 1)
                await asyncio.to_thread(store.flushed.acquire)
            assert store.begun_with == [0, 1, 2, 3]
            assert time.monotonic() - start < 1.0
            store.want(bridge, 5)
            await asyncio.to_thread(store.flushed.acquire)
            assert store.begun_with[4:] == [8]
            store.want(bridge, 1)
            await asyncio.sleep(0.05)
            assert store.begun_with[5:] == []  # it waits for more
            store.want(bridge, bridge_module.GATHER_APPENDS - 1)
            await asyncio.to_thread(store.flushed.acquire)
            assert store.begun_with[5] == 8 + bridge_module.GATHER_APPENDS

    asyncio.run(go())
