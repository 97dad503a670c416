from __future__ import annotations

import threading

import pytest

from logstore.clock import Clock
from logstore.testing import ManualClock


def test_both_clocks_advance_together() -> None:
    clock: Clock = (manual := ManualClock(now_ms=5_000, monotonic=2.0))
    for _ in range(10):
        manual.advance(0.1)
    assert (clock.now_ms(), clock.monotonic()) == (6_000, 3.0)


def test_the_wall_clock_jumps_both_ways_and_the_other_does_not_notice() -> None:
    clock = ManualClock(monotonic=1.0)
    for now_ms in (10, 99_999_999_999_999, 0):
        clock.set_now_ms(now_ms)
        assert (clock.now_ms(), clock.monotonic()) == (now_ms, 1.0)
    clock.advance(1.5)
    assert (clock.now_ms(), clock.monotonic()) == (1_500, 2.5)


def test_time_does_not_go_back() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="set_now_ms"):
        clock.advance(-1)


def test_threads_may_share_it() -> None:
    clock = ManualClock(now_ms=0)

    def step() -> None:
        for _ in range(1_000):
            clock.advance(0.001)

    threads = [threading.Thread(target=step) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (clock.now_ms(), clock.monotonic()) == (4_000, 4.0)
