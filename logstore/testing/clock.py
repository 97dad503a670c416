"""A clock that only moves when it is told to."""

from __future__ import annotations

import threading


class ManualClock:
    """logstore.clock.Clock for tests. Wall time and monotonic time move together with `advance`;
    `set_now_ms` makes the wall clock jump, in either direction, as real ones do. Thread-safe."""

    def __init__(self, now_ms: int = 1_700_000_000_000, monotonic: float = 0.0) -> None:
        self._lock = threading.Lock()
        self._now_ms = float(now_ms)
        self._monotonic = monotonic

    def now_ms(self) -> int:
        return int(self._now_ms)

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass; raises ValueError for negative seconds."""
        if seconds < 0:
            raise ValueError("time does not go back; see set_now_ms")
        with self._lock:
            self._monotonic += seconds
            self._now_ms += seconds * 1000

    def set_now_ms(self, now_ms: int) -> None:
        with self._lock:
            self._now_ms = float(now_ms)
