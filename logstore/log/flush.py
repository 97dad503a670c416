"""Flush rounds: one sync for everybody who waits, over all partitions of a store.

A round takes every dirty partition, syncs their files together (one directly, several side by
side on the executor, many by one syncfs), then moves their high watermarks and runs what waited
for them. One round at a time: whoever comes meanwhile is served by the next, which its leader
starts as soon as the first is over. So n producers share about two syncs, not n.

A sync that failed is never tried again: Linux marks the pages clean, and a second one would say
yes to bytes that are not on disk. The partition fails instead (see PartitionLog). If a syncfs
fails, it does not say for which file, and its error is not the file's: so each file of the round
is then synced for itself once, where Linux still reports the file's own failed write-back, and
only those that fail are lost.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from logstore.clock import Clock
from logstore.config import StoreConfig
from logstore.fs import FileSystem
from logstore.log.log_view import Published
from logstore.log.segment import Segment
from logstore.log.snapshots import TakenSnapshot
from logstore.log.state_file import PreparedSlot

# Of those called one in so many comes behind the leader; what the others append next is in its
# round. With none behind it the processor has nothing to do while the disk works; with all, a round
# serves some 10 of 64 threads where a sync takes 0.1 ms.
BEHIND_LEADER = 8


@dataclass(slots=True)
class FlushPlan:
    """What one partition needs synced, and what is true once it is."""

    log: Flushable
    end_offset: int
    active: Segment
    active_size: int
    segments: list[Segment]
    syncs: list[Callable[[], None]]
    pinned: list[Segment] = field(default_factory=list)  # until finish_flush
    snapshots: list[TakenSnapshot] = field(default_factory=list)
    published: Published | None = None  # what readers see then
    slot: PreparedSlot | None = None
    generation: int = -1  # of the segment list, when the slot was prepared
    error: OSError | None = None


class Flushable(Protocol):
    def begin_flush(self) -> FlushPlan | None:
        """What there is to sync now; None if nothing is."""
        ...

    def finish_flush(self, plan: FlushPlan) -> None:
        """The plan's syncs were done, or failed with plan.error."""
        ...


def _ignore() -> None:
    """Nobody is told that a flush is wanted."""


class _Helper:
    """A thread that waits for `until`, or to lead a round."""

    __slots__ = ("bell", "following", "until")

    def __init__(self, until: Callable[[], bool]) -> None:
        self.until = until
        self.following: _Helper | None = None  # whom it calls when it was called
        self.bell = threading.Lock()
        self.bell.acquire()


