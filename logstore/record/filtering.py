"""A stored batch with fewer records: what compaction makes of it.

    before   base offset 40, records 40 41 42 43, sequences 7..10
    after    base offset 40, records 41 43,       sequences 7..10, last offset still 43

Offsets, the offset range, producer fields and leader epoch stay, so that offsets never change and
sequences survive; record count, max timestamp, length and CRC are made anew. No record may be left:
such a batch is its header alone. The records kept are copied as they are, byte for byte.

With a delete horizon (KIP-534) the base timestamp field holds the horizon, and timestamp deltas are
counted from there: then the first fields of each record are written again. With LogAppendTime
deltas mean nothing, and are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from logstore.record import format as fmt
from logstore.record.batch import pack_header, seal
from logstore.record.compression import CODEC_NONE, Block, compress
from logstore.record.format import BatchHeader


def filter_batch(
    header: BatchHeader,
    body: Block,
    timestamps: Sequence[int],
    keep: Sequence[bool],
    *,
    delete_horizon_ms: int | None = None,
) -> bytearray:
    """The batch of `header` with the records that `keep` says, and with that delete horizon if it
    is not None.

    `body`: its records, decompressed and known to be sound (see batch.records_body). `timestamps`
    and `keep`: one for each record.
    """
    is_append_time = header.timestamp_type == fmt.TIMESTAMP_LOG_APPEND_TIME
    kept = [at for at, is_kept in enumerate(keep) if is_kept]
    spans = _spans(body, header.record_count)
    with memoryview(body) as view:
        if delete_horizon_ms is None or is_append_time:
            parts: list[Block] = [bytes(view[slice(*spans[at])]) for at in kept]
        else:
            parts = [
                _with_delta(view[slice(*spans[at])], timestamps[at] - delete_horizon_ms)
                for at in kept
            ]
    latest = header.max_timestamp
    if kept and not is_append_time:
        latest = max(timestamps[at] for at in kept)
    if delete_horizon_ms is not None:
        header = header._replace(
            attributes=header.attributes | fmt.DELETE_HORIZON_BIT, base_timestamp=delete_horizon_ms
        )
    return _assemble(header._replace(max_timestamp=latest, record_count=len(kept)), parts)


def empty_batch(header: BatchHeader) -> bytearray:
    """The batch of `header` without records."""
    return _assemble(header._replace(record_count=0), [])


def _assemble(header: BatchHeader, parts: Sequence[Block]) -> bytearray:
    body: Block = b"".join(parts)
    codec = header.compression
    if codec != CODEC_NONE:
        block = compress(codec, body) if body else body
        if len(block) < len(body):
            body = block
        else:  # as in the builder: what compression makes larger is stored plain
            codec = CODEC_NONE
    batch = bytearray(fmt.HEADER_BYTES) + body
    pack_header(
        batch,
        header._replace(
            batch_length=len(batch) - fmt.LENGTH_END,
            attributes=header.attributes & ~fmt.COMPRESSION_MASK | codec,
        ),
    )
    seal(batch)
    return batch


def _spans(body: Block, count: int) -> list[tuple[int, int]]:
    """Where each record begins and ends."""
    spans = []
    start = 0
    for _ in range(count):
        length, content = _read_varint(body, start)
        spans.append((start, content + length))
        start = content + length
    return spans


def _with_delta(record: memoryview, timestamp_delta: int) -> bytes:
    _, content = _read_varint(record, 0)
    _, rest = _read_varint(record, content + 1)  # behind the attributes
    head = bytes(record[content : content + 1]) + _varint(timestamp_delta)
    return _varint(len(head) + len(record) - rest) + head + bytes(record[rest:])


def _read_varint(data: Block, at: int) -> tuple[int, int]:
    """(value, position behind it) of the zigzag varint at `at`."""
    raw = shift = 0
    while True:
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return (raw >> 1) ^ -(raw & 1), at


def _varint(value: int) -> bytes:
    raw = value << 1 if value >= 0 else ~(value << 1)
    encoded = bytearray()
    while raw >= 0x80:
        encoded.append(raw & 0x7F | 0x80)
        raw >>= 7
    encoded.append(raw)
    return bytes(encoded)
