"""One whole batch: check it, read it, and change the parts of its header that others own.

Checking for storage (`validate_batch`) is stricter than reading (`decode_records`): compaction may
leave gaps between offsets and even a batch without records, which no producer may send.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import crc32c

from logstore.errors import (
    BatchChecksumError,
    BatchCompressionError,
    BatchCountError,
    BatchLengthError,
    BatchMagicError,
    BatchRecordError,
    InvalidBatchError,
    InvalidRequestError,
)
from logstore.record import _codec
from logstore.record import format as fmt
from logstore.record.compression import CODEC_NAMES, CODEC_NONE, Block, decompress
from logstore.record.format import BatchHeader, header_prefix, parse_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from logstore.record._codec import Record

_AFTER_CRC: Final = fmt.ATTRIBUTES_AT
_PLAIN_ATTRIBUTES: Final = (  # no compression; nothing else to look at
    fmt.TIMESTAMP_TYPE_BIT | fmt.TRANSACTIONAL_BIT | fmt.CONTROL_BIT
)
_crc32c: Final = crc32c.crc32c


def as_view(data: Buffer) -> memoryview:
    """`data` as a view of bytes; raises InvalidRequestError if it is not contiguous."""
    view = memoryview(data)
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    try:
        return view.cast("B")
    except TypeError as error:
        raise InvalidRequestError(f"batch bytes must be contiguous: {error}") from None


# --- check ----------------------------------------------------------------------------------


def check_crc(data: Buffer) -> bool:
    """Whether CRC-32C holds for `data`, one whole batch. Raises as `parse_header` does."""
    view = as_view(data)
    return check_batch_bytes(view, 0, parse_header(view))


def check_batch_bytes(view: memoryview, position: int, header: BatchHeader) -> bool:
    """Whether the batch of `header` lies wholly in `view` at `position` and its CRC-32C holds."""
    end = position + header.size_bytes
    return end <= len(view) and crc32c.crc32c(view[position + _AFTER_CRC : end]) == header.crc


def is_transactional(data: Buffer) -> bool:
    """Whether `data`, if it is a batch, says that it belongs to a transaction."""
    view = as_view(data)
    is_whole = view.nbytes >= fmt.HEADER_BYTES
    return is_whole and bool(view[fmt.ATTRIBUTES_AT + 1] & fmt.TRANSACTIONAL_BIT)


def validate_batch(
    data: Buffer,
    *,
    decompressed_bytes_max: int,
    require_keys: bool = False,
    header: BatchHeader | None = None,
) -> BatchHeader:
    """What validated_body does; returns the header alone."""
    return validated_body(
        data,
        decompressed_bytes_max=decompressed_bytes_max,
        require_keys=require_keys,
        header=header,
    )[0]


def validated_body(
    data: Buffer,
    *,
    decompressed_bytes_max: int,
    require_keys: bool = False,
    header: BatchHeader | None = None,
) -> tuple[BatchHeader, Block]:
    """Everything that must hold of a batch before it is stored; returns its header, and its
    records without compression.

    `data` is exactly one batch. Each record is looked at: lengths, offset deltas 0, 1, 2, ...,
    timestamps from -1 to the header's max timestamp (which one record must have, unless the log
    sets the time), headers with UTF-8 names, and keys if `require_keys`. Base offset and leader
    epoch are not looked at: the log sets them. Whether a producer may send control batches or
    LogAppendTime is the caller's rule. `header`: what parse_header says of `data`, if it was asked.

    Raises the subclass of InvalidBatchError that names what is wrong; InvalidBatchError itself for
    attributes and producer fields. Needs at most `decompressed_bytes_max` bytes beside `data`.
    """
    view = as_view(data)
    if header is None:
        header = parse_header(view)
    if header.size_bytes != len(view):
        raise BatchLengthError(
            f"the batch says it has {header.size_bytes} bytes; {len(view)} were given",
            batch_bytes=header.size_bytes,
            given_bytes=len(view),
        )
    actual = _crc32c(view[_AFTER_CRC:])
    if actual != header.crc:
        raise BatchChecksumError(
            f"the batch's CRC-32C is {actual:08x}; its header says {header.crc:08x}",
            actual=f"{actual:08x}",
            expected=f"{header.crc:08x}",
        )
    attributes = header.attributes
    if attributes & ~_PLAIN_ATTRIBUTES:
        _check_attributes(header)
    if header.producer_id != fmt.NO_PRODUCER_ID or attributes & fmt.TRANSACTIONAL_BIT:
        _check_producer(header)
    if header.record_count <= 0 or header.last_offset_delta != header.record_count - 1:
        raise BatchCountError(
            f"record count {header.record_count} and last offset delta "
            f"{header.last_offset_delta} disagree, or the batch is empty",
            record_count=header.record_count,
            last_offset_delta=header.last_offset_delta,
        )
    delta_max = header.max_timestamp - header.base_timestamp
    is_in_range = header.base_timestamp >= -1 and -1 <= header.max_timestamp < fmt.INT64_MAX
    if not is_in_range or delta_max > fmt.INT64_MAX:  # our encoder refuses INT64_MAX too
        raise BatchRecordError(
            f"base timestamp {header.base_timestamp} or max timestamp {header.max_timestamp} "
            "is out of range",
            base_timestamp=header.base_timestamp,
            max_timestamp=header.max_timestamp,
        )
    is_create_time = not attributes & fmt.TIMESTAMP_TYPE_BIT
    body = records_body(view, header, decompressed_bytes_max)
    _codec.walk_records(
        body,
        header.record_count,
        -1 - header.base_timestamp if is_create_time else fmt.INT64_MIN,
        delta_max if is_create_time else fmt.INT64_MAX,
        is_create_time,
        require_keys,
    )
    return header, body


def _check_attributes(header: BatchHeader) -> None:
    if header.compression >= len(CODEC_NAMES):
        raise BatchCompressionError(
            f"unknown compression code {header.compression}", compression=header.compression
        )
    if header.attributes & ~fmt.KNOWN_ATTRIBUTES or header.has_delete_horizon:
        raise InvalidBatchError(
            f"attributes {header.attributes & 0xFFFF:#06x} have bits that a producer may not set",
            attributes=header.attributes,
        )


def _check_producer(header: BatchHeader) -> None:
    """Without a producer id, epoch and sequence mean nothing: clients send -1 or 0."""
    if header.producer_id == fmt.NO_PRODUCER_ID:
        is_sane = not header.is_transactional
    else:
        sequence_min = fmt.NO_SEQUENCE if header.is_control else 0  # markers have no sequence
        is_sane = (
            header.producer_id >= 0
            and header.producer_epoch >= 0
            and header.base_sequence >= sequence_min
        )
    if not is_sane:
        raise InvalidBatchError(
            f"producer id {header.producer_id}, epoch {header.producer_epoch} and sequence "
            f"{header.base_sequence} do not fit together or to a "
            f"{'transactional' if header.is_transactional else 'plain'} batch",
            producer_id=header.producer_id,
            producer_epoch=header.producer_epoch,
            base_sequence=header.base_sequence,
        )


# --- read -----------------------------------------------------------------------------------


def iter_batches(data: Buffer) -> Iterator[memoryview]:
    """The whole batches in `data`, in order, as views; ends before a batch that is cut short.

    Raises BatchLengthError or BatchMagicError where something else than a batch begins.
    """
    view = as_view(data)
    position = 0
    while len(view) - position >= fmt.HEADER_BYTES:
        (length,) = fmt.LENGTH.unpack_from(view, position + fmt.BATCH_LENGTH_AT)
        end = position + fmt.LENGTH_END + length
        if length < fmt.HEADER_BYTES - fmt.LENGTH_END:
            raise BatchLengthError(
                f"batch length {length} is less than its header takes", position=position
            )
        if view[position + fmt.MAGIC_AT] != fmt.MAGIC:
            raise BatchMagicError(
                f"batch of format version {view[position + fmt.MAGIC_AT]}; only version "
                f"{fmt.MAGIC} is supported",
                position=position,
            )
        if end > len(view):
            return
        yield view[position:end]
        position = end


def decode_records(
    batch: Buffer,
    topic: str = "",
    partition: int = -1,
    *,
    from_offset: int = 0,
    decompressed_bytes_max: int,
) -> list[Record]:
    """The records of one batch at or after `from_offset`, in offset order.

    The CRC is not checked (see `check_crc`). Raises InvalidBatchError's subclasses.
    """
    view = as_view(batch)
    header = parse_header(view)
    body = records_body(view, header, decompressed_bytes_max)
    if header.record_count == 0:
        return []
    return _codec.decode_records(body, scan_span(header, from_offset), topic, partition)


def records_body(view: memoryview, header: BatchHeader, decompressed_bytes_max: int) -> Block:
    """The records of the batch that `view` starts with, decompressed, not yet looked at.

    Raises BatchLengthError if `view` is cut short, BatchCountError for a record count that the
    bytes cannot hold (so a count may be trusted for allocation), BatchCompressionError.
    """
    size = header.size_bytes
    if size > len(view):
        raise BatchLengthError(
            f"the batch has {size} bytes; {len(view)} are given",
            batch_bytes=size,
            given_bytes=len(view),
        )
    body: Block = view[fmt.HEADER_BYTES : size]
    if header.compression != CODEC_NONE and header.record_count > 0:
        bytes_max = min(decompressed_bytes_max, fmt.BATCH_BYTES_LIMIT)
        body = decompress(header.compression, body, bytes_max=bytes_max)
    if not 0 <= header.record_count <= len(body) // fmt.RECORD_BYTES_MIN:
        raise BatchCountError(
            f"{len(body)} bytes cannot hold the {header.record_count} records of the header",
            record_count=header.record_count,
        )
    return body


def scan_span(header: BatchHeader, from_offset: int) -> _codec.Span:
    """What the decoding loops need of the header; the sums they make of it stay inside int64."""
    if header.base_offset < 0 or header.last_offset > fmt.INT64_MAX:
        raise InvalidBatchError(
            f"base offset {header.base_offset} is out of range", base_offset=header.base_offset
        )
    base = header.base_timestamp
    is_append_time = header.timestamp_type == fmt.TIMESTAMP_LOG_APPEND_TIME
    return (
        header.record_count,
        header.base_offset,
        header.last_offset_delta,
        base,
        fmt.INT64_MIN - min(base, 0),
        fmt.INT64_MAX - max(base, 0),
        header.max_timestamp if is_append_time else None,
        max(0, min(from_offset, fmt.INT64_MAX)),
    )


# --- change ---------------------------------------------------------------------------------


def patch_offsets(batch: bytearray | memoryview, *, base_offset: int, leader_epoch: int) -> None:
    """Writes base offset and leader epoch in place; the CRC does not cover them."""
    length = parse_header(batch).batch_length
    prefix = header_prefix(length, base_offset=base_offset, leader_epoch=leader_epoch)
    batch[: fmt.PREFIX_BYTES] = prefix


def with_log_append_time(batch: Buffer, timestamp_ms: int) -> bytearray:
    """A copy whose records all have the time `timestamp_ms`; its CRC is made anew."""
    patched = bytearray(batch)
    header = parse_header(patched)
    attributes = header.attributes | fmt.TIMESTAMP_TYPE_BIT
    pack_header(patched, header._replace(attributes=attributes, max_timestamp=timestamp_ms))
    seal(patched)
    return patched


def with_producer(
    batch: bytearray | memoryview, *, producer_id: int, producer_epoch: int, base_sequence: int
) -> None:
    """Writes the producer's fields in place and makes the CRC anew."""
    pack_header(
        batch,
        parse_header(batch)._replace(
            producer_id=producer_id, producer_epoch=producer_epoch, base_sequence=base_sequence
        ),
    )
    seal(batch)


def pack_header(batch: bytearray | memoryview, header: BatchHeader) -> None:
    """Writes `header` as it is over the first 61 bytes, or raises InvalidRequestError."""
    try:
        batch[: fmt.HEADER_BYTES] = fmt.HEADER.pack(*header)  # pack_into would leave it half done
    except struct.error as error:
        raise InvalidRequestError(f"a field of the batch header: {error}") from None


def seal(batch: bytearray | memoryview) -> None:
    """Writes the CRC-32C of one whole batch into its header."""
    with memoryview(batch) as view:
        fmt.CRC.pack_into(batch, fmt.CRC_AT, crc32c.crc32c(view[_AFTER_CRC:]))
