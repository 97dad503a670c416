"""One ConsumeStream: positions and credit in, data out.

A place is in one of three states:

    ready    may have data; asked for in turn, the one served last comes last
    waiting  had none; the store calls when that changes -> ready
    gone     removed, replaced by a new position, or failed (reported once)

The sender reads while there is credit and a place is ready. Credit is bytes of batches as stored;
it may end below zero by less than one batch, as a batch is sent whole if any credit is left. A
slow reader grants none, so nothing is read for it, and the message that its transport does not
take is the only one held.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TypeAlias

import grpc

from logstore.api import FetchPosition, Registration
from logstore.errors import InvalidRequestError, LogStoreError, TooManyRequestsError
from logstore.v1 import consume_service_pb2 as pb
from logstore_server.rpc import values
from logstore_server.rpc.calls import Context, Serving, draining_error, parse
from logstore_server.rpc.reading import Place, place_of, read_places

CREDIT_BYTES_MAX = (1 << 31) - 1
# Partitions asked at one time: bounds how long the event loop is held when all are empty.
PLACES_PER_READ = 64

Key: TypeAlias = tuple[str, int]


class ConsumeStream:
    """Owned by the event loop; `run` is the call's handler."""

    def __init__(self, serving: Serving, context: Context) -> None:
        self._serving = serving
        self._context = context
        self._places: dict[Key, Place] = {}
        self._ready: dict[Place, None] = {}  # in the order of asking
        self._waiting: dict[Place, Registration] = {}
        self._credit_bytes = 0
        self._read_committed = False
        self._as_records = False
        self._wake = asyncio.Event()
        self._at_end = False  # of the client's side
        self._failure: LogStoreError | None = None

    async def run(self) -> None:
        """Raises the LogStoreError that is the stream's status."""
        reader = asyncio.create_task(self._read_all())
        forget = self._serving.on_drain(self._wake.set)
        try:
            await self._send_all()
        finally:
            forget()
            reader.cancel()
            for registration in self._waiting.values():
                registration.cancel()

    # --- in ---------------------------------------------------------------------------------

    async def _read_all(self) -> None:
        is_first = True
        try:
            while True:
                data = await self._context.read()
                if data is grpc.aio.EOF:  # type: ignore[attr-defined]
                    return
                self._apply(parse(pb.ConsumeStreamRequest, data), is_first)
                is_first = False
                self._wake.set()
        except LogStoreError as error:
            self._failure = error
        finally:
            self._at_end = True
            self._wake.set()

    def _apply(self, request: pb.ConsumeStreamRequest, is_first: bool) -> None:
        if request.HasField("options"):
            if not is_first:
                raise InvalidRequestError("options are taken in a stream's first message only")
            self._read_committed = values.is_read_committed(request.options.isolation)
            self._as_records = values.wants_records(request.options.format)
        for item in request.remove_partitions:
            self._drop((item.topic, item.partition))
        for position in request.set_positions:
            place = place_of(
                position, partition_bytes_max=self._serving.config.consume_message_bytes
            )
            self._drop((place.topic, place.partition))
            self._places[place.topic, place.partition] = place
            self._ready[place] = None
        limit = self._serving.config.stream_positions_max
        if len(self._places) > limit:
            raise TooManyRequestsError(f"a stream may read {limit} partitions, the limit")
        credit_bytes = self._credit_bytes + request.credit_bytes
        if request.credit_bytes < 0 or credit_bytes > CREDIT_BYTES_MAX:
            raise InvalidRequestError(
                f"credit_bytes={request.credit_bytes} is not valid: with the {self._credit_bytes} "
                f"not yet used it must come to 0 to {CREDIT_BYTES_MAX}"
            )
        self._credit_bytes = credit_bytes

    def _drop(self, key: Key) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            self._ready.pop(place, None)
            registration = self._waiting.pop(place, None)
            if registration is not None:
                registration.cancel()

    # --- out --------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            if self._serving.draining:
                raise draining_error()
            if self._credit_bytes > 0 and self._ready:
                await self._send_some()
            elif self._at_end and (self._credit_bytes <= 0 or not self._places):
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _send_some(self) -> None:
        asked = list(islice(self._ready, PLACES_PER_READ))
        reading = await read_places(
            self._serving,
            asked,
            bytes_max=min(self._credit_bytes, self._serving.config.consume_message_bytes),
            read_committed=self._read_committed,
            as_records=self._as_records,
            tail=lambda used: bytes(
                pb.ConsumeStreamResponse(credit_used_bytes=used).SerializeToString()
            ),
        )
        self._credit_bytes -= reading.credit_bytes
        for place in reading.failed:
            if self._is_current(place):
                self._drop((place.topic, place.partition))
        for place in reading.empty:
            if self._is_current(place):
                self._wait(place)
        for place in reading.served:
            if place in self._ready:
                del self._ready[place]  # to the end of the line
                self._ready[place] = None
        if reading.message:
            await self._context.write(reading.message)

    def _is_current(self, place: Place) -> bool:
        return self._places.get((place.topic, place.partition)) is place

    def _wait(self, place: Place) -> None:
        self._ready.pop(place, None)
        position = FetchPosition(place.topic, place.partition, place.offset, place.bytes_max)
        self._waiting[place] = self._serving.bridge.wait_for_data(
            [position],
            lambda: self._set_ready(place),
            read_committed=self._read_committed,
        )

    def _set_ready(self, place: Place) -> None:
        if self._waiting.pop(place, None) is not None:
            self._ready[place] = None
            self._wake.set()