class Flusher:
    """One per store. Thread-safe; starts no thread.

    `rounds`, `syncs` and `flushed` count rounds, system calls that synced, and partitions.
    """

    def __init__(
        self,
        fs: FileSystem,
        root: str,
        *,
        limits: StoreConfig,
        clock: Clock,
        executor: Executor | None = None,
        notify: Callable[[], None] = _ignore,
    ) -> None:
        self._fs = fs
        self._root = root
        self._limits = limits
        self._clock = clock
        self._executor = executor
        self._notify = notify
        self._on_deadline: Callable[[], None] = _ignore
        self._lock = threading.Lock()
        self._dirty: dict[Flushable, None] = {}
        self._is_urgent = False
        self._deadline: float | None = None
        self._told = math.inf  # the driver asks for `next_look` by then at the latest
        self._is_running = False
        self._running_in: int | None = None  # the thread of the round
        self._helpers: dict[_Helper, None] = {}  # those who wait, the first comer first
        self._leader: _Helper | None = None  # called to lead, not there yet
        self.rounds = 0
        self.syncs = 0
        self.flushed = 0
        self._syncfs_is_watching = False

    def set_notify(self, notify: Callable[[], None]) -> None:
        """Have `notify` called, outside of all locks, when a flush becomes wanted."""
        self._notify = notify

    def set_on_deadline(self, on_deadline: Callable[[], None]) -> None:
        """Have `on_deadline` called, outside of all locks, when a round must begin sooner than
        `next_look` said."""
        with self._lock:
            self._on_deadline = on_deadline
            self._told = math.inf

    def notify(self) -> None:
        self._notify()

    @property
    def is_idle(self) -> bool:
        """No round runs or is about to, and there is nothing for one. Without the lock: a guess."""
        return not (self._is_running or self._helpers or self._dirty)

    def mark_dirty(self, log: Flushable, *, urgent: bool, within_ms: int = 0) -> None:
        """`log` has unsynced bytes: somebody waits for them, or they may wait `within_ms`."""
        became_wanted = is_sooner = False
        with self._lock:
            self._dirty[log] = None
            if urgent:
                became_wanted = not self._is_urgent
                self._is_urgent = True
            else:
                due = self._clock.monotonic() + within_ms / 1000
                if self._deadline is None or due < self._deadline:
                    self._deadline = due
                    is_sooner = due < self._told
                    self._told = min(due, self._told)
            needs_leader = bool(self._helpers) and not self._is_running and self._leader is None
        if needs_leader:
            self._call()
        if became_wanted:
            self._notify()
        elif is_sooner:
            self._on_deadline()

    def wanted(self) -> bool:
        """Whether somebody waits for a round, or a deadline has passed."""
        due = self.next_deadline()
        return due is not None and due <= self._clock.monotonic()

    def next_deadline(self) -> float | None:
        """When (Clock.monotonic) a round must begin; None: nothing is dirty."""
        if self._is_urgent:
            return self._clock.monotonic()
        return self._deadline

    def next_look(self) -> float | None:
        """When the driver has to ask this again, if it is not told before; None: then only.

        After a round that is still the deadline it had: while appends go on, each followed by its
        round, the driver looks once in that time, and is not told of every one of them.
        """
        with self._lock:  # whoever relies on this question being asked has set its deadline by then
            now = self._clock.monotonic()
            if self._deadline is not None or self._told <= now or self._is_urgent:
                self._told = math.inf if self._deadline is None else self._deadline
            if self._is_urgent:
                return now
            return None if self._told == math.inf else self._told

    def run_round(self) -> int:
        """Wait for a round in progress, then flush what is dirty; how many partitions were. From a
        callback of a round nothing: it cannot wait for the round that it is in."""
        if self._running_in == threading.get_ident():
            return 0
        while True:
            with self._lock:
                if not self._is_running:
                    if not self._dirty:
                        return 0
                    dirty = self._begin()
                    break
                helper = self._enlist(lambda: not self._is_running)
            self._wait(helper, None)
        return self._lead(dirty)

    def help(self, until: Callable[[], bool], timeout: float | None = None) -> None:
        """Run rounds, or wait for those of others, until `until()` or `timeout` seconds passed.

        `until` becomes true in a callback of a round, or by a partition that ends (see `poke`). It
        is also called by other threads, under a lock: it must only look.
        """
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        while not until():
            with self._lock:
                leads = bool(self._dirty) and not self._is_running and self._leader is None
                if leads:
                    dirty = self._begin()
                elif until():
                    return
                else:
                    helper = self._enlist(until)
            if leads:
                self._lead(dirty)
            elif not self._wait(helper, deadline):
                return

    def poke(self) -> None:
        """A partition ended: those who help look again whether they still wait."""
        self._call()

    # --- waiting ----------------------------------------------------------------------------

    def _enlist(self, until: Callable[[], bool]) -> _Helper:
        helper = _Helper(until)
        self._helpers[helper] = None
        return helper

    def _wait(self, helper: _Helper, deadline: float | None) -> bool:
        """Whether it was called in time."""
        timeout = -1.0
        if deadline is not None:
            timeout = min(max(0.0, deadline - self._clock.monotonic()), threading.TIMEOUT_MAX)
        in_time = False
        try:
            in_time = helper.bell.acquire(timeout=timeout)
        finally:  # a signal may raise here: whoever was to be called after it must be
            self._go(helper, in_time)
        return in_time

    def _go(self, helper: _Helper, in_time: bool) -> None:
        """It waits no more: it calls the next, and leaves the lead if it does not take it."""
        with self._lock:
            self._helpers.pop(helper, None)
            was_leader = self._leader is helper
            if was_leader:
                self._leader = None
        if helper.following is not None:
            helper.following.bell.release()
        if was_leader and (not in_time or helper.until()):
            self._call()

    def _call(self) -> None:
        """Call those who need not wait any more, and one to lead the next round.

        One calls the other: called all at once they would fight for the interpreter, and each would
        be put to sleep a few times before it gets to work. The leader comes behind most of
        them: what those append next is in its round, what the others do goes on beside its sync.
        """
        with self._lock:
            called = [helper for helper in self._helpers if helper.until()]
            for helper in called:
                del self._helpers[helper]
            if self._helpers and self._dirty and not self._is_running and self._leader is None:
                self._leader = next(iter(self._helpers))
                del self._helpers[self._leader]
                called.insert(len(called) - math.ceil(len(called) / BEHIND_LEADER), self._leader)
            for helper, following in pairwise(called):
                helper.following = following
        if called:
            called[0].bell.release()

    def _begin(self) -> list[Flushable]:
        dirty, self._dirty = list(self._dirty), {}
        self._is_urgent = False
        self._deadline = None
        self._is_running = True
        self._running_in = threading.get_ident()
        return dirty

    def _lead(self, dirty: Sequence[Flushable]) -> int:
        try:
            plans = [plan for log in dirty if (plan := log.begin_flush()) is not None]
            self._sync(plans)
            self.rounds += 1
            self.flushed += len(plans)
            self._finish(plans)
            return len(plans)
        finally:
            with self._lock:
                self._is_running = False
                self._running_in = None
                has_helpers = bool(self._helpers)
            if has_helpers:
                self._call()

    def _finish(self, plans: Sequence[FlushPlan]) -> None:
        failures: list[Exception] = []
        for plan in plans:
            try:
                plan.log.finish_flush(plan)
            except Exception as failure:  # a waiter's bug; the other partitions still move
                failures.append(failure)
        if failures:
            raise failures[0]

    # --- how --------------------------------------------------------------------------------

    def _sync(self, plans: Sequence[FlushPlan]) -> None:
        """Sync all files of the plans; a failure goes into the plan's error."""
        jobs = [(plan, sync) for plan in plans if plan.error is None for sync in plan.syncs]
        if len(jobs) >= self._limits.syncfs_threshold and self._sync_file_system():
            return
        self.syncs += len(jobs)
        if self._executor is None or len(jobs) < 2:
            for plan, sync in jobs:
                _sync_one(plan, sync)
            return
        running: list[Future[None]] = [
            self._executor.submit(_sync_one, plan, sync) for plan, sync in jobs[1:]
        ]
        _sync_one(*jobs[0])
        for future in running:
            future.result()

    def _sync_file_system(self) -> bool:
        """Whether everything is on disk; False: each file must be asked for itself.

        syncfs reports what failed since its own last call, so the first one proves nothing.
        """
        self.syncs += 1
        was_watching, self._syncfs_is_watching = self._syncfs_is_watching, True
        try:
            self._fs.sync_file_system(self._root)
        except OSError:
            return False
        return was_watching


def _sync_one(plan: FlushPlan, sync: Callable[[], None]) -> None:
    if plan.error is not None:
        return
    try:
        sync()
    except OSError as error:
        plan.error = error
