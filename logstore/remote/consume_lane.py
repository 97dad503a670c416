"""Reading from one endpoint: a ConsumeStream that is opened again whenever it breaks.

The lane holds what its stream should read (`places`) and what of that the stream has not been told
yet; a new stream is told all. Credit: the stream may send what the owner has room for. One thread
runs the stream and hands on what arrives; grpc's own thread takes requests.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from logstore.errors import LogStoreError, TooManyRequestsError, UnavailableError
from logstore.remote.connections import Connections
from logstore.remote.errors import error_from_call
from logstore.remote.wire import cut_field, iter_messages
from logstore.v1 import common_pb2
from logstore.v1 import consume_service_pb2 as pb

_log = logging.getLogger(__name__)

PARTITIONS_FIELD = pb.ConsumeStreamResponse.DESCRIPTOR.fields_by_name["partitions"].number
BATCHES_FIELD = pb.PartitionData.DESCRIPTOR.fields_by_name["batches"].number
NO_DATA = memoryview(b"")


@dataclass(slots=True, eq=False)
class Place:
    """Where a partition is read; `offset` moves with what has arrived. Guarded by the reader."""

    topic: str
    partition: int
    offset: int
    epoch: int


class Owner(Protocol):
    """What a lane needs of its reader. Called from the lane's threads, without its lock."""

    def room_bytes(self, lane: ConsumeLane) -> int:
        """How much a new stream may send."""
        ...

    def arrived(self, lane: ConsumeLane, head: pb.PartitionData, data: memoryview) -> None: ...

    def failed(self, lane: ConsumeLane, places: list[Place], error: LogStoreError) -> None:
        """None of these is read any more."""
        ...


class ConsumeLane:
    """Thread-safe."""

    def __init__(
        self,
        endpoint: str,
        connections: Connections,
        owner: Owner,
        *,
        partition_bytes_max: int,
        isolation: common_pb2.Isolation,
    ) -> None:
        self.endpoint = endpoint
        self._connections = connections
        self._owner = owner
        self._partition_bytes_max = partition_bytes_max
        self._isolation = isolation
        self._changed = threading.Condition()
        self._places: dict[tuple[str, int], Place] = {}
        self._to_set: dict[tuple[str, int], Place] = {}
        self._to_remove: set[tuple[str, int]] = set()
        self._to_grant = 0
        self._stream: object | None = None
        self._call: Any = None
        self._closed = False
        self._thread = threading.Thread(
            target=self._run, name=f"logstore-consume-{endpoint}", daemon=True
        )
        self._thread.start()

    def set_place(self, place: Place) -> None:
        key = (place.topic, place.partition)
        with self._changed:
            self._places[key] = self._to_set[key] = place
            self._to_remove.discard(key)
            self._changed.notify_all()

    def remove(self, topic: str, partition: int) -> None:
        key = (topic, partition)
        with self._changed:
            if self._places.pop(key, None) is not None:
                self._to_set.pop(key, None)
                self._to_remove.add(key)
                self._changed.notify_all()

    def grant(self, bytes_more: int) -> None:
        with self._changed:
            self._to_grant += bytes_more
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            call = self._call
        if call is not None:
            call.cancel()
        self._thread.join()

    # --- the lane's thread ------------------------------------------------------------------

    def _run(self) -> None:
        tries = 0
        while self._wait_for_work():
            error, arrived = self._run_stream()
            if self._closed:
                return
            tries = 0 if arrived else tries + 1
            if not isinstance(error, UnavailableError | TooManyRequestsError):
                self._give_up(error)
            elif tries in (0, 1):
                _log.warning("reading from %s was interrupted: %s", self.endpoint, error)
            if tries:
                self._connections.closed.wait(self._connections.backoff_s(tries - 1))

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._places)
            return not self._closed

    def _give_up(self, error: LogStoreError) -> None:
        with self._changed:
            places = list(self._places.values())
            self._places.clear()
        self._owner.failed(self, places, error)

    def _run_stream(self) -> tuple[LogStoreError, bool]:
        """Runs until the stream ends: why it did, and whether anything arrived."""
        stream = object()
        arrived = False
        error: LogStoreError = UnavailableError(f"{self.endpoint} ended the stream")
        try:
            connection = self._connections.get(self.endpoint)
            room_bytes = self._owner.room_bytes(self)
            with self._changed:
                self._stream = stream
                self._to_set = dict(self._places)
                self._to_remove.clear()
                self._to_grant = room_bytes
            call: Any = connection.consume_stream(self._requests(stream))
            with self._changed:
                self._call = call
                if self._closed:
                    call.cancel()
            for data in call:
                arrived = True
                self._hand_on(memoryview(data))
        except grpc.RpcError as failure:
            error = error_from_call(failure, self.endpoint)
            # The failure is the call itself, and its traceback holds this frame, which holds the
            # call: a cycle that would be collected at exit, where gRPC waits for ever.
            failure.__traceback__ = None
        except (LogStoreError, ValueError) as failure:  # closed: ours, or gRPC's word for it
            error = UnavailableError(str(failure))
        finally:
            call = None
            with self._changed:
                self._stream = self._call = None
                self._changed.notify_all()
        return error, arrived

    def _hand_on(self, message: memoryview) -> None:
        for item in iter_messages(message, PARTITIONS_FIELD):
            head, data = cut_field(item, BATCHES_FIELD)
            self._owner.arrived(self, pb.PartitionData.FromString(head), data or NO_DATA)

    # --- grpc's thread ----------------------------------------------------------------------

    def _requests(self, stream: object) -> Iterator[bytes]:
        options = pb.ConsumeStreamOptions(
            isolation=self._isolation, format=common_pb2.RECORD_FORMAT_BATCHES
        )
        yield pb.ConsumeStreamRequest(options=options).SerializeToString()
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        self._closed
                        or self._stream is not stream
                        or self._to_set
                        or self._to_remove
                        or self._to_grant > 0
                    )
                )
                if self._closed or self._stream is not stream:
                    return
                request = self._next_request()
            yield request.SerializeToString()

    def _next_request(self) -> pb.ConsumeStreamRequest:
        request = pb.ConsumeStreamRequest(
            remove_partitions=[
                common_pb2.TopicPartition(topic=topic, partition=partition)
                for topic, partition in self._to_remove
            ],
            set_positions=[
                pb.Position(
                    topic=place.topic,
                    partition=place.partition,
                    offset=place.offset,
                    bytes_max=self._partition_bytes_max,
                    position_epoch=place.epoch,
                )
                for place in self._to_set.values()
            ],
            credit_bytes=max(0, self._to_grant),
        )
        self._to_remove.clear()
        self._to_set = {}
        self._to_grant = min(0, self._to_grant)
        return request
