"""Views of stored bytes that are handed out, counted and limited.

A lease holds the map alive; whatever happens to the segment meanwhile (eviction, retention,
deletion) its bytes stay readable. Dropping a lease without closing it is safe: it is then given
back when it is collected.
"""

from __future__ import annotations

import threading
from types import TracebackType

from logstore.errors import TooManyRequestsError

NO_DATA = memoryview(b"")


class LeaseCounter:
    """How many leases of a store are out. Thread-safe."""

    __slots__ = ("_lock", "count")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def take(self, leases_max: int) -> None:
        with self._lock:
            if self.count >= leases_max:
                raise TooManyRequestsError(
                    f"{self.count} views of the log are in use, the limit is {leases_max} "
                    "(leases_max); close some first",
                    leases_max=leases_max,
                )
            self.count += 1

    def give_back(self) -> None:
        with self._lock:
            self.count -= 1


class Lease:
    """Whole record batches, in `data`, until it is closed.

    `cold`: the bytes may not be in memory and the caller did not want to wait for the disk;
    `data` is empty then, and the same read with cold_ok=True will have it.
    """

    __slots__ = ("_counter", "cold", "data")

    def __init__(
        self, data: memoryview, *, counter: LeaseCounter | None = None, cold: bool = False
    ) -> None:
        self._counter = counter
        self.data = data
        self.cold = cold

    def close(self) -> None:
        """Give it back; twice is harmless. Views taken of `data` stay valid, but uncounted."""
        counter, self._counter = self._counter, None
        self.data = NO_DATA
        if counter is not None:
            counter.give_back()

    __del__ = close

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
