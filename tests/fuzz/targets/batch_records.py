"""Invariant: any bytes are an InvalidBatchError, or records within what the header says."""

from __future__ import annotations

from logstore.errors import InvalidBatchError
from logstore.record import decode_records, parse_header
from tests.fuzz.batches import LIMIT, batches
from tests.fuzz.target import Target, require

FROM_OFFSET = 2


def check(data: bytes) -> object:
    """Without the CRC, which the log has checked: every flipped bit comes through."""
    records = decode_records(data, "t", 3, decompressed_bytes_max=LIMIT)
    header = parse_header(data)
    offsets = [record.offset for record in records]
    require(len(records) == header.record_count, "as many records as the header says")
    require(offsets == sorted(set(offsets)), "offsets ascend")
    if records:
        require(header.base_offset <= offsets[0], "no offset in front of the batch")
        require(offsets[-1] <= header.last_offset, "no offset behind the batch")
    held = sum(len(record.key or b"") + len(record.value or b"") for record in records)
    require(held <= max(LIMIT, len(data)), "no more bytes than the limit")
    later = decode_records(data, from_offset=FROM_OFFSET, decompressed_bytes_max=LIMIT)
    expected = [offset for offset in offsets if offset >= FROM_OFFSET]
    require([record.offset for record in later] == expected, "records from an offset on")
    return header.attributes & 0xF, min(len(records), 3), len(later) < len(records)


TARGET = Target("batch_records", batches, check, (InvalidBatchError,))
