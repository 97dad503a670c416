"""Threads that wait for a flush: each is called once, and one always leads, whoever goes away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from logstore.clock import SystemClock
from logstore.config import StoreConfig
from logstore.log.flush import Flusher, FlushPlan
from logstore.testing import MemoryFileSystem

SECONDS = 20.0


class GatedLog:
    """Its sync waits until the test lets it through."""

    def __init__(self) -> None:
        self.flusher = Flusher(MemoryFileSystem(), "s", limits=StoreConfig(), clock=SystemClock())
        self.syncing = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.written = self.flushed = 0
        self.leaders: list[str] = []

    def begin_flush(self) -> FlushPlan:
        self.leaders.append(threading.current_thread().name)
        return FlushPlan(self, self.written, None, 0, [], [self._sync])  # type: ignore[arg-type]

    def finish_flush(self, plan: FlushPlan) -> None:
        self.flushed = plan.end_offset

    def _sync(self) -> None:
        self.syncing.release()
        assert self.gate.acquire(timeout=SECONDS)

    def append(self) -> Callable[[], bool]:
        """What becomes true when it is on disk."""
        self.written += 1
        mine = self.written
        self.flusher.mark_dirty(self, urgent=True)
        return lambda: self.flushed >= mine

    def append_and_help(self, timeout: float | None = None) -> None:
        self.flusher.help(self.append(), timeout)

    def start(self, name: str) -> threading.Thread:
        """A thread that appends and waits; returns when it does."""
        thread = threading.Thread(target=self.append_and_help, name=name, daemon=True)
        waiting = len(self.flusher._helpers)
        is_first = not self.flusher._is_running
        thread.start()
        if is_first:
            assert self.syncing.acquire(timeout=SECONDS)
        else:
            wait_for(lambda: len(self.flusher._helpers) == waiting + 1)
        return thread


def wait_for(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(SECONDS * 1000)):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not come true")


@pytest.fixture
def log() -> Iterator[GatedLog]:
    log = GatedLog()
    yield log
    log.gate.release(100)  # whoever a failing test left behind


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), f"{thread.name} is left waiting"


def test_whoever_comes_during_a_round_shares_the_next(log: GatedLog) -> None:
    threads = [log.start(f"t{number}") for number in range(6)]
    log.gate.release()
    assert log.syncing.acquire(timeout=SECONDS)
    log.gate.release()
    join(*threads)
    assert log.leaders == ["t0", "t1"]
    assert log.flusher._helpers == {}
    assert log.flusher._leader is None


def test_one_that_gives_up_is_not_called_to_lead(log: GatedLog) -> None:
    first = log.start("first")
    log.append_and_help(timeout=0.01)
    third = log.start("third")
    log.gate.release()
    assert log.syncing.acquire(timeout=SECONDS)
    log.gate.release()
    join(first, third)
    assert log.leaders == ["first", "third"]


def test_a_leader_that_a_signal_takes_away_leaves_the_lead(log: GatedLog) -> None:
    """The main thread waits longest, so it is to lead; a handler raises in it before it can."""
    first = log.start("first")
    others: list[threading.Thread] = []

    def interrupt(_number: int, _frame: object) -> None:
        log.gate.release()  # the round ends, and the one that is interrupted is called to lead
        wait_for(lambda: log.flusher._leader is not None)
        raise InterruptedError

    def signal_main() -> None:
        wait_for(lambda: len(log.flusher._helpers) == 1)
        others.extend(log.start(name) for name in ("second", "third"))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    sender = threading.Thread(target=signal_main, daemon=True)
    try:
        sender.start()
        with pytest.raises(InterruptedError):
            log.append_and_help()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert log.syncing.acquire(timeout=SECONDS)
    log.gate.release()
    join(first, sender, *others)
    assert log.leaders == ["first", "second"]


def test_one_that_needs_no_round_any_more_hands_the_lead_on(log: GatedLog) -> None:
    """Called to lead, it finds that its partition has ended meanwhile."""
    first = log.start("first")
    second, third = log.start("second"), log.start("third")
    (helper, _) = log.flusher._helpers
    ended = threading.Event()
    until, helper.until = helper.until, lambda: ended.is_set() or until()
    bell, helper.bell = helper.bell, threading.Lock()  # held back: it does not hear the call
    helper.bell.acquire()
    log.gate.release()
    wait_for(lambda: log.flusher._leader is helper)
    ended.set()
    log.flushed = 2  # what the second waits for
    bell.release()
    assert log.syncing.acquire(timeout=SECONDS)
    log.gate.release()
    join(first, second, third)
    assert log.leaders == ["first", "third"]


def test_rounds_without_helpers_wait_for_the_one_in_progress(log: GatedLog) -> None:
    first = log.start("first")
    log.append()
    done: list[int] = []
    driver = threading.Thread(target=lambda: done.append(log.flusher.run_round()), name="driver")
    driver.start()
    wait_for(lambda: len(log.flusher._helpers) == 1)
    log.gate.release()
    assert log.syncing.acquire(timeout=SECONDS)
    log.gate.release()
    join(first, driver)
    assert done == [1]
