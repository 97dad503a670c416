"""Which partition of a store is compacted next, and how much of that is done at a time.

One cleaning at a time, so that one key map is in memory. Each `step` handles some bytes and comes
back: whoever drives the store decides what happens in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Final

from logstore.errors import LogStoreError

if TYPE_CHECKING:
    from logstore.log.partition_log import PartitionLog

STEP_BYTES: Final = 1 << 20  # read in one step: tens of milliseconds of small records


class Cleaner:
    """Of a store. Thread-safe: one step at a time, and none after `close`."""

    def __init__(self, logs: Callable[[], Iterable[PartitionLog]], *, secret: bytes) -> None:
        self._logs = logs
        self._secret = secret  # for the hash of keys; of this opening of the store only
        self._lock = threading.Lock()
        self._running: Generator[int, None, None] | None = None
        self._chosen: PartitionLog | None = None
        self._put_off: set[PartitionLog] = set()  # their cleaning failed; tried again next time
        self._is_closed = False
        self.cleaned = 0  # cleanings done

    def begin(self) -> None:
        """Look again at all partitions: a step does nothing until then."""
        with self._lock:
            self._put_off.clear()
            if self._running is None:
                self._choose()

    def step(self) -> bool:
        """Do a part of what there is to do; whether more is left.

        Raises what made a cleaning fail (see PartitionCleaner.clean); the others go on with the
        next step.
        """
        with self._lock:
            room = STEP_BYTES
            while room > 0 and self._running is not None:
                try:
                    room -= next(self._running)
                except StopIteration:
                    self.cleaned += 1
                    self._choose()
                except Exception:
                    if self._chosen is not None:
                        self._put_off.add(self._chosen)
                    self._choose()
                    raise
            return self._running is not None

    @property
    def is_busy(self) -> bool:
        """Whether a step would find something to do."""
        return self._running is not None

    def close(self) -> None:
        """Drop the cleaning that runs. Idempotent."""
        with self._lock:
            self._is_closed = True
            self._stop()

    def _choose(self) -> None:
        """The one with the largest share of bytes not yet cleaned."""
        self._stop()
        if self._is_closed:
            return
        best = 0.0
        self._chosen = None
        for log in self._logs():
            if log in self._put_off:
                continue
            try:
                ratio = log.cleaner.dirty_ratio()
            except LogStoreError:  # it cannot be read: whoever reads it is told
                self._put_off.add(log)
                continue
            if ratio > best:
                best, self._chosen = ratio, log
        if best and self._chosen is not None:
            self._running = self._chosen.cleaner.clean(secret=self._secret)

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.close()
