"""Time as an argument. The twin for tests is logstore.testing.ManualClock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since the epoch (UTC): record timestamps, retention."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards: timeouts and deadlines."""
        ...


class SystemClock:
    """The machine's clocks. Stateless, so safe in any thread."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
