from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch

from logstore.record import (
    CODEC_NAMES,
    TIMESTAMP_LOG_APPEND_TIME,
    Record,
    check_crc,
    decode_records,
    empty_batch,
    encode_batch,
    filter_batch,
    parse_header,
    records_body,
    with_log_append_time,
)

LIMIT = 1 << 24
BYTES = st.none() | st.binary(max_size=200)
RECORDS = st.lists(
    st.tuples(BYTES, BYTES, st.integers(-1, 1 << 50), st.booleans()), min_size=1, max_size=12
)


def fields(records: list[Record]) -> list[tuple[object, ...]]:
    return [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in records]


def filtered(
    batch: bytearray, keep: list[bool], *, delete_horizon_ms: int | None = None
) -> bytearray:
    header = parse_header(batch)
    records = decode_records(batch, decompressed_bytes_max=LIMIT)
    body = records_body(memoryview(batch), header, LIMIT)
    times = [record.timestamp for record in records]
    return filter_batch(header, body, times, keep, delete_horizon_ms=delete_horizon_ms)


def sample(records: list[tuple[bytes | None, bytes | None, int, bool]], codec: str) -> bytearray:
    return encode_batch(
        [value for _, value, _, _ in records],
        [key for key, _, _, _ in records],
        [timestamp for _, _, timestamp, _ in records],
        [[("name", b"x" * 20)] if index % 3 == 0 else [] for index in range(len(records))],
        compression=codec,
        base_offset=1 << 40,
        leader_epoch=7,
        producer_id=5,
        producer_epoch=2,
        base_sequence=11,
        is_transactional=True,
    )


@given(
    records=RECORDS,
    codec=st.sampled_from(CODEC_NAMES),
    horizon=st.none() | st.integers(0, 1 << 60),
    is_append_time=st.booleans(),
)
def test_what_is_kept_reads_as_before(
    records: list[tuple[bytes | None, bytes | None, int, bool]],
    codec: str,
    horizon: int | None,
    is_append_time: bool,
) -> None:
    batch = sample(records, codec)
    if is_append_time:
        batch = with_log_append_time(batch, 12345)
    keep = [is_kept for *_, is_kept in records]
    result = filtered(batch, keep, delete_horizon_ms=horizon)
    assert check_crc(result)
    before = decode_records(batch, decompressed_bytes_max=LIMIT)
    wanted = [record for record, is_kept in zip(before, keep, strict=True) if is_kept]
    assert fields(decode_records(result, decompressed_bytes_max=LIMIT)) == fields(wanted)
    old, new = parse_header(batch), parse_header(result)
    assert (new.base_offset, new.last_offset) == (old.base_offset, old.last_offset)
    assert (new.producer_id, new.producer_epoch, new.base_sequence) == (5, 2, 11)
    assert (new.partition_leader_epoch, new.record_count) == (7, len(wanted))
    assert (new.is_transactional, new.timestamp_type) == (True, old.timestamp_type)
    assert new.compression in (0, old.compression)
    assert new.has_delete_horizon == (horizon is not None)
    assert new.base_timestamp == (old.base_timestamp if horizon is None else horizon)
    if wanted and new.timestamp_type != TIMESTAMP_LOG_APPEND_TIME:
        assert new.max_timestamp == max(record.timestamp for record in wanted)
    else:
        assert new.max_timestamp == old.max_timestamp


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_it_stays_compressed_with_its_own_codec(codec: str) -> None:
    batch = sample([(b"key", b"value" * 50, 1000 + index, True) for index in range(10)], codec)
    result = filtered(batch, [index % 2 == 0 for index in range(10)])
    assert parse_header(result).compression == CODEC_NAMES.index(codec)


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_another_implementation_reads_gaps_and_the_delete_horizon(codec: str) -> None:
    batch = sample([(b"k", b"v" * 100, 1000 + index, True) for index in range(6)], codec)
    result = filtered(batch, [False, True, True, False, True, False], delete_horizon_ms=99)
    foreign = DefaultRecordBatch(bytes(result))
    assert foreign.validate_crc()
    found = [(r.offset - (1 << 40), r.timestamp, r.value) for r in foreign]
    assert found == [(1, 1001, b"v" * 100), (2, 1002, b"v" * 100), (4, 1004, b"v" * 100)]


def test_without_records_only_the_header_is_left() -> None:
    batch = sample([(b"k", b"v" * 100, 1000, True)] * 3, "gzip")
    result = empty_batch(parse_header(batch))
    assert len(result) == 61
    assert check_crc(result)
    assert decode_records(result, decompressed_bytes_max=LIMIT) == []
    assert result == filtered(batch, [False] * 3)
    header = parse_header(result)
    assert (header.last_offset, header.base_sequence) == ((1 << 40) + 2, 11)
    assert (header.max_timestamp, header.compression) == (1000, 0)


def test_golden_bytes_of_a_batch_with_a_delete_horizon() -> None:
    batch = encode_batch([b"v", None], [b"k", b"k"], [5, 6])
    result = filtered(batch, [False, True], delete_horizon_ms=10)
    header = parse_header(result)
    assert header.attributes == 0x40
    # length 7, attributes, timestamp delta -4, offset delta 1, key "k", null value, no headers
    assert result[61:] == bytes([14, 0, 7, 2, 2, ord("k"), 1, 0])
