"""Invariant: what `validate_batch` accepts, every reader reads, alike, and its records make it."""

from __future__ import annotations

from logstore.errors import InvalidBatchError
from logstore.record import (
    TIMESTAMP_LOG_APPEND_TIME,
    check_crc,
    decode_columns,
    decode_records,
    encode_batch,
    validate_batch,
)
from tests.fuzz.batches import LIMIT, batches, repair_batch
from tests.fuzz.target import Target, promised, require


def check(data: bytes) -> object:
    header = validate_batch(data, decompressed_bytes_max=LIMIT)
    with promised:
        if header.base_offset < 0 or header.last_offset >= 1 << 63:
            return "offsets that only a log may set"  # readers refuse them, the log replaces them
        records = decode_records(data, decompressed_bytes_max=LIMIT)
        columns = decode_columns(data, decompressed_bytes_max=LIMIT)
        again = encode_batch(
            [record.value for record in records],
            [record.key for record in records],
            [record.timestamp for record in records],
            [record.headers for record in records],
        )
        once_more = decode_records(again, decompressed_bytes_max=LIMIT)
    require(check_crc(data), "its CRC holds")
    require(len(records) == header.record_count, "as many records as the header says")
    offsets = list(range(header.base_offset, header.last_offset + 1))
    require([record.offset for record in records] == offsets, "offsets without gaps")
    require(list(columns.offsets) == offsets, "the same in columns")
    times = [record.timestamp for record in records]
    require(max(times) == header.max_timestamp and min(times) >= -1, "timestamps within bounds")
    require(list(columns.timestamps) == times, "the same in columns")
    require(columns.values() == [record.value for record in records], "values as columns")
    require(columns.keys() == [record.key for record in records], "keys as columns")
    for before, after in zip(records, once_more, strict=True):
        same = before.key == after.key and before.value == after.value
        require(same and before.timestamp == after.timestamp, "a round trip")
        require(before.headers == after.headers, "headers survive a round trip")
    if header.timestamp_type == TIMESTAMP_LOG_APPEND_TIME:
        require(set(times) == {header.max_timestamp}, "the log's time is every record's")
    return header.attributes & 0x3F, min(len(records), 3)


TARGET = Target("batch_validate", batches, check, (InvalidBatchError,), repair_batch)
