"""Routes appends to the lanes of their endpoints, and keeps each partition's order on the way.

A partition has all its unanswered items in one lane. When an endpoint refuses one with
WrongEndpointError, the partition *moves*: refused items are set aside in order, new ones wait
behind them, and when the old lane has answered all, they go to the new endpoint together.

    lane A: [1 2 3]   1 refused, names B          moving; held: 1
                      4 appended                  held: 1, waiting: 4
                      2, 3 refused                held: 1 2 3 4 -> lane B
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from logstore.api import Acks, Appended
from logstore.errors import (
    BufferFullError,
    ClientClosedError,
    LogStoreError,
    RequestTooLargeError,
    UnavailableError,
    UnknownPartitionError,
    UnknownTopicError,
    WrongEndpointError,
)
from logstore.pending import Pending
from logstore.remote.connections import Connections
from logstore.remote.produce_lane import Item, ProduceLane
from logstore.remote.routing import Router

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Route:
    """The way of one partition's items. Guarded by the Appender's lock."""

    __slots__ = ("endpoint", "held", "is_moving", "unanswered", "waiting")

    def __init__(self) -> None:
        self.endpoint = ""  # "": to be asked for, once nothing is unanswered
        self.unanswered = 0
        self.is_moving = False
        self.held: list[Item] = []  # refused, to be sent first
        self.waiting: deque[Item] = deque()  # appended while it moves

    def settle_at(self, endpoint: str) -> None:
        """Unless another thread was faster."""
        self.endpoint = self.endpoint or endpoint


class Appender:
    """Thread-safe."""

    def __init__(self, connections: Connections, router: Router) -> None:
        self._connections = connections
        self._config = connections.config
        self._router = router
        self._lock = threading.Lock()  # taken before a lane's own, never after it
        self._routes: dict[tuple[str, int], _Route] = {}
        self._lanes: dict[str, ProduceLane] = {}
        self._bytes_in_flight = 0
        self._closed = False

    def append(
        self, topic: str, partition: int, batch: ReadableBuffer, acks: Acks
    ) -> Pending[Appended]:
        """Never waits but for the first metadata of a topic. Errors are in the Pending."""
        view = memoryview(batch).cast("B")
        deadline = time.monotonic() + self._config.delivery_timeout_ms / 1000
        item = Item(topic, partition, view, acks, deadline)
        try:
            if item.size_bytes > self._config.batch_bytes_max:
                raise RequestTooLargeError(
                    f"the batch has {item.size_bytes} bytes; a message takes "
                    f"{self._config.batch_bytes_max}"
                )
            self._enter(item)
        except LogStoreError as error:
            return Pending.failed(error)
        return item.pending

    def _enter(self, item: Item) -> None:
        while True:
            with self._lock:
                if self._closed:
                    raise ClientClosedError("the connection to the store is closed")
                route = self._routes.setdefault((item.topic, item.partition), _Route())
                if route.endpoint or route.is_moving:
                    self._admit(item)
                    if route.is_moving:
                        route.waiting.append(item)
                    else:
                        route.unanswered += 1
                        self._lane(route.endpoint).enqueue([item])
                    return
            endpoint = self._router.partition(item.topic, item.partition)
            with self._lock:
                route.settle_at(endpoint)

    def _admit(self, item: Item) -> None:
        limit = self._config.append_bytes_in_flight_max
        if self._bytes_in_flight and self._bytes_in_flight + item.size_bytes > limit:
            raise BufferFullError(
                f"{self._bytes_in_flight} bytes are appended and not answered, the limit is "
                f"{limit} (append_bytes_in_flight_max)"
            )
        self._bytes_in_flight += item.size_bytes

    def _lane(self, endpoint: str) -> ProduceLane:
        lane = self._lanes.get(endpoint)
        if lane is None:
            lane = ProduceLane(endpoint, self._connections, self._settle)
            self._lanes[endpoint] = lane
        return lane

    # --- called by the lanes ----------------------------------------------------------------

    def _settle(self, items: list[Item]) -> None:
        """The lane has an outcome for each of them, and knows them no more."""
        finished: list[Item] = []
        to_move: list[tuple[str, int]] = []
        with self._lock:
            for item in items:
                route = self._routes[item.topic, item.partition]
                route.unanswered -= 1
                if self._is_redirect(item):
                    route.is_moving = True
                    route.held.append(item)
                    self._router.redirect_partition(item.topic, item.partition, _error_of(item))
                    item.redirects += 1
                    item.error = None
                else:
                    finished.append(item)
                    self._bytes_in_flight -= item.size_bytes
                    if isinstance(
                        item.error,
                        UnavailableError
                        | UnknownPartitionError
                        | UnknownTopicError
                        | WrongEndpointError,
                    ):
                        self._router.unreachable(route.endpoint)
                        route.endpoint = route.endpoint if route.unanswered else ""
                if route.is_moving and route.unanswered == 0:
                    to_move.append((item.topic, item.partition))
        _finish(finished)
        for topic, partition in to_move:
            self._move(topic, partition)

    def _is_redirect(self, item: Item) -> bool:
        return (
            isinstance(item.error, WrongEndpointError)
            and item.redirects < self._config.redirects_max
            and not self._closed
        )

    def _move(self, topic: str, partition: int) -> None:
        """Nothing of it is in a lane: send what is held to where it is served now."""
        failure: LogStoreError | None = None
        endpoint = ""
        try:
            endpoint = self._router.partition(topic, partition)
        except LogStoreError as error:
            failure = error
        with self._lock:
            route = self._routes[topic, partition]
            items = [*route.held, *route.waiting]
            route.held, route.waiting = [], deque()
            route.is_moving = False
            route.endpoint = endpoint
            if failure is None and not self._closed:
                route.unanswered = len(items)
                self._lane(endpoint).enqueue(items)
                return
            self._bytes_in_flight -= sum(item.size_bytes for item in items)
        for item in items:
            item.error = failure or _closed_error()
        _finish(items)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.close()


def _error_of(item: Item) -> LogStoreError:
    assert item.error is not None
    return item.error


def _closed_error() -> UnavailableError:
    return UnavailableError("the connection to the store was closed while the partition moved")


def _finish(items: list[Item]) -> None:
    for item in items:
        if item.error is not None:
            item.pending.set_error(item.error)
        elif item.stored is not None:
            item.pending.set_result(item.stored)
