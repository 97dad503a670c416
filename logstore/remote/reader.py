"""api.Reader over gRPC: a ConsumeStream per endpoint feeds one buffer.

Bytes: each lane has a share of `bytes_max`. What a stream may send, what is on its way and what
lies in the buffer come to that share; taking from the buffer gives it back as credit, in steps, so
that not each poll costs a message.

Positions: a Place per partition with an epoch that is never used twice. What arrives with another
epoch was sent before the position was set, and is dropped. A stream that breaks is opened again
where the last byte arrived, so the buffer stays what it is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import count

from logstore.api import FetchedPartition
from logstore.errors import (
    ClientClosedError,
    InvalidRequestError,
    LogStoreError,
    UnavailableError,
    WrongEndpointError,
)
from logstore.remote.connections import Connections
from logstore.remote.consume_lane import NO_DATA, ConsumeLane, Place
from logstore.remote.errors import error_from_message
from logstore.remote.routing import Router
from logstore.v1 import common_pb2
from logstore.v1 import consume_service_pb2 as pb

# Credit is given back when this part of a lane's share has been taken.
GRANT_SHARE = 4


class _Arrived:
    """Data in the buffer, and what to give back for it."""

    __slots__ = ("fetched", "lane", "place")

    def __init__(self, place: Place, lane: ConsumeLane | None, fetched: FetchedPartition) -> None:
        self.place = place
        self.lane = lane
        self.fetched = fetched


class RemoteReader:
    """One thread at a time, but for `wake` and `close`."""

    def __init__(
        self,
        connections: Connections,
        router: Router,
        *,
        bytes_max: int,
        partition_bytes_max: int,
        read_committed: bool,
        lanes_expected: int,
        on_close: Callable[[RemoteReader], None],
    ) -> None:
        if bytes_max <= 0 or partition_bytes_max <= 0:
            raise InvalidRequestError("bytes_max and partition_bytes_max must be above 0")
        self._connections = connections
        self._router = router
        self._on_close = on_close
        self._partition_bytes_max = min(partition_bytes_max, connections.config.batch_bytes_max)
        self._isolation = (
            common_pb2.ISOLATION_READ_COMMITTED
            if read_committed
            else common_pb2.ISOLATION_READ_UNCOMMITTED
        )
        self._share_bytes = max(1, min(bytes_max // max(1, lanes_expected), (1 << 31) - 1))
        self._changed = threading.Condition()  # taken before a lane's, never after it
        self._places: dict[tuple[str, int], Place] = {}
        self._lane_of: dict[Place, ConsumeLane] = {}
        self._lanes: dict[str, ConsumeLane] = {}
        self._buffer: deque[_Arrived] = deque()
        self._buffered_bytes: dict[ConsumeLane, int] = {}
        self._taken_bytes: dict[ConsumeLane, int] = {}  # and not yet granted anew
        self._epochs = count(1)
        self._woken = False
        self._closed = False

    # --- the user's side --------------------------------------------------------------------

    def set_position(self, topic: str, partition: int, offset: int) -> None:
        place = Place(topic, partition, offset, next(self._epochs))
        with self._changed:
            self._check_open()
            self._forget(topic, partition)
            self._places[topic, partition] = place
        self._assign(place)

    def remove(self, topic: str, partition: int) -> None:
        with self._changed:
            self._forget(topic, partition)

    def poll(self, timeout: float) -> list[FetchedPartition]:
        with self._changed:
            self._check_open()
            if not self._buffer and timeout > 0:
                self._changed.wait_for(lambda: self._buffer or self._woken or self._closed, timeout)
            self._woken = False
            if self._closed:
                return []
            taken = list(self._buffer)
            self._buffer.clear()
            for item in taken:
                self._take(item)
            return [item.fetched for item in taken]

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._buffer.clear()
            self._changed.notify_all()
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.close()
        self._on_close(self)

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("the reader is closed")

    # --- places and lanes; the lock is held where not said otherwise ------------------------

    def _forget(self, topic: str, partition: int) -> None:
        place = self._places.pop((topic, partition), None)
        if place is None:
            return
        if (lane := self._lane_of.pop(place, None)) is not None:
            lane.remove(topic, partition)
        for item in [item for item in self._buffer if item.place is place]:
            self._buffer.remove(item)
            self._take(item)

    def _assign(self, place: Place) -> None:
        """Have the place read where it is served. Called without the lock: it may ask for that."""
        try:
            endpoint = self._router.partition(place.topic, place.partition)
        except UnavailableError:
            endpoint = self._router.any_endpoint()  # the lane tries until it answers
        except LogStoreError as error:
            self._report(place, error)
            return
        with self._changed:
            if self._closed or self._places.get((place.topic, place.partition)) is not place:
                return
            lane = self._lanes.get(endpoint)
            if lane is None:
                lane = self._lanes[endpoint] = ConsumeLane(
                    endpoint,
                    self._connections,
                    self,
                    partition_bytes_max=self._partition_bytes_max,
                    isolation=self._isolation,
                )
                self._buffered_bytes[lane] = self._taken_bytes[lane] = 0
            self._lane_of[place] = lane
            lane.set_place(place)

    def _report(self, place: Place, error: LogStoreError) -> None:
        """Called without the lock."""
        fetched = FetchedPartition(place.topic, place.partition, NO_DATA, -1, -1, -1, error)
        with self._changed:
            if self._places.get((place.topic, place.partition)) is place:
                self._buffer.append(_Arrived(place, None, fetched))
                self._changed.notify_all()

    def _take(self, item: _Arrived) -> None:
        """It leaves the buffer: its bytes may be sent anew."""
        if item.lane is not None:
            self._buffered_bytes[item.lane] -= item.fetched.data.nbytes
            self._give_back(item.lane, item.fetched.data.nbytes)

    def _give_back(self, lane: ConsumeLane, size: int) -> None:
        self._taken_bytes[lane] += size
        if (
            self._taken_bytes[lane] * GRANT_SHARE >= self._share_bytes
            or not self._buffered_bytes[lane]
        ):
            lane.grant(self._taken_bytes[lane])
            self._taken_bytes[lane] = 0

    # --- called by lanes, without their locks -----------------------------------------------

    def room_bytes(self, lane: ConsumeLane) -> int:
        with self._changed:
            self._taken_bytes[lane] = 0
            return self._share_bytes - self._buffered_bytes[lane]

    def arrived(self, lane: ConsumeLane, head: pb.PartitionData, data: memoryview) -> None:
        key = (head.topic, head.partition)
        error = error_from_message(head.error) if head.HasField("error") else None
        with self._changed:
            place = self._places.get(key)
            if place is None or place.epoch != head.position_epoch:
                self._give_back(lane, data.nbytes)
                return
            if error is not None:
                self._lane_of.pop(place, None)
                lane.remove(*key)
            else:
                place.offset = head.next_offset
                if not data.nbytes:  # batches of aborted transactions were left out
                    return
                self._buffered_bytes[lane] += data.nbytes
                fetched = FetchedPartition(
                    head.topic,
                    head.partition,
                    data,
                    head.high_watermark,
                    head.log_start_offset,
                    head.last_stable_offset,
                )
                self._buffer.append(_Arrived(place, lane, fetched))
                self._changed.notify_all()
        if error is not None:
            self._partition_failed(place, error)

    def _partition_failed(self, place: Place, error: LogStoreError) -> None:
        if isinstance(error, WrongEndpointError):
            self._router.redirect_partition(place.topic, place.partition, error)
            self._assign(place)
        else:
            self._report(place, error)

    def failed(self, lane: ConsumeLane, places: list[Place], error: LogStoreError) -> None:
        for place in places:
            with self._changed:
                self._lane_of.pop(place, None)
            self._report(place, error)
