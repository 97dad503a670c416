from __future__ import annotations

import threading

import pytest

from logstore.errors import LogStoreError, StoreClosedError
from logstore.log.waiters import Waiters, run_callbacks


def test_those_whose_offset_is_reached_are_taken_once() -> None:
    mark = [0]
    waiters = Waiters(lambda: mark[0])
    calls: list[str] = []
    waiters.add(1, lambda _: calls.append("one"))
    waiters.add(2, lambda _: calls.append("two"))
    mark[0] = 1
    run_callbacks(waiters.take(), None)
    run_callbacks(waiters.take(), None)
    assert calls == ["one"]


def test_whoever_comes_after_the_end_is_told_at_once() -> None:
    mark = [3]
    waiters = Waiters(lambda: mark[0])
    error = StoreClosedError("closed")
    assert waiters.end(error) == []
    seen: list[LogStoreError | None] = []
    waiters.add(9, seen.append)
    waiters.add(3, seen.append)
    assert seen == [error, None]


def test_a_callback_that_raises_keeps_no_other_from_being_called() -> None:
    waiters = Waiters(lambda: 1)
    calls: list[str] = []

    def broken(_: LogStoreError | None) -> None:
        raise ZeroDivisionError

    waiting = Waiters(lambda: 0)
    registrations = [waiting.add(1, broken), waiting.add(1, lambda _: calls.append("told"))]
    with pytest.raises(ZeroDivisionError):
        run_callbacks(registrations, None)
    assert calls == ["told"]
    with pytest.raises(ZeroDivisionError):
        waiters.add(0, broken)


def test_one_that_comes_while_the_watermark_moves_is_told() -> None:
    """The mover sets the mark after it was read here, and looks who waits before this one is in."""
    mark = [0]
    movers: list[threading.Thread] = []

    def move() -> None:
        mark[0] = 5
        if waiters.by_offset:
            run_callbacks(waiters.take(), None)

    def current() -> int:
        seen = mark[0]
        if not movers:
            movers.append(threading.Thread(target=move))
            movers[0].start()
            movers[0].join(0.2)  # it ends, or waits for the lock that is held here
        return seen

    waiters = Waiters(current)
    told: list[LogStoreError | None] = []
    waiters.add(3, told.append)
    movers[0].join()
    assert told == [None]
    assert not waiters.by_offset
