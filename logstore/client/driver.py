"""The two threads that logstore.open() starts: they do for an embedded store what has to be done
without anybody asking. One runs flush rounds that nobody leads and ends sessions in time; the other
does maintenance (retention, compaction), so that a flush never waits for that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from logstore.api import ServedLogStore
from logstore.clock import Clock
from logstore.errors import LogStoreError

WAIT_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.05  # after an error, so that one that stays does not take the processor
LOOK_SECONDS = 0.01  # between two looks at a deadline that is due and in the other thread's hands
MAINTENANCE_SHARE = 0.5  # of the time at most, while there is much to compact
_log = logging.getLogger(__name__)


class DriverThread:
    """Drives `store` until `stop`. Errors are logged under this module's name; it goes on."""

    def __init__(self, store: ServedLogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._wanted = threading.Event()
        self._is_flush_wanted = False
        self._maintenance_wanted = threading.Event()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._drive, name="logstore-driver", daemon=True),
            threading.Thread(target=self._maintain, name="logstore-maintenance", daemon=True),
        ]
        store.attach_driver(on_flush=self._flush, on_deadline=self._wanted.set)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Waits for what they are at; then they do nothing any more."""
        self._stop.set()
        self._wanted.set()
        self._maintenance_wanted.set()
        for thread in self._threads:
            thread.join()

    def _flush(self) -> None:
        self._is_flush_wanted = True
        self._wanted.set()

    # --- flush rounds and deadlines -----------------------------------------------------------

    def _drive(self) -> None:
        while not self._stop.is_set():
            self._wanted.clear()
            delay = self._guarded(self._work)
            if delay is None:
                self._stop.wait(PAUSE_SECONDS)
            elif delay > 0:
                self._wanted.wait(delay)

    def _work(self) -> float:
        """How long there is nothing to do then."""
        if self._is_flush_wanted:
            self._is_flush_wanted = False
            self._store.run_flush()
        self._store.tick()
        if self._is_flush_wanted:
            return 0.0
        due = self._store.next_deadline()
        delay = WAIT_SECONDS_MAX if due is None else due - self._clock.monotonic()
        if delay > 0:
            return min(delay, WAIT_SECONDS_MAX)
        # Neither a flush nor the tick's: maintenance is due, and stays so until it is done.
        self._maintenance_wanted.set()
        return LOOK_SECONDS

    # --- maintenance ------------------------------------------------------------------------

    def _maintain(self) -> None:
        while not self._stop.is_set():
            self._maintenance_wanted.wait()
            self._maintenance_wanted.clear()
            if self._stop.is_set():
                return
            began = self._clock.monotonic()
            self._guarded(self._run_maintenance)
            took = self._clock.monotonic() - began
            self._stop.wait(min(took * (1 / MAINTENANCE_SHARE - 1), WAIT_SECONDS_MAX))
            self._wanted.set()  # its next deadline is another now

    def _run_maintenance(self) -> float:
        self._store.run_maintenance()
        return 0.0

    @staticmethod
    def _guarded(work: Callable[[], float]) -> float | None:
        """What `work` returns; None if it failed, which is logged."""
        try:
            return work()
        except LogStoreError as error:
            _log.warning("the store's driver: %s", error)
        except Exception:
            _log.exception("the store's driver failed and goes on")
        return None
