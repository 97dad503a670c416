"""Appends to one endpoint: a ProduceStream that is opened again whenever it breaks.

    enqueue -> queue -> (grpc takes it) -> sent -> result -> settle(item)

Order: `queue` and `sent` are in the order of `enqueue`. When the stream breaks, what was sent and
not answered may or may not be stored. Items of an idempotent producer go back to the head of the
queue, in order, and are sent again: the server stores them once. Others fail with
UnavailableError, which says so. Nothing is sent before the server has said that it has taken the
stream, so a server that cannot be reached costs no item its certainty. If the server itself ended
the stream because it stops or has too many, it has answered all that it took, and everything goes
back to the queue.

One thread runs the stream and reads results; grpc's own thread takes requests. `settle` is called
without the lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import grpc

from logstore.api import Acks, Appended
from logstore.errors import (
    ClientClosedError,
    InvalidRequestError,
    LogStoreError,
    TooManyRequestsError,
    UnavailableError,
)
from logstore.pending import Pending
from logstore.record import NO_PRODUCER_ID, parse_header
from logstore.remote.connections import Connections
from logstore.remote.errors import (
    DRAINING,
    error_from_call,
    error_from_message,
    is_from_server,
)
from logstore.remote.wire import append_field
from logstore.v1 import common_pb2
from logstore.v1 import produce_service_pb2 as pb

BATCHES_FIELD = pb.ProduceStreamRequest.DESCRIPTOR.fields_by_name["batches"].number
BATCH_FIELD = pb.ProduceStreamBatch.DESCRIPTOR.fields_by_name["batch"].number
READY = "logstore-ready"  # header with which the server takes a stream
ACKS = {
    Acks.ALL: common_pb2.ACKS_ALL,
    Acks.LEADER: common_pb2.ACKS_LEADER,
    Acks.NONE: common_pb2.ACKS_NONE,
}


class Item:
    """One batch on its way. `outcome` is set before it is settled."""

    __slots__ = (
        "acks",
        "batch",
        "deadline",
        "error",
        "partition",
        "pending",
        "redirects",
        "size_bytes",
        "stored",
        "topic",
    )

    def __init__(
        self, topic: str, partition: int, batch: memoryview, acks: Acks, deadline: float
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.batch = batch
        self.acks = acks
        self.deadline = deadline  # for reaching an endpoint, in time.monotonic seconds
        self.size_bytes = len(batch)
        self.pending: Pending[Appended] = Pending()
        self.redirects = 0
        self.stored: Appended | None = None
        self.error: LogStoreError | None = None

    @property
    def is_idempotent(self) -> bool:
        try:
            return parse_header(self.batch).producer_id != NO_PRODUCER_ID
        except InvalidRequestError:
            return False  # the server says what is wrong with it


class ProduceLane:
    """Thread-safe. Owns the order of its items from `enqueue` to `settle`."""

    def __init__(
        self,
        endpoint: str,
        connections: Connections,
        settle: Callable[[list[Item]], None],
    ) -> None:
        self.endpoint = endpoint
        self._connections = connections
        self._config = connections.config
        self._settle = settle
        self._changed = threading.Condition()
        self._queue: deque[Item] = deque()
        self._sent: dict[int, Item] = {}  # by correlation id, in the order sent
        self._numbers = count(1)
        self._stream: object | None = None  # whose requests are taken; any object of its own
        self._is_open = False  # the server has taken the stream: what is sent may be stored
        self._call: Any = None
        self._closed = False
        self._thread = threading.Thread(
            target=self._run, name=f"logstore-produce-{endpoint}", daemon=True
        )
        self._thread.start()

    def enqueue(self, items: list[Item]) -> None:
        """Send them, in order, after all that was enqueued before."""
        with self._changed:
            assert not self._closed, "the owner closes a lane when it has nothing more for it"
            self._queue.extend(items)
            self._changed.notify_all()

    def close(self) -> None:
        """What is not answered fails with ClientClosedError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            call = self._call
        if call is not None:
            call.cancel()
        if threading.current_thread() is not self._thread:  # a callback of a result may close
            self._thread.join()

    # --- the lane's thread ------------------------------------------------------------------

    def _run(self) -> None:
        tries = 0
        while self._wait_for_work():
            error, answered = self._run_stream()
            if self._closed:
                break
            tries = 0 if answered else tries + 1
            self._settle(self._take_back(error))
            if tries:
                self._connections.closed.wait(self._connections.backoff_s(tries - 1))
        with self._changed:
            left = [*self._sent.values(), *self._queue]
            self._sent.clear()
            self._queue.clear()
        message = "the connection to the store was closed; the batch may have been stored"
        self._fail(left, ClientClosedError(message))

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._queue)
            return not self._closed

    def _run_stream(self) -> tuple[LogStoreError, bool]:
        """Runs until the stream ends: why it did, and whether anything was answered."""
        stream = object()
        answered = False
        error: LogStoreError = UnavailableError(f"{self.endpoint} ended the stream")
        try:
            connection = self._connections.get(self.endpoint)
            with self._changed:
                self._stream, self._is_open = stream, False
            call: Any = connection.produce_stream(self._requests(stream))
            with self._changed:
                self._call = call
                if self._closed:
                    call.cancel()
            headers = {key for key, _ in call.initial_metadata()}  # waits for them, or the end
            with self._changed:
                self._is_open = READY in headers
                self._changed.notify_all()
            for data in call:
                answered = True
                self._settle(self._results(data))
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
        return error, answered

    def _results(self, data: bytes) -> list[Item]:
        items = []
        for result in pb.ProduceStreamResponse.FromString(data).results:
            with self._changed:
                item = self._sent.pop(result.correlation_id, None)
            if item is None:
                continue
            if result.HasField("error"):
                item.error = error_from_message(result.error)
            else:
                stored = result.stored
                item.stored = Appended(
                    stored.base_offset,
                    stored.last_offset,
                    stored.log_append_time_ms,
                    stored.log_start_offset,
                    stored.duplicate,
                )
            items.append(item)
        return items

    def _take_back(self, error: LogStoreError) -> list[Item]:
        """After the stream ended with `error`: queue again what may be sent again; the rest."""
        now = time.monotonic()
        is_untaken = is_from_server(error) and (
            DRAINING in error.details or isinstance(error, TooManyRequestsError)
        )
        may_retry = isinstance(error, UnavailableError | TooManyRequestsError)
        failed: list[Item] = []
        again: list[Item] = []
        with self._changed:
            sent = list(self._sent.values())
            self._sent.clear()
            queued = list(self._queue)
            self._queue.clear()
            for item in sent:
                if not may_retry:
                    item.error = error
                elif item.deadline <= now or not (is_untaken or item.is_idempotent):
                    item.error = UnavailableError(
                        f"{error.message}; the batch may have been stored", **error.details
                    )
                (again if item.error is None else failed).append(item)
            for item in queued:
                if item.deadline <= now:
                    item.error = UnavailableError(error.message, **error.details)
                (again if item.error is None else failed).append(item)
            self._queue.extend(again)
        return failed

    def _fail(self, items: list[Item], error: LogStoreError) -> None:
        for item in items:
            item.error = error
        self._settle(items)

    # --- grpc's thread ----------------------------------------------------------------------

    def _requests(self, stream: object) -> Iterator[bytes]:
        """What grpc sends on `stream`, as long as that is the lane's."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        self._closed
                        or self._stream is not stream
                        or (self._is_open and self._queue)
                    )
                )
                if self._closed or self._stream is not stream:
                    return
                message = self._next_message()
            yield message

    def _next_message(self) -> bytes:
        parts: list[bytes | memoryview] = []
        size = 0
        while self._queue:
            item = self._queue[0]
            if parts and size + item.size_bytes > self._config.append_message_bytes:
                break
            self._queue.popleft()
            number = next(self._numbers)
            self._sent[number] = item
            head = append_field(
                pb.ProduceStreamBatch(
                    correlation_id=number,
                    topic=item.topic,
                    partition=item.partition,
                    acks=ACKS[item.acks],
                ).SerializeToString(),
                number=BATCH_FIELD,
                length=item.size_bytes,
            )
            length = len(head) + item.size_bytes
            parts += (append_field(b"", number=BATCHES_FIELD, length=length), head, item.batch)
            size += length
        return b"".join(parts)
