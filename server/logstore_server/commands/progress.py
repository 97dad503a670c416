"""A line on stderr that tells how far a long command is, where a person watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

SHOWN_AFTER_S, INTERVAL_S = 1.0, 0.2


class Progress:
    """Counts records; writes only if stderr is a terminal and the work takes over a second.

    Used by one thread. `done_bytes()` of `total_bytes` gives a percentage, where it is known.
    """

    def __init__(
        self,
        *,
        enabled: bool | None = None,
        total_bytes: int = 0,
        done_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self.records = 0
        self._total_bytes = total_bytes
        self._done_bytes = done_bytes
        self._enabled = sys.stderr.isatty() if enabled is None else enabled
        self._began = time.monotonic()
        self._next = self._began + SHOWN_AFTER_S
        self._shown = False

    def add(self) -> None:
        self.records += 1
        if self._enabled and self.records % 256 == 0:
            self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + INTERVAL_S
        self._shown = True
        rate = self.records / (now - self._began)
        share = f", {self._done_bytes() / self._total_bytes:.0%}" if self._total_bytes else ""
        print(
            f"\r\033[K{self.records:,} records{share}, {rate:,.0f} records/s",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
