"""Invariant: columns are refused and read exactly as records are, whatever the bytes."""

from __future__ import annotations

from logstore.errors import InvalidBatchError
from logstore.record import concat_columns, decode_columns, decode_records
from tests.fuzz.batches import LIMIT, batches
from tests.fuzz.target import Target, place_of, require


def check(data: bytes) -> object:
    try:
        columns = decode_columns(data, decompressed_bytes_max=LIMIT)
    except InvalidBatchError as error:
        try:
            decode_records(data, decompressed_bytes_max=LIMIT)
        except InvalidBatchError as same:
            require(str(error) == str(same), f"one message, not {error} and {same}")
            return place_of(error), type(error)
        require(False, f"read as records, refused as columns: {error}")
    try:
        records = decode_records(data, decompressed_bytes_max=LIMIT)
    except InvalidBatchError as error:
        # Header names are not in the columns.
        require("header" in str(error), f"read as columns, refused as records: {error}")
        return "headers", place_of(error)
    require(list(columns.offsets) == [record.offset for record in records], "offsets")
    require(list(columns.timestamps) == [record.timestamp for record in records], "timestamps")
    require(columns.keys() == [record.key for record in records], "keys")
    require(columns.values() == [record.value for record in records], "values")
    double = concat_columns([columns, columns])
    require(double.values() == columns.values() * 2, "two in a row")
    require(double.keys() == columns.keys() * 2, "two in a row")
    return "read", min(len(columns), 3)


TARGET = Target("batch_columns", batches, check, (InvalidBatchError,))
