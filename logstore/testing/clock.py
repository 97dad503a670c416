"""A clock that only moves when it is told to."""

from __future__ import annotations

import threading


class ManualClock:
    """logstore.clock.Clock for tests: `advance` moves wall clock and monotonic clock together,
    `set_now_ms` makes the wall clock alone jump, in either direction, as real ones do.

    `now_ms`: wall-clock milliseconds since the epoch; `monotonic`: seconds. Thread-safe.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000, monotonic: float = 0.0) -> None:
        self._lock = threading.Lock()
        # Whole nanoseconds: ten steps of 0.1 s are one second, on both clocks.
        self._now_ns = now_ms * 1_000_000
        self._monotonic_ns = round(monotonic * 1e9)

    def now_ms(self) -> int:
        return self._now_ns // 1_000_000

    def monotonic(self) -> float:
        return self._monotonic_ns / 1e9

    def advance(self, seconds: float) -> None:
        """Let time pass; raises ValueError for negative seconds."""
        if seconds < 0:
            raise ValueError("monotonic time does not go back; set_now_ms moves the wall clock")
        step_ns = round(seconds * 1e9)
        with self._lock:
            self._monotonic_ns += step_ns
            self._now_ns += step_ns

    def set_now_ms(self, now_ms: int) -> None:
        """Set the wall clock; the monotonic clock does not notice."""
        with self._lock:
            self._now_ns = now_ms * 1_000_000
