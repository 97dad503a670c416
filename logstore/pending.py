"""A result that is not there yet: lighter than concurrent.futures.Future, and able to help itself.

A store that can finish the work in the calling thread (lead a flush round) passes `help_with`;
`result()` then does that instead of waiting for another thread to be scheduled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from logstore.errors import LogStoreError, RequestTimeoutError

T = TypeVar("T")
HelpWith = Callable[[Callable[[], bool], "float | None"], None]
CREATION = (
    threading.Lock()
)  # guards the hand-over between finish and the first waiter of any object


class Pending(Generic[T]):
    """Set once by its owner, from any thread; awaited or observed by any number of threads."""

    __slots__ = ("_callbacks", "_done", "_error", "_event", "_help_with", "_value")

    def __init__(self, help_with: HelpWith | None = None) -> None:
        self._done = False
        self._value: T | None = None
        self._error: LogStoreError | None = None
        self._event: threading.Event | None = None
        self._callbacks: list[Callable[[Pending[T]], None]] = []
        self._help_with = help_with

    @classmethod
    def completed(cls, value: T) -> Pending[T]:
        pending = cls()
        pending._value = value
        pending._done = True
        return pending

    @classmethod
    def failed(cls, error: LogStoreError) -> Pending[T]:
        pending = cls()
        pending._error = error
        pending._done = True
        return pending

    @property
    def done(self) -> bool:
        return self._is_over()

    @property
    def error(self) -> LogStoreError | None:
        """The error it ended with; None while it is not done or when it succeeded."""
        return self._error

    def set_result(self, value: T) -> None:
        self._finish(value, None)

    def set_error(self, error: LogStoreError) -> None:
        self._finish(None, error)

    def add_done_callback(self, callback: Callable[[Pending[T]], None]) -> None:
        """Call back once, in the finishing thread, or at once if it is done. Must not block."""
        with CREATION:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def then(self, apply: Callable[[T], None]) -> Pending[T]:
        """One that ends as this one does, but only after `apply` took the value."""
        following: Pending[T] = Pending(self._help_with)

        def finish(done: Pending[T]) -> None:
            error = done.error
            if error is not None:
                following.set_error(error)
            else:
                apply(cast(T, done._value))
                following.set_result(cast(T, done._value))

        self.add_done_callback(finish)
        return following

    def result(self, timeout: float | None = None) -> T:
        """The value, after waiting up to `timeout` seconds (None: for ever).

        Raises the error it ended with, or RequestTimeoutError.
        """
        if not self._done:
            self._wait(timeout)
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def _is_over(self) -> bool:
        return self._done

    def _wait(self, timeout: float | None) -> None:
        if self._help_with is not None:
            self._help_with(self._is_over, timeout)
        else:
            with CREATION:
                if not self._done and self._event is None:
                    self._event = threading.Event()
                event = self._event
            if event is not None:
                event.wait(timeout)
        if not self._done and not self._is_over():
            raise RequestTimeoutError(f"no answer within {timeout} s")

    def _finish(self, value: T | None, error: LogStoreError | None) -> None:
        with CREATION:
            if self._done:
                raise AssertionError("a Pending is finished once")
            self._value, self._error = value, error
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
            event = self._event
        if event is not None:
            event.set()
        for callback in callbacks:
            callback(self)
