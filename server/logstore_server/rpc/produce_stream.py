"""One ProduceStream: batches in, results out, many in flight.

    reader   read a message -> append each batch in order -> its Pending
    Pending  done, in whatever order -> outbox
    writer   outbox, all that is there -> one message

The reader stops while `stream_batches_in_flight_max` batches or `stream_bytes_in_flight_max` bytes
are unanswered, so a client that does not read its results stops itself: the transport's windows
fill. It also stops for good at the end of the client's side, at a message that cannot be read, and
when the server shuts down; then the writer sends what is left of the results, and last the status.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import grpc

from logstore.api import Acks, Appended
from logstore.errors import LogStoreError
from logstore.pending import Pending
from logstore.remote.wire import cut_field, iter_messages
from logstore.v1 import produce_service_pb2 as pb
from logstore_server.rpc import values
from logstore_server.rpc.calls import Context, Serving, draining_error, parse
from logstore_server.rpc.errors import error_message

BATCHES_FIELD = pb.ProduceStreamRequest.DESCRIPTOR.fields_by_name["batches"].number
BATCH_FIELD = pb.ProduceStreamBatch.DESCRIPTOR.fields_by_name["batch"].number

# Tells the client that the stream is taken, and that what it sends from now on may be stored.
READY = (("logstore-ready", "1"),)


class BatchAppender(Protocol):
    """produce_service.Appender."""

    async def append(
        self,
        topic: str,
        partition: int,
        acks: Acks,
        *,
        batch: memoryview | None,
        records: pb.RecordSet | None,
    ) -> Pending[Appended]: ...


class ProduceStream:
    """Owned by the event loop; `run` is the call's handler."""

    def __init__(self, serving: Serving, appender: BatchAppender, context: Context) -> None:
        self._serving = serving
        self._post = serving.bridge.post
        self._appender = appender
        self._context = context
        self._outbox = pb.ProduceStreamResponse()
        self._batches_in_flight = 0
        self._bytes_in_flight = 0
        self._changed = asyncio.Event()  # outbox, the reader's end
        self._room = asyncio.Event()  # less in flight
        self._reading = False  # the reader waits for the client, and may be stopped
        self._failure: LogStoreError | None = None

    async def run(self) -> None:
        """Raises the LogStoreError that is the stream's status."""
        await self._context.send_initial_metadata(READY)
        reader = asyncio.create_task(self._read_all())
        reader.add_done_callback(lambda _: self._changed.set())

        def stop_reading() -> None:
            if reader.done():
                return
            self._failure = self._failure or draining_error()
            if self._reading:
                reader.cancel()

        forget = self._serving.on_drain(stop_reading)
        try:
            await self._write_results(reader)
        finally:
            forget()
            reader.cancel()
        if self._failure is not None:
            raise self._failure

    # --- in ---------------------------------------------------------------------------------

    async def _read_all(self) -> None:
        try:
            while not self._serving.draining:
                self._reading = True
                data = await self._context.read()
                self._reading = False
                if data is grpc.aio.EOF:  # type: ignore[attr-defined]
                    return
                for message in iter_messages(memoryview(data), BATCHES_FIELD):
                    await self._take(message)
        except LogStoreError as error:  # a message that cannot be read
            self._failure = error

    async def _take(self, message: memoryview) -> None:
        head, batch = cut_field(message, BATCH_FIELD)
        item = parse(pb.ProduceStreamBatch, head)
        size = len(message)
        await self._wait_for_room(size)
        self._batches_in_flight += 1
        self._bytes_in_flight += size
        try:
            pending = await self._appender.append(
                item.topic,
                item.partition,
                values.acks(item.acks),
                batch=batch,
                records=item.records if batch is None and item.HasField("records") else None,
            )
        except LogStoreError as error:
            pending = Pending.failed(error)
        number = item.correlation_id
        if pending.done:
            self._answer(number, size, pending)
        else:
            self._serving.bridge.count_append()
            pending.add_done_callback(
                lambda done: self._post(lambda: self._answer(number, size, done))
            )

    async def _wait_for_room(self, size: int) -> None:
        config = self._serving.config
        while self._batches_in_flight and (
            self._batches_in_flight >= config.stream_batches_in_flight_max
            or self._bytes_in_flight + size > config.stream_bytes_in_flight_max
        ):
            self._room.clear()
            await self._room.wait()

    # --- out --------------------------------------------------------------------------------

    def _answer(self, correlation_id: int, size: int, pending: Pending[Appended]) -> None:
        self._bytes_in_flight -= size
        result = self._outbox.results.add(correlation_id=correlation_id)
        if pending.error is not None:
            result.error.CopyFrom(error_message(pending.error))
        else:
            stored = pending.result(0)
            result.stored.base_offset = stored.base_offset
            result.stored.last_offset = stored.last_offset
            result.stored.log_append_time_ms = stored.log_append_time_ms
            result.stored.log_start_offset = stored.log_start_offset
            result.stored.duplicate = stored.duplicate
        self._changed.set()

    async def _write_results(self, reader: asyncio.Task[None]) -> None:
        while True:
            if results := len(self._outbox.results):
                data = self._outbox.SerializeToString()
                self._outbox.Clear()
                await self._context.write(data)
                self._batches_in_flight -= results  # only now: unread results are in flight too
                self._room.set()
            elif reader.done() and self._batches_in_flight == 0:
                if not reader.cancelled() and (error := reader.exception()) is not None:
                    raise error
                return
            else:
                self._changed.clear()
                await self._changed.wait()
