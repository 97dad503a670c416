"""Who waits for the high watermark of one partition.

Callbacks are collected under a lock and run outside of it, by whoever moved the watermark.
A waiter is put into the table before `current` is read, and the mover sets its value before it
looks at the table: so the mover finds the waiter, or the waiter sees the new value itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeAlias

from logstore.errors import LogStoreError

Callback: TypeAlias = Callable[[LogStoreError | None], None]


class Registration:
    """One waiter. `cancel` is thread-safe and harmless when it has fired."""

    __slots__ = ("_waiters", "callback", "offset")

    def __init__(self, waiters: Waiters, offset: int, callback: Callback) -> None:
        self._waiters = waiters
        self.offset = offset
        self.callback = callback

    def cancel(self) -> None:
        self._waiters.remove(self)


class Waiters:
    """Offsets that are waited for; few distinct ones at a time, so plain dicts do."""

    def __init__(self, current: Callable[[], int]) -> None:
        self._current = current
        self._lock = threading.Lock()
        self.by_offset: dict[int, dict[Registration, None]] = {}  # empty: nobody waits
        self._end: LogStoreError | None = None

    def add(self, offset: int, callback: Callback) -> Registration:
        """Call back once the watermark is at least `offset`; at once if it is."""
        registration = Registration(self, offset, callback)
        with self._lock:
            end = self._end
            if end is None:
                self.by_offset.setdefault(offset, {})[registration] = None
            is_reached = self._current() >= offset
            if end is None:
                if not is_reached:
                    return registration
                self._drop(registration)
        callback(None if is_reached else end)
        return registration

    def remove(self, registration: Registration) -> None:
        with self._lock:
            self._drop(registration)

    def _drop(self, registration: Registration) -> None:
        same = self.by_offset.get(registration.offset)
        if same is not None:
            same.pop(registration, None)
            if not same:
                del self.by_offset[registration.offset]

    def take(self) -> list[Registration]:
        """Those whose offset is reached; the caller runs them outside its locks."""
        if not self.by_offset:
            return []
        with self._lock:
            current = self._current()
            if len(self.by_offset) == 1:  # the common case, kept short
                (offset,) = self.by_offset
                return list(self.by_offset.pop(offset)) if offset <= current else []
            reached = [offset for offset in self.by_offset if offset <= current]
            return [waiter for offset in reached for waiter in self.by_offset.pop(offset)]

    def end(self, error: LogStoreError) -> list[Registration]:
        """Everyone; whoever comes later gets `error` at once, unless the offset is reached."""
        with self._lock:
            self._end = error
            everyone = [waiter for same in self.by_offset.values() for waiter in same]
            self.by_offset.clear()
            return everyone


def run_callbacks(waiters: Iterable[Registration], error: LogStoreError | None) -> None:
    """Call each; one that raises keeps none of the others from being called."""
    failures: list[Exception] = []
    for waiter in waiters:
        try:
            waiter.callback(error)
        except Exception as failure:  # a callback's bug is its owner's, after all were told
            failures.append(failure)
    if failures:
        raise failures[0]
