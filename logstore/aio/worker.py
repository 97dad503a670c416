"""One thread beside the event loop, for the calls of one object that may block."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from logstore.errors import ClientClosedError

T = TypeVar("T")


class Worker:
    """Runs calls one after the other in the order they came. Used from the loop's thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._jobs = 0
        self._closed = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits to run."""
        return self._jobs == 0

    @property
    def closed(self) -> bool:
        return self._closed

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Raises ClientClosedError after close."""
        if self._closed:
            raise ClientClosedError(f"the {self._name} is closed")
        self._jobs += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        future.add_done_callback(self._done)
        return future

    async def run(self, call: Callable[[], T]) -> T:
        """The call's result. It runs to its end even if the caller is cancelled meanwhile."""
        return await asyncio.shield(self.submit(call))

    def close(self) -> None:
        """No more calls; those that wait still run."""
        self._closed = True
        self._executor.shutdown(wait=False)

    def _done(self, future: asyncio.Future[T]) -> None:
        self._jobs -= 1
        if not future.cancelled():
            future.exception()  # whoever was cancelled does not ask for it


def call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Run `call` in the loop's thread, soon; not at all once the loop is closed."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
