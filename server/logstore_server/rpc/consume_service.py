"""ConsumeService: Fetch with long poll, streams, offsets by time, deleting records.

All first version. Isolation read_committed and its last stable offset are the store's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from logstore.api import FetchPosition, OffsetAnswer, OffsetQuery, OffsetSpec, Registration
from logstore.errors import InvalidRequestError
from logstore.v1 import consume_service_pb2 as pb
from logstore_server.rpc import values
from logstore_server.rpc.calls import Context, Serving
from logstore_server.rpc.consume_stream import ConsumeStream
from logstore_server.rpc.errors import error_message
from logstore_server.rpc.reading import Place, Reading, place_of, read_places

OFFSET_SPECS = {
    pb.OFFSET_SPEC_EARLIEST: OffsetSpec.EARLIEST,
    pb.OFFSET_SPEC_LATEST: OffsetSpec.LATEST,
    pb.OFFSET_SPEC_MAX_TIMESTAMP: OffsetSpec.MAX_TIMESTAMP,
}


class ConsumeService:
    descriptor = pb.DESCRIPTOR.services_by_name["ConsumeService"]

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    # --- Fetch ------------------------------------------------------------------------------

    async def fetch(self, request: pb.FetchRequest, context: Context) -> bytes:
        places = [
            place_of(item, partition_bytes_max=self._serving.config.batch_bytes_max)
            for item in request.positions
        ]
        if len({(place.topic, place.partition) for place in places}) < len(places):
            raise InvalidRequestError("a partition is named twice in one Fetch")
        if len(places) > self._serving.config.stream_positions_max:
            limit = self._serving.config.stream_positions_max
            raise InvalidRequestError(f"{len(places)} positions are given, the limit is {limit}")
        if request.bytes_max < 0:
            raise InvalidRequestError(f"bytes_max={request.bytes_max} is negative")
        wait_s = self._serving.wait_s(context, request.max_wait_ms)
        reading = await self._read(request, places)
        if not reading.message and wait_s > 0 and places:
            reading = await self._wait_and_read(request, places, wait_s)
        return reading.message

    async def _read(self, request: pb.FetchRequest, places: Sequence[Place]) -> Reading:
        config = self._serving.config
        return await read_places(
            self._serving,
            places,
            bytes_max=min(
                request.bytes_max or config.consume_message_bytes, config.batch_bytes_max
            ),
            read_committed=values.is_read_committed(request.isolation),
            as_records=values.wants_records(request.format),
            tail=lambda _: b"",
        )

    async def _wait_and_read(
        self, request: pb.FetchRequest, places: Sequence[Place], wait_s: float
    ) -> Reading:
        """Read again whenever there is news, until something is read or the time is over."""
        ready = asyncio.Event()
        forget = self._serving.on_drain(ready.set)
        positions = [FetchPosition(item.topic, item.partition, item.offset, 0) for item in places]
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    waiting: Registration = self._serving.bridge.wait_for_data(
                        positions,
                        ready.set,
                        read_committed=values.is_read_committed(request.isolation),
                    )
                    try:
                        await ready.wait()
                    finally:
                        waiting.cancel()
                    ready.clear()
                    reading = await self._read(request, places)
                    if reading.message or self._serving.draining:
                        return reading
        except TimeoutError:
            return Reading(b"", 0, [], list(places), [])
        finally:
            forget()

    async def consume_stream(self, context: Context) -> None:
        await ConsumeStream(self._serving, context).run()

    # --- the log's bounds -------------------------------------------------------------------

    async def list_offsets(
        self, request: pb.ListOffsetsRequest, _context: Context
    ) -> pb.ListOffsetsResponse:
        queries = [_query(item) for item in request.queries]
        answers = await self._serving.bridge.call(self._serving.store.list_offsets, queries)
        return pb.ListOffsetsResponse(answers=[_answer(answer) for answer in answers])

    async def delete_records(
        self, request: pb.DeleteRecordsRequest, _context: Context
    ) -> pb.DeleteRecordsResponse:
        log_start_offset = await self._serving.bridge.call(
            self._serving.store.delete_records,
            request.topic,
            request.partition,
            before_offset=request.before_offset,
        )
        return pb.DeleteRecordsResponse(log_start_offset=log_start_offset)


def _query(query: pb.OffsetQuery) -> OffsetQuery:
    if query.WhichOneof("target") == "timestamp_ms":
        if query.timestamp_ms < 0:
            raise InvalidRequestError(f"timestamp_ms={query.timestamp_ms} is negative")
        return OffsetQuery(query.topic, query.partition, query.timestamp_ms)
    spec = OFFSET_SPECS.get(query.spec)
    if spec is None:
        raise InvalidRequestError(
            "an offset query takes timestamp_ms, or spec: one of OFFSET_SPEC_EARLIEST, _LATEST "
            "and _MAX_TIMESTAMP"
        )
    return OffsetQuery(query.topic, query.partition, spec)


def _answer(answer: OffsetAnswer) -> pb.OffsetAnswer:
    return pb.OffsetAnswer(
        topic=answer.topic,
        partition=answer.partition,
        error=None if answer.error is None else error_message(answer.error),
        offset=answer.offset,
        timestamp_ms=answer.timestamp_ms,
        leader_epoch=answer.leader_epoch,
    )
