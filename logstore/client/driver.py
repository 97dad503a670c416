"""The one thread that logstore.open() starts: it does for an embedded store what has to be done
without anybody asking. Flush rounds that nobody leads, sessions that end, retention.
"""

from __future__ import annotations

import logging
import threading

from logstore.api import ServedLogStore
from logstore.clock import Clock
from logstore.errors import LogStoreError

WAIT_SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.05  # after an error, so that one that stays does not take the processor
_log = logging.getLogger(__name__)


class DriverThread:
    """Drives `store` until `stop`. Errors are logged under this module's name; it goes on."""

    def __init__(self, store: ServedLogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._wanted = threading.Event()
        self._is_flush_wanted = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logstore-driver", daemon=True)
        store.attach_driver(on_flush=self._flush, on_deadline=self._wanted.set)
        self._thread.start()

    def stop(self) -> None:
        """Waits for what it is at; then it does nothing any more."""
        self._stop.set()
        self._wanted.set()
        self._thread.join()

    def _flush(self) -> None:
        self._is_flush_wanted = True
        self._wanted.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wanted.clear()
            try:
                self._work()
                delay = self._idle_seconds()
            except LogStoreError as error:
                _log.warning("the store's driver: %s", error)
                self._stop.wait(PAUSE_SECONDS)
            except Exception:
                _log.exception("the store's driver failed and goes on")
                self._stop.wait(PAUSE_SECONDS)
            else:
                if delay > 0:
                    self._wanted.wait(delay)

    def _idle_seconds(self) -> float:
        if self._is_flush_wanted:
            return 0.0
        due = self._store.next_deadline()
        delay = WAIT_SECONDS_MAX if due is None else due - self._clock.monotonic()
        return min(delay, WAIT_SECONDS_MAX)

    def _work(self) -> None:
        if self._is_flush_wanted:
            self._is_flush_wanted = False
            self._store.run_flush()
        self._store.tick()
        self._store.run_maintenance()
