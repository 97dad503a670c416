"""The asyncio loop as the store's driver, and the store's waits as awaitables.

The store is synchronous, thread-safe and starts no thread. Here

- its flush rounds run one after the other in a thread of their own, and those of many clients
  wait a moment for more appends to share them,
- its clock-driven work (`tick`) hangs on one timer of the loop, moved as `next_deadline` moves,
- its maintenance and whatever may block run in a pool of `worker_threads`,
- its callbacks, which come from any thread, enter the loop through one mailbox, so that a flush
  which answers a thousand appends wakes the loop once.

A StoreBridge belongs to one running event loop; only `post` and what it gives to the store may be
called from other threads.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from logstore.api import FetchPosition, FetchResult, Registration, ServedLogStore
from logstore.errors import LogStoreError
from logstore.pending import Pending

T = TypeVar("T")
P = ParamSpec("P")

_log = logging.getLogger(__name__)

# A deadline that is due but whose work runs in a thread (a flush round, maintenance) stays due
# until that thread is done; looking again sooner than this would only burn the loop's time.
TICK_INTERVAL_S_MIN = 0.005
MAINTENANCE_INTERVAL_S_MIN = 0.02
# Appends of many clients come one after the other. A flush round whose predecessor was shared waits
# for more of them, as long as they keep coming, so that they share a sync: up to five slices.
GATHER_APPENDS = 10
GATHER_SLICE_S = 0.0004
GATHER_S_MAX = 0.002
TIMER_S_MAX = 60.0  # also the bound on what a step of the clock can delay


class StoreBridge:
    """Drives `store` from the running event loop; see the module."""

    def __init__(
        self,
        store: ServedLogStore,
        *,
        worker_threads: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self._loop = asyncio.get_running_loop()
        self._monotonic = monotonic
        self._workers = ThreadPoolExecutor(worker_threads, thread_name_prefix="logstore-worker")
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="logstore-flush")
        self._flush_lock = threading.Lock()  # guards the next two; held for no call
        self._flushing = False
        self._flush_again = False
        self._appends = 0  # that waited for a flush; counted in the loop
        self._last_round_at = 0  # that many appends
        self._was_shared = False
        self._ended = threading.Event()
        self._mail: deque[Callable[[], None]] = deque()
        self._mail_wanted = False  # a delivery is under way; set and reset under _mail_lock
        self._mail_lock = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._maintaining = False
        self._maintained_at = -MAINTENANCE_INTERVAL_S_MIN
        self._closed = False

    def start(self) -> None:
        self.store.attach_driver(
            on_flush=self._flush_wanted, on_deadline=lambda: self.post(self._plan)
        )
        self._flush_wanted()  # what was wanted before there was a driver
        self._plan()

    async def close(self) -> None:
        """Finish the flush round and the calls in threads. Called once listeners are stopped."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.to_thread(self._shut_down_pools)

    def _shut_down_pools(self) -> None:
        self._ended.set()
        self._workers.shutdown()
        self._flusher.shutdown()

    # --- from the store's threads into the loop -----------------------------------------------

    def post(self, callback: Callable[[], None]) -> None:
        """Run `callback` in the loop, in the order of the posts. From any thread."""
        self._mail.append(callback)
        with self._mail_lock:
            if self._mail_wanted or self._closed:
                return
            self._mail_wanted = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop has ended; nobody is left to be told
            return

    def _deliver(self) -> None:
        with self._mail_lock:
            self._mail_wanted = False
        for _ in range(len(self._mail)):
            callback = self._mail.popleft()
            try:
                callback()
            except Exception:
                _log.exception("a callback of the store failed")

    def future(self, pending: Pending[T]) -> asyncio.Future[T]:
        """`pending` as a future of the loop."""
        future: asyncio.Future[T] = self._loop.create_future()

        def finish() -> None:
            if future.done():  # cancelled: the call has ended
                return
            if pending.error is not None:
                future.set_exception(pending.error)
            else:
                future.set_result(pending.result(0))

        if pending.done:
            finish()
        else:
            pending.add_done_callback(lambda _: self.post(finish))
        return future

    # --- calls --------------------------------------------------------------------------------

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function` in a worker thread: for verbs that may block.

        If the awaiting call is cancelled the function still runs to its end.
        """
        return await self._loop.run_in_executor(self._workers, lambda: function(*args, **kwargs))

    async def fetch(
        self, positions: Sequence[FetchPosition], *, bytes_max: int, read_committed: bool
    ) -> FetchResult:
        """What is there now; bytes that must come from disk are read in a worker thread.

        The caller closes the result.
        """
        result = self.store.fetch(positions, bytes_max=bytes_max, read_committed=read_committed)
        if not any(item.cold for item in result.partitions):
            return result
        result.close()
        reading = self._loop.run_in_executor(
            self._workers,
            lambda: self.store.fetch(
                positions, bytes_max=bytes_max, read_committed=read_committed, cold_ok=True
            ),
        )
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            reading.add_done_callback(_close_result)  # its leases must not stay behind
            raise

    def wait_for_data(
        self,
        positions: Sequence[FetchPosition],
        on_ready: Callable[[], None],
        *,
        read_committed: bool,
    ) -> Registration:
        """Have `on_ready` called in the loop, once, when one of the positions has news."""
        return self.store.wait_for_data(
            positions, lambda: self.post(on_ready), read_committed=read_committed
        )

    # --- driving ------------------------------------------------------------------------------

    def _flush_wanted(self) -> None:
        """From any thread: have a round run, now or after the one that runs."""
        with self._flush_lock:
            if self._flushing:
                self._flush_again = True
                return
            self._flushing = True
        try:
            self._flusher.submit(self._flush)
        except RuntimeError:  # shut down; closing the store flushes what is left
            return

    def count_append(self) -> None:
        """One more append waits for a flush. In the loop."""
        self._appends += 1

    def _gather(self) -> None:
        """In the flush thread, before a round."""
        waited_s = 0.0
        while self._was_shared and waited_s < GATHER_S_MAX:
            appends = self._appends
            if appends - self._last_round_at >= GATHER_APPENDS or self._ended.is_set():
                break
            self._ended.wait(GATHER_SLICE_S)
            waited_s += GATHER_SLICE_S
            if self._appends == appends:
                break
        appends = self._appends
        if appends != self._last_round_at:  # a round that nobody waits for says nothing
            self._was_shared = appends - self._last_round_at > 1
        self._last_round_at = appends

    def _flush(self) -> None:
        while True:
            self._gather()
            try:
                self.store.run_flush()
            except Exception as error:
                level = logging.WARNING if isinstance(error, LogStoreError) else logging.ERROR
                _log.log(level, "a flush round failed: %s", error, exc_info=level > logging.WARNING)
            with self._flush_lock:
                if not self._flush_again:
                    self._flushing = False
                    return
                self._flush_again = False

    def _plan(self) -> None:
        """Set the timer to the store's next deadline."""
        if self._closed:
            return
        deadline = self.store.next_deadline()
        delay = TIMER_S_MAX if deadline is None else deadline - self._monotonic()
        delay = min(max(delay, TICK_INTERVAL_S_MIN), TIMER_S_MAX)
        at = self._loop.time() + delay
        if self._timer is not None:
            if self._timer_at <= at:  # it will come in time, and plan anew
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self.store.tick()
        except Exception:
            _log.exception("the store's tick failed")
        now = self._monotonic()
        if not self._maintaining and now - self._maintained_at >= MAINTENANCE_INTERVAL_S_MIN:
            deadline = self.store.next_deadline()
            if deadline is not None and deadline <= now:  # not the tick's: maintenance is due
                self._maintaining = True
                self._workers.submit(self._maintain)
        self._plan()

    def _maintain(self) -> None:
        try:
            self.store.run_maintenance()
        except Exception:
            _log.exception("maintenance of the store failed")

        def done() -> None:
            self._maintaining = False
            self._maintained_at = self._monotonic()
            self._plan()

        self.post(done)


def _close_result(reading: asyncio.Future[FetchResult]) -> None:
    if not reading.cancelled() and reading.exception() is None:
        reading.result().close()
