"""From leased views of the log to PartitionData, for Fetch and ConsumeStream alike.

Batches are copied once: from the map of the segment into the message that gRPC sends.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from logstore.api import FetchedPartition, FetchPosition, FetchResult
from logstore.errors import InvalidRequestError, LogStoreError, RequestTooLargeError
from logstore.record import (
    Record,
    committed_runs,
    decode_records,
    iter_batches,
    parse_header,
)
from logstore.remote.wire import append_field
from logstore.v1 import common_pb2
from logstore.v1 import consume_service_pb2 as pb
from logstore_server.rpc.calls import Serving
from logstore_server.rpc.errors import error_message

PARTITIONS_FIELD = pb.FetchResponse.DESCRIPTOR.fields_by_name["partitions"].number
BATCHES_FIELD = pb.PartitionData.DESCRIPTOR.fields_by_name["batches"].number

# What one batch may unfold to when its records are sent one by one; the log took it under a limit
# of its own.
DECOMPRESSED_BYTES_MAX = 256 << 20
# Decoding this much into messages takes about a millisecond; more is done in a worker thread.
INLINE_RECORDS_BYTES_MAX = 32 * 1024
# Names, numbers and offsets around the batches of one partition (a topic's name has at most 249
# characters), and around the partitions of one answer.
PIECE_OVERHEAD_BYTES = 1024
ANSWER_OVERHEAD_BYTES = 1024
FIELD_PREFIX_BYTES_MAX = 6

_LENGTH = struct.Struct(">8xi")
_LENGTH_END = 12


@dataclass(slots=True, eq=False)
class Place:
    """From where a partition is read. Compared by identity: a new position is a new Place."""

    topic: str
    partition: int
    offset: int
    bytes_max: int
    epoch: int


def place_of(position: pb.Position, *, partition_bytes_max: int) -> Place:
    if position.bytes_max < 0:
        raise InvalidRequestError(f"bytes_max={position.bytes_max} of a position is negative")
    return Place(
        position.topic,
        position.partition,
        position.offset,
        min(position.bytes_max or partition_bytes_max, partition_bytes_max),
        position.position_epoch,
    )


class Piece(NamedTuple):
    """One PartitionData: its serialized parts, and what it takes from a credit."""

    parts: tuple[bytes | memoryview, ...]
    size_bytes: int
    credit_bytes: int
    is_error: bool = False


def next_offset(data: memoryview) -> int:
    """Where to read on behind the whole batches in `data`, which is not empty."""
    position = last = 0
    while len(data) - position > _LENGTH_END:
        (length,) = _LENGTH.unpack_from(data, position)
        last = position
        position += _LENGTH_END + length
    return parse_header(data, last).last_offset + 1


def batches_piece(place: Place, item: FetchedPartition) -> Piece:
    """The batches as they are. Moves `place` on."""
    place.offset = next_offset(item.data)
    runs = _visible(item)
    size = sum(run.nbytes for run in runs)
    head = append_field(_head(place, item).SerializeToString(), number=BATCHES_FIELD, length=size)
    return Piece((head, *runs), len(head) + size, size)


def _visible(item: FetchedPartition) -> list[memoryview]:
    """The data without the batches of aborted transactions."""
    return committed_runs(item.data, item.aborted) if item.aborted else [item.data]


def records_piece(place: Place, item: FetchedPartition, *, bytes_max: int) -> Piece:
    """The records one by one, from the place on, control records left out. Moves `place` on.

    Compressed records may unfold to more than a message takes: what is beyond `bytes_max` is left
    for the next time, when the place lies inside a batch.
    """
    start, place.offset = place.offset, next_offset(item.data)
    message = _head(place, item)
    size = message.ByteSize()
    for record in (found for run in _visible(item) for found in _records(run, start)):
        encoded = common_pb2.Record(
            key=record.key,
            value=record.value,
            timestamp_ms=record.timestamp if record.timestamp >= 0 else None,
            headers=[common_pb2.Header(key=key, value=value) for key, value in record.headers],
            offset=record.offset,
        )
        size += encoded.ByteSize() + FIELD_PREFIX_BYTES_MAX
        if size > bytes_max and message.records:
            place.offset = message.next_offset = record.offset
            break
        message.records.append(encoded)
    data = message.SerializeToString()
    return Piece((data,), len(data), item.data.nbytes)


def _records(data: memoryview, from_offset: int) -> Iterator[Record]:
    for batch in iter_batches(data):
        if not parse_header(batch).is_control:
            yield from decode_records(
                batch, from_offset=from_offset, decompressed_bytes_max=DECOMPRESSED_BYTES_MAX
            )


def error_piece(place: Place, error: LogStoreError) -> Piece:
    message = pb.PartitionData(
        topic=place.topic,
        partition=place.partition,
        position_epoch=place.epoch,
        error=error_message(error),
        high_watermark=-1,
        log_start_offset=-1,
        last_stable_offset=-1,
        next_offset=place.offset,
    )
    encoded = message.SerializeToString()
    return Piece((encoded,), len(encoded), 0, is_error=True)


def too_large(place: Place, *, size_bytes: int, bytes_max: int) -> Piece:
    error = RequestTooLargeError(
        f"what {place.topic}-{place.partition} has at offset {place.offset} takes "
        f"{size_bytes} bytes, and a message may have {bytes_max}; the server's "
        "message_bytes_max must be raised to read it",
        size_bytes=size_bytes,
        bytes_max=bytes_max,
    )
    return error_piece(place, error)


class Reading(NamedTuple):
    """One answer, and what became of the places it was read from.

    served: something was sent, there may be more. empty: nothing is there now. failed: an error was
    sent. A place in none of them had no room in the answer.
    """

    message: bytes
    credit_bytes: int
    served: list[Place]
    empty: list[Place]
    failed: list[Place]


async def read_places(
    serving: Serving,
    places: Sequence[Place],
    *,
    bytes_max: int,
    read_committed: bool,
    as_records: bool,
    tail: Callable[[int], bytes],
) -> Reading:
    """What is there now, as one serialized answer; `tail` gives its end, from the credit taken."""
    positions = [
        FetchPosition(place.topic, place.partition, place.offset, place.bytes_max or bytes_max)
        for place in places
    ]
    result = await serving.bridge.fetch(
        positions, bytes_max=bytes_max, read_committed=read_committed
    )
    limit = serving.config.message_bytes_max - ANSWER_OVERHEAD_BYTES
    if as_records and result.size_bytes > INLINE_RECORDS_BYTES_MAX:
        # The worker owns the result from here on: it may outlive this call.
        return await serving.bridge.call(encode_reading, result, places, limit, as_records, tail)
    return encode_reading(result, places, limit, as_records, tail)


def encode_reading(
    result: FetchResult,
    places: Sequence[Place],
    limit: int,
    as_records: bool,
    tail: Callable[[int], bytes],
) -> Reading:
    """Closes `result`. Moves the places that were read on."""
    pieces: list[Piece] = []
    served: list[Place] = []
    empty: list[Place] = []
    failed: list[Place] = []
    with result:
        found = {(item.topic, item.partition): item for item in result.partitions}
        size = 0
        for place in places:
            item = found.get((place.topic, place.partition))
            if item is None:  # the answer was full before its turn
                continue
            if item.error is None and not item.data.nbytes:
                empty.append(place)
                continue
            piece = _piece(place, item, limit, as_records, room=limit - size)
            if piece is None:
                continue
            (failed if piece.is_error else served).append(place)
            pieces.append(piece)
            size += piece.size_bytes
        credit_bytes = sum(piece.credit_bytes for piece in pieces)
        message = response_bytes(pieces, tail(credit_bytes)) if pieces else b""
    return Reading(message, credit_bytes, served, empty, failed)


def _piece(
    place: Place, item: FetchedPartition, limit: int, as_records: bool, *, room: int
) -> Piece | None:
    """None: it does not fit into this message, but will into another."""
    if item.error is not None:
        return error_piece(place, item.error)
    size = item.data.nbytes + PIECE_OVERHEAD_BYTES
    if as_records:
        if room < min(size, limit):
            return None
        try:
            piece = records_piece(place, item, bytes_max=room - PIECE_OVERHEAD_BYTES)
        except LogStoreError as error:
            return error_piece(place, error)
        size = piece.size_bytes
        return piece if size <= limit else too_large(place, size_bytes=size, bytes_max=limit)
    if size > limit:
        return too_large(place, size_bytes=size, bytes_max=limit)
    return batches_piece(place, item) if size <= room else None


def response_bytes(pieces: list[Piece], tail: bytes = b"") -> bytes:
    """A FetchResponse or ConsumeStreamResponse of `pieces`, and a serialized `tail`."""
    parts: list[bytes | memoryview] = []
    for piece in pieces:
        parts.append(append_field(b"", number=PARTITIONS_FIELD, length=piece.size_bytes))
        parts.extend(piece.parts)
    parts.append(tail)
    return b"".join(parts)


def _head(place: Place, item: FetchedPartition) -> pb.PartitionData:
    return pb.PartitionData(
        topic=place.topic,
        partition=place.partition,
        position_epoch=place.epoch,
        high_watermark=item.high_watermark,
        log_start_offset=item.log_start_offset,
        last_stable_offset=item.last_stable_offset,
        next_offset=place.offset,
    )
