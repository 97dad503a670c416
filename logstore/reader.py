"""Reading the local log: leased views of several partitions, and a Reader over them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol

from logstore.api import FetchedPartition, FetchPosition, FetchResult, Registration
from logstore.errors import ClientClosedError
from logstore.record import committed_runs, iter_batches, parse_header


class Releasable(Protocol):
    def close(self) -> None: ...


class LeasedFetch:
    """FetchResult over leases; closing it twice is harmless. Not shared between threads."""

    __slots__ = ("_leases", "partitions", "size_bytes")

    def __init__(
        self, partitions: Sequence[FetchedPartition], leases: Sequence[Releasable]
    ) -> None:
        self.partitions = partitions
        self.size_bytes = sum(item.data.nbytes for item in partitions)
        self._leases = leases

    def close(self) -> None:
        leases, self._leases = self._leases, ()
        for lease in leases:
            lease.close()

    def __enter__(self) -> LeasedFetch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class OneShot:
    """Several registrations that share one callback, which runs once and cancels the rest.

    `finished` runs once too, when it fired or was cancelled.
    """

    __slots__ = ("_callback", "_finished", "_lock", "_registrations", "_spent")

    def __init__(self, callback: Callable[[], None], finished: Callable[[], None]) -> None:
        self._callback = callback
        self._finished = finished
        self._lock = threading.Lock()
        self._registrations: list[Registration] = []
        self._spent = False

    @property
    def spent(self) -> bool:
        return self._spent

    def add(self, registration: Registration) -> None:
        with self._lock:
            if not self._spent:
                self._registrations.append(registration)
                return
        registration.cancel()

    def fire(self) -> None:
        if self._finish():
            self._callback()

    def cancel(self) -> None:
        self._finish()

    def _finish(self) -> bool:
        with self._lock:
            if self._spent:
                return False
            self._spent = True
            registrations, self._registrations = self._registrations, []
        for registration in registrations:
            registration.cancel()
        self._finished()
        return True


class FetchSource(Protocol):
    """What LocalReader needs of a store; ServedLogStore and the follower have it."""

    def fetch(
        self,
        positions: Sequence[FetchPosition],
        *,
        bytes_max: int,
        read_committed: bool = False,
        cold_ok: bool = False,
    ) -> FetchResult: ...

    def wait_for_data(
        self,
        positions: Sequence[FetchPosition],
        on_ready: Callable[[], None],
        *,
        read_committed: bool = False,
    ) -> Registration: ...


class LocalReader:
    """api.Reader over a store in this process: reads straight from the log's maps.

    Fair: the partition that was served last is asked last the next time. The lease of what
    poll returned is given back by the next poll or close.
    """

    def __init__(
        self,
        source: FetchSource,
        *,
        bytes_max: int,
        partition_bytes_max: int,
        read_committed: bool = False,
    ) -> None:
        self._source = source
        self._bytes_max = bytes_max
        self._partition_bytes_max = partition_bytes_max
        self._read_committed = read_committed
        self._positions: dict[tuple[str, int], int] = {}  # in the order of asking
        self._wake = threading.Event()
        self._last: FetchResult | None = None
        self._closed = False

    def set_position(self, topic: str, partition: int, offset: int) -> None:
        self._positions[topic, partition] = offset

    def remove(self, topic: str, partition: int) -> None:
        self._positions.pop((topic, partition), None)

    def poll(self, timeout: float) -> list[FetchedPartition]:
        if self._closed:
            raise ClientClosedError("the reader is closed")
        found = self._fetch()
        if found or timeout <= 0:
            return found
        waiting = self._source.wait_for_data(
            self._asked(), self._wake.set, read_committed=self._read_committed
        )
        try:
            self._wake.wait(timeout)
        finally:
            waiting.cancel()
        self._wake.clear()
        return self._fetch()

    def wake(self) -> None:
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._release()
        self._wake.set()

    def _asked(self) -> list[FetchPosition]:
        return [
            FetchPosition(topic, partition, offset, self._partition_bytes_max)
            for (topic, partition), offset in self._positions.items()
        ]

    def _fetch(self) -> list[FetchedPartition]:
        self._release()
        if self._closed:  # while it waited
            return []
        result = self._last = self._source.fetch(
            self._asked(),
            bytes_max=self._bytes_max,
            read_committed=self._read_committed,
            cold_ok=True,
        )
        found = [item for item in result.partitions if item.error or item.data.nbytes]
        for item in found:
            del self._positions[item.topic, item.partition]
            if item.error is None:  # a failed partition waits for its next set_position
                self._positions[item.topic, item.partition] = next_offset(item.data)
        return [part for item in found for part in without_aborted(item)]

    def _release(self) -> None:
        if self._last is not None:
            self._last.close()
            self._last = None


def without_aborted(item: FetchedPartition) -> list[FetchedPartition]:
    """The item in as many parts as what lies between aborted batches."""
    if not item.aborted:
        return [item]
    return [item._replace(data=run, aborted=()) for run in committed_runs(item.data, item.aborted)]


def next_offset(data: memoryview) -> int:
    """The offset behind the last of the whole batches in `data`, which is not empty."""
    *_, last = iter_batches(data)
    return parse_header(last).last_offset + 1
