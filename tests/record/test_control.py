"""Transaction markers against their bytes in Kafka's schemas, and as kafka-python reads them."""

from __future__ import annotations

import pytest
from kafka.record import MemoryRecords

from logstore.errors import InvalidBatchError
from logstore.record import Marker, encode_batch, encode_marker, marker_of, parse_header


@pytest.mark.parametrize(("marker", "number"), [(Marker.ABORT, 0), (Marker.COMMIT, 1)])
def test_a_marker_in_bytes(marker: Marker, number: int) -> None:
    batch = encode_marker(
        marker, producer_id=9, producer_epoch=3, timestamp_ms=5, coordinator_epoch=7
    )
    header = parse_header(batch)
    assert header.is_control
    assert header.is_transactional
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (9, 3, -1)
    key, value = bytes([0, 0, 0, number]), bytes([0, 0, 0, 0, 0, 7])
    assert bytes(batch[61:]).endswith(bytes([8]) + key + bytes([12]) + value + b"\0")
    assert marker_of(batch) is marker


def test_control_records_of_other_types_end_nothing() -> None:
    for key in (b"\0\0\0\2", b"\0\0\0\x03", None):
        assert marker_of(encode_batch([b""], [key], is_control=True)) is None


def test_a_key_that_is_too_short() -> None:
    with pytest.raises(InvalidBatchError, match="four bytes"):
        marker_of(encode_batch([b""], [b"\0\0\0"], is_control=True))


@pytest.mark.parametrize("marker", list(Marker))
def test_others_read_our_markers(marker: Marker) -> None:
    written = encode_marker(
        marker, producer_id=9, producer_epoch=3, timestamp_ms=5, coordinator_epoch=7
    )
    batch = MemoryRecords(bytes(written)).next_batch()
    assert batch.validate_crc()
    assert batch.is_control_batch
    assert batch.is_transactional
    assert (batch.producer_id, batch.producer_epoch) == (9, 3)
    (record,) = batch
    assert (record.abort, record.commit) == (marker is Marker.ABORT, marker is Marker.COMMIT)
