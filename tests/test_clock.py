from __future__ import annotations

import time

from logstore.clock import SystemClock


def test_the_system_clock_counts_milliseconds_since_the_epoch() -> None:
    before = time.time_ns() // 1_000_000
    assert before <= SystemClock().now_ms() <= time.time_ns() // 1_000_000


def test_monotonic_seconds_never_fall() -> None:
    clock = SystemClock()
    first = clock.monotonic()
    assert clock.monotonic() >= first
