from __future__ import annotations

import struct

import pytest

from logstore.errors import BatchLengthError, BatchMagicError, InvalidRequestError
from logstore.record import format as fmt
from logstore.record.format import BatchHeader, header_prefix, parse_header

HEADER = BatchHeader(
    base_offset=7,
    batch_length=100,
    partition_leader_epoch=3,
    magic=2,
    crc=0xDEADBEEF,
    attributes=0,
    last_offset_delta=4,
    base_timestamp=1000,
    max_timestamp=1004,
    producer_id=9,
    producer_epoch=1,
    base_sequence=50,
    record_count=5,
)


def packed(**changes: int) -> bytes:
    return fmt.HEADER.pack(*HEADER._replace(**changes))


def test_every_field_is_where_the_constants_say() -> None:
    data = packed()
    assert len(data) == fmt.HEADER_BYTES == 61
    for layout, at, value in (
        (">q", fmt.BASE_OFFSET_AT, 7),
        (">i", fmt.BATCH_LENGTH_AT, 100),
        (">i", fmt.LEADER_EPOCH_AT, 3),
        (">b", fmt.MAGIC_AT, 2),
        (">I", fmt.CRC_AT, 0xDEADBEEF),
        (">h", fmt.ATTRIBUTES_AT, 0),
        (">i", fmt.LAST_OFFSET_DELTA_AT, 4),
        (">q", fmt.BASE_TIMESTAMP_AT, 1000),
        (">q", fmt.MAX_TIMESTAMP_AT, 1004),
        (">q", fmt.PRODUCER_ID_AT, 9),
        (">h", fmt.PRODUCER_EPOCH_AT, 1),
        (">i", fmt.BASE_SEQUENCE_AT, 50),
        (">i", fmt.RECORD_COUNT_AT, 5),
    ):
        assert struct.unpack_from(layout, data, at) == (value,)


def test_parse_header_at_a_position() -> None:
    header = parse_header(b"xyz" + packed(), 3)
    assert header == HEADER
    assert (header.size_bytes, header.last_offset) == (112, 11)


@pytest.mark.parametrize(
    ("attributes", "compression", "timestamp_type", "transactional", "control", "horizon"),
    [
        (0, 0, fmt.TIMESTAMP_CREATE_TIME, False, False, False),
        (4, 4, fmt.TIMESTAMP_CREATE_TIME, False, False, False),
        (8, 0, fmt.TIMESTAMP_LOG_APPEND_TIME, False, False, False),
        (0x10, 0, fmt.TIMESTAMP_CREATE_TIME, True, False, False),
        (0x20, 0, fmt.TIMESTAMP_CREATE_TIME, False, True, False),
        (0x40, 0, fmt.TIMESTAMP_CREATE_TIME, False, False, True),
        (-1, 7, fmt.TIMESTAMP_LOG_APPEND_TIME, True, True, True),
    ],
)
def test_attribute_bits(
    attributes: int,
    compression: int,
    timestamp_type: int,
    transactional: bool,
    control: bool,
    horizon: bool,
) -> None:
    header = parse_header(packed(attributes=attributes))
    assert header.compression == compression
    assert header.timestamp_type == timestamp_type
    assert header.is_transactional is transactional
    assert header.is_control is control
    assert header.has_delete_horizon is horizon


@pytest.mark.parametrize("length", range(61))
def test_a_header_cut_short(length: int) -> None:
    with pytest.raises(BatchLengthError):
        parse_header(packed()[:length])


@pytest.mark.parametrize("batch_length", [-(2**31), -1, 0, 48])
def test_a_length_below_the_header(batch_length: int) -> None:
    with pytest.raises(BatchLengthError):
        parse_header(packed(batch_length=batch_length))


@pytest.mark.parametrize("magic", [-128, 0, 1, 3, 127])
def test_another_magic(magic: int) -> None:
    with pytest.raises(BatchMagicError, match=f"version {magic};"):
        parse_header(packed(magic=magic))


def test_header_prefix() -> None:
    prefix = header_prefix(HEADER, base_offset=2**40, leader_epoch=5)
    assert prefix == header_prefix(100, base_offset=2**40, leader_epoch=5)
    assert parse_header(prefix + packed()[16:]) == HEADER._replace(
        base_offset=2**40, partition_leader_epoch=5
    )
    with pytest.raises(InvalidRequestError):
        header_prefix(HEADER, base_offset=2**63, leader_epoch=0)
