from __future__ import annotations

import asyncio
import threading

import pytest

from logstore.aio.worker import Worker, call_in
from logstore.errors import ClientClosedError


def test_calls_run_one_after_the_other_in_one_other_thread() -> None:
    async def main() -> None:
        worker = Worker("test")
        seen: list[tuple[int, str]] = []

        def call(number: int) -> int:
            seen.append((number, threading.current_thread().name))
            return number

        calls = [worker.run(lambda number=number: call(number)) for number in range(20)]  # type: ignore[misc]
        assert await asyncio.gather(*calls) == list(range(20))
        assert [number for number, _ in seen] == list(range(20))
        assert {name for _, name in seen} == {"test_0"}
        assert worker.is_idle
        worker.close()

    asyncio.run(main())


def test_a_call_outlives_the_cancellation_of_its_caller() -> None:
    async def main() -> None:
        worker = Worker("test")
        entered, may_end = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        ended = []

        def call() -> None:
            call_in(loop, entered.set)
            assert may_end.wait(10)
            ended.append(True)
            raise ValueError("nobody asks for this one")

        caller = asyncio.create_task(worker.run(call))
        await entered.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert not worker.is_idle
        may_end.set()
        await worker.run(lambda: None)
        assert ended == [True]
        worker.close()

    asyncio.run(main())


def test_a_closed_worker_runs_what_waits_and_takes_nothing_new() -> None:
    async def main() -> None:
        worker = Worker("test")
        waiting = [worker.submit(lambda: 1), worker.submit(lambda: 2)]
        worker.close()
        assert await asyncio.gather(*waiting) == [1, 2]
        with pytest.raises(ClientClosedError, match="test is closed"):
            worker.submit(lambda: 3)

    asyncio.run(main())


def test_a_call_into_a_closed_loop_is_forgotten() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    call_in(loop, lambda: None)
