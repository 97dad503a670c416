"""ProduceService: producer ids, single appends, streams of appends. All first version.

A batch comes as bytes, or as records of which the server builds one. What may take long (building,
unpacking and checking much) is done in a worker thread, so that one client's large batches do not
hold up the others; the order of a stream is kept, as its batches are taken one after the other.
"""

from __future__ import annotations

import time

from logstore.api import TRANSACTION_TIMEOUT_MS, Acks, Appended
from logstore.errors import InvalidRequestError, RequestTooLargeError
from logstore.pending import Pending
from logstore.record import BatchFields, encode_batch, parse_header
from logstore.v1 import common_pb2
from logstore.v1 import produce_service_pb2 as pb
from logstore_server.rpc.calls import Context, Serving
from logstore_server.rpc.produce_stream import ProduceStream
from logstore_server.rpc.values import COMPRESSION_NAMES, acks

# What a batch may take in the event loop. Checking and writing an uncompressed megabyte takes about
# 0.3 ms, building a record set of 32 KiB about 0.1 ms. A thread costs as much to reach, and streams
# of 1 MiB batches were slower through threads than without.
INLINE_BATCH_BYTES_MAX = 2 * 1024 * 1024
INLINE_RECORDS_BYTES_MAX = 32 * 1024


class ProduceService:
    descriptor = pb.DESCRIPTOR.services_by_name["ProduceService"]

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def init_producer(
        self, request: pb.InitProducerRequest, _context: Context
    ) -> pb.InitProducerResponse:
        identity = await self._serving.bridge.call(
            self._serving.store.init_producer,
            request.transactional_id or None,
            transaction_timeout_ms=request.transaction_timeout_ms or TRANSACTION_TIMEOUT_MS,
        )
        return pb.InitProducerResponse(
            producer_id=identity.producer_id, producer_epoch=identity.producer_epoch
        )

    async def produce(self, request: pb.ProduceRequest, _context: Context) -> pb.ProduceResponse:
        appender = Appender(self._serving)
        kind = request.WhichOneof("data")
        pending = await appender.append(
            request.topic,
            request.partition,
            acks(request.acks),
            batch=memoryview(request.batch) if kind == "batch" else None,
            records=request.records if kind == "records" else None,
        )
        self._serving.bridge.count_append()
        return stored_message(await self._serving.bridge.future(pending))

    async def produce_stream(self, context: Context) -> None:
        await ProduceStream(self._serving, Appender(self._serving), context).run()


class Appender:
    """One batch, in either form, into the store."""

    def __init__(self, serving: Serving) -> None:
        self._store = serving.store
        self._call = serving.bridge.call
        self._batch_bytes_max = serving.config.batch_bytes_max

    async def append(
        self,
        topic: str,
        partition: int,
        acks: Acks,
        *,
        batch: memoryview | None,
        records: pb.RecordSet | None,
    ) -> Pending[Appended]:
        """Raises InvalidRequestError for what makes no batch; the rest is in the Pending."""
        if batch is not None:
            if len(batch) > self._batch_bytes_max:
                raise RequestTooLargeError(
                    f"the batch has {len(batch)} bytes; no reader could be sent more than "
                    f"{self._batch_bytes_max}"
                )
            if _is_light(batch) and not self._store.compresses(topic):
                return self._store.append(topic, partition, batch, acks=acks)
            return await self._call(self._store.append, topic, partition, batch, acks=acks)
        if records is None:
            raise InvalidRequestError("a batch, as bytes or as records, is missing")
        is_light = records.ByteSize() <= INLINE_RECORDS_BYTES_MAX
        if is_light and not self._store.compresses(topic):
            return self._store.append(topic, partition, batch_of(records), acks=acks)
        record_set = records
        return await self._call(
            lambda: self._store.append(topic, partition, batch_of(record_set), acks=acks)
        )


def _is_light(batch: memoryview) -> bool:
    """Whether it can be checked in the event loop: of moderate size, and no larger inside."""
    if len(batch) > INLINE_BATCH_BYTES_MAX:
        return False
    try:
        return parse_header(batch).compression == 0
    except InvalidRequestError:
        return True  # the store says what is wrong with it


def batch_of(records: pb.RecordSet) -> bytearray:
    """The record batch of a RecordSet. Raises InvalidRequestError."""
    if not records.records:
        raise InvalidRequestError("a batch needs at least one record")
    try:
        compression = COMPRESSION_NAMES[records.compression]
    except KeyError:
        raise InvalidRequestError(f"there is no Compression value {records.compression}") from None
    fields: BatchFields = {}
    if records.HasField("producer"):
        fields["producer_id"] = records.producer.producer_id
        fields["producer_epoch"] = records.producer.producer_epoch
        fields["base_sequence"] = records.producer.base_sequence
        fields["is_transactional"] = records.producer.is_transactional
    now_ms = time.time_ns() // 1_000_000
    items = records.records
    return encode_batch(
        [item.value if item.HasField("value") else None for item in items],
        [item.key if item.HasField("key") else None for item in items],
        [item.timestamp_ms if item.HasField("timestamp_ms") else now_ms for item in items],
        [_headers(item) for item in items],
        compression=compression,
        **fields,
    )


def _headers(record: common_pb2.Record) -> list[tuple[str, bytes | None]]:
    return [
        (header.key, header.value if header.HasField("value") else None)
        for header in record.headers
    ]


def stored_message(appended: Appended) -> pb.ProduceResponse:
    return pb.ProduceResponse(
        base_offset=appended.base_offset,
        last_offset=appended.last_offset,
        log_append_time_ms=appended.log_append_time_ms,
        log_start_offset=appended.log_start_offset,
        duplicate=appended.duplicate,
    )
