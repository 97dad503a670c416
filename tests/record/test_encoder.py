"""The writing loop under the builder; what the builder promises is in test_builder.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.record.samples import ROWS, build

if TYPE_CHECKING:
    from types import ModuleType


def test_a_record_byte_by_byte(record: ModuleType) -> None:
    batch = build(record, [(None, b"", 5, ()), (b"k", b"v", 4, (("h", b"x"), ("é", None)))])
    assert bytes(batch[61:]).hex(" ") == (
        "0c 00 00 00 01 00 00 "  # length 6; null key, empty value, no headers
        "20 00 01 02 02 6b 02 76 04 02 68 02 78 04 c3 a9 01"  # timestamp -1, offset +1
    )


def test_take_hands_over_room_for_the_header_and_the_records(record: ModuleType) -> None:
    encoder = record._encoder.RecordEncoder(10**6)
    for row in ROWS:
        assert encoder.try_append(*row)
    size = encoder.size_bytes
    assert encoder.base_timestamp == ROWS[0][2]
    assert encoder.max_timestamp == max(row[2] for row in ROWS)
    taken = encoder.take()
    assert len(taken) == size
    assert taken[61:] == build(record, ROWS)[61:]
    assert (encoder.size_bytes, encoder.record_count, encoder.max_timestamp) == (61, 0, -1)


def test_extend_stops_where_the_batch_is_full(record: ModuleType) -> None:
    encoder = record._encoder.RecordEncoder(61 + 2 * 17)
    values = (bytes(10), bytes(10), b"", bytes(10))
    assert encoder.extend(values, None, None, 5, None) == 2
    assert encoder.record_count == 2
    assert encoder.extend(values[2:], None, None, 5, None) == 0
