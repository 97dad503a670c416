"""Records to test with, as (key, value, timestamp, headers), and batches of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

import crc32c
from hypothesis import strategies as st

if TYPE_CHECKING:
    from types import ModuleType

Row: TypeAlias = tuple[bytes | None, bytes | None, int, tuple[tuple[str, bytes | None], ...]]

LIMIT = 1 << 20
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")

ROWS: list[Row] = [
    (b"k", b"v", 1700000000000, ()),
    (None, b"", 1700000000005, (("trace", b"1"), ("trace", None), ("größe", b""))),
    (b"", None, 1699999999000, ()),
    (None, None, 1700000000001, (("", b"x" * 200),)),
    *((b"key-%d" % i, b"value " * i, 1700000000000 + i, ()) for i in range(200)),
]

_parts = st.none() | st.binary(max_size=20) | st.binary(min_size=60, max_size=200)
_headers = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3)
_timestamps = st.one_of(
    st.integers(-1, 2**63 - 2), st.integers(1700000000000, 1700000100000), st.just(-1)
)
ROWS_STRATEGY: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(_parts, _parts, _timestamps, _headers.map(tuple)), min_size=1, max_size=20
)


def build(record: ModuleType, rows: list[Row], compression: str = "none", **fields) -> bytearray:
    builder = record.BatchBuilder(compression=compression)
    for key, value, timestamp, headers in rows:
        assert builder.try_append(key, value, timestamp, headers)
    batch: bytearray = builder.build(**fields)
    return batch


def rows_of(records) -> list[Row]:
    return [(r.key, r.value, r.timestamp, r.headers) for r in records]


def sealed(batch: bytes | bytearray, **patches: tuple[str, int]) -> bytearray:
    """A copy with header fields overwritten, `name=(struct format, value)`, and a right CRC."""
    at = {
        "base_offset": 0,
        "batch_length": 8,
        "attributes": 21,
        "last_offset_delta": 23,
        "base_timestamp": 27,
        "max_timestamp": 35,
        "producer_id": 43,
        "producer_epoch": 51,
        "base_sequence": 53,
        "record_count": 57,
    }
    patched = bytearray(batch)
    for name, (layout, value) in patches.items():
        struct.pack_into(layout, patched, at[name], value)
    struct.pack_into(">I", patched, 17, crc32c.crc32c(bytes(patched[21:])))
    return patched


def with_body(batch: bytes | bytearray, body: bytes, count: int) -> bytearray:
    """The batch with other records, their count and length set."""
    return sealed(
        bytes(batch[:61]) + body,
        batch_length=(">i", 49 + len(body)),
        record_count=(">i", count),
        last_offset_delta=(">i", count - 1),
    )
