from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from tests.record.samples import (
    CODECS,
    LIMIT,
    ROWS,
    ROWS_STRATEGY,
    build,
    rows_of,
    sealed,
    with_body,
)

if TYPE_CHECKING:
    from types import ModuleType

    from typing_extensions import Buffer

    from tests.record.samples import Row

# The fixture is one immutable module for the session, so hypothesis may run many examples on it.
PROPERTY = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def validate(record: ModuleType, batch: Buffer, *, require_keys: bool = False):
    return record.validate_batch(batch, decompressed_bytes_max=LIMIT, require_keys=require_keys)


# --- what is built is accepted and read back --------------------------------------------------


@pytest.mark.parametrize("compression", CODECS)
def test_round_trip(record: ModuleType, compression: str) -> None:
    batch = build(
        record,
        ROWS,
        compression,
        base_offset=1000,
        leader_epoch=4,
        producer_id=77,
        producer_epoch=2,
        base_sequence=10,
        is_transactional=True,
    )
    header = validate(record, batch)
    assert header == record.parse_header(batch)
    assert CODECS[header.compression] == compression
    assert header.size_bytes == len(batch)
    assert (header.base_offset, header.last_offset) == (1000, 1000 + len(ROWS) - 1)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (77, 2, 10)
    assert header.partition_leader_epoch == 4
    assert header.is_transactional
    assert not header.is_control
    assert header.base_timestamp == ROWS[0][2]
    assert header.max_timestamp == max(row[2] for row in ROWS)

    records = record.decode_records(batch, "orders", 3, decompressed_bytes_max=LIMIT)
    assert rows_of(records) == ROWS
    assert [r.offset for r in records] == [*range(1000, 1000 + len(ROWS))]
    assert {(r.topic, r.partition) for r in records} == {("orders", 3)}


@given(rows=ROWS_STRATEGY, compression=st.sampled_from(CODECS))
@PROPERTY
def test_round_trip_of_any_rows(record: ModuleType, rows: list[Row], compression: str) -> None:
    batch = build(record, rows, compression)
    validate(record, batch)
    assert rows_of(record.decode_records(batch, decompressed_bytes_max=LIMIT)) == rows


@pytest.mark.parametrize("compression", CODECS)
def test_from_offset(record: ModuleType, compression: str) -> None:
    batch = build(record, ROWS, compression, base_offset=50)
    for from_offset in (-5, 0, 50, 51, 50 + len(ROWS) - 1, 50 + len(ROWS), 2**63, 2**70):
        records = record.decode_records(
            batch, from_offset=from_offset, decompressed_bytes_max=LIMIT
        )
        assert rows_of(records) == ROWS[max(0, from_offset - 50) :]


def test_default_topic_and_partition(record: ModuleType) -> None:
    (one,) = record.decode_records(build(record, ROWS[:1]), decompressed_bytes_max=LIMIT)
    assert (one.topic, one.partition) == ("", -1)


# --- any changed byte is noticed -------------------------------------------------------------


@pytest.mark.parametrize("compression", CODECS)
def test_a_changed_byte_is_refused_unless_it_is_the_logs(
    record: ModuleType, compression: str
) -> None:
    batch = build(record, ROWS[:3] + ROWS[4:40], compression)
    for position in range(len(batch)):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(batch)
            changed[position] ^= change
            if position < 8 or 12 <= position < 16:  # base offset, leader epoch
                validate(record, changed)
                continue
            expected: type[InvalidBatchError] = BatchChecksumError
            if position < 12:
                expected = BatchLengthError
            elif position == 16:
                expected = BatchMagicError
            with pytest.raises(expected):
                validate(record, changed)


@given(data=st.data(), compression=st.sampled_from(CODECS))
@PROPERTY
def test_changed_bytes_under_a_right_crc_raise_only_documented_errors(
    record: ModuleType, data: st.DataObject, compression: str
) -> None:
    """What a hostile client can send: everything it likes, with a CRC that fits."""
    batch = build(record, ROWS[:12], compression)
    for _ in range(data.draw(st.integers(1, 3))):
        batch[data.draw(st.integers(21, len(batch) - 1))] = data.draw(st.integers(0, 255))
    batch = sealed(batch)
    accepted = True
    try:
        validate(record, batch)
    except InvalidBatchError:
        accepted = False
    for decode in (record.decode_records, record.decode_columns):
        try:
            decoded = decode(batch, decompressed_bytes_max=LIMIT)
        except InvalidBatchError:
            assert not accepted
        else:
            assert not accepted or len(decoded) == record.parse_header(batch).record_count


@given(data=st.binary(max_size=300), count=st.integers(-2, 30))
@PROPERTY
def test_random_records_raise_only_documented_errors(
    record: ModuleType, data: bytes, count: int
) -> None:
    batch = with_body(build(record, ROWS[:1]), data, count)
    for call in (record.validate_batch, record.decode_records, record.decode_columns):
        with contextlib.suppress(InvalidBatchError):
            call(batch, decompressed_bytes_max=LIMIT)


@given(data=st.binary(max_size=200))
@PROPERTY
def test_garbage_raises_only_documented_errors(record: ModuleType, data: bytes) -> None:
    for call in (record.validate_batch, record.decode_records, record.decode_columns):
        with pytest.raises(InvalidBatchError):
            call(data, decompressed_bytes_max=LIMIT)
    with pytest.raises(InvalidBatchError):
        record.check_crc(data)
    with contextlib.suppress(InvalidBatchError):
        assert list(record.iter_batches(data)) == []


@pytest.mark.parametrize("compression", CODECS)
def test_cut_short_anywhere(record: ModuleType, compression: str) -> None:
    batch = build(record, ROWS[:8], compression)
    for length in range(len(batch)):
        for call in (record.validate_batch, record.decode_records, record.decode_columns):
            with pytest.raises(BatchLengthError):
                call(batch[:length], decompressed_bytes_max=LIMIT)
    with pytest.raises(BatchLengthError, match="were given"):
        validate(record, batch + b"x")


# --- the header's claims ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "patches"),
    [
        (BatchCountError, {"record_count": (">i", 0), "last_offset_delta": (">i", -1)}),
        (BatchCountError, {"record_count": (">i", -1), "last_offset_delta": (">i", -2)}),
        (BatchCountError, {"record_count": (">i", 5), "last_offset_delta": (">i", 4)}),
        (BatchCountError, {"record_count": (">i", 3), "last_offset_delta": (">i", 2)}),
        (BatchCountError, {"last_offset_delta": (">i", 4)}),
        (
            BatchCountError,
            {"record_count": (">i", 2**31 - 1), "last_offset_delta": (">i", 2**31 - 2)},
        ),
        (BatchRecordError, {"max_timestamp": (">q", 1700000000006)}),
        (BatchRecordError, {"max_timestamp": (">q", 1700000000004)}),
        (BatchRecordError, {"max_timestamp": (">q", -2)}),
        (BatchRecordError, {"base_timestamp": (">q", -2)}),
        (BatchRecordError, {"base_timestamp": (">q", 0)}),
        (BatchRecordError, {"base_timestamp": (">q", -1), "max_timestamp": (">q", 2**63 - 1)}),
        (BatchCompressionError, {"attributes": (">h", 5)}),
        (BatchCompressionError, {"attributes": (">h", 1)}),
        (InvalidBatchError, {"attributes": (">h", 0x40)}),
        (InvalidBatchError, {"attributes": (">h", 0x80)}),
        (InvalidBatchError, {"attributes": (">h", -0x8000)}),
        (InvalidBatchError, {"attributes": (">h", 0x10)}),  # transactional without producer id
        (InvalidBatchError, {"producer_id": (">q", -2)}),
        (InvalidBatchError, {"producer_id": (">q", 1)}),  # without epoch and sequence
        (InvalidBatchError, {"producer_id": (">q", 1), "producer_epoch": (">h", 0)}),
    ],
)
def test_a_header_that_claims_nonsense(
    record: ModuleType, error: type[InvalidBatchError], patches: dict[str, tuple[str, int]]
) -> None:
    batch = build(record, ROWS[:4])
    validate(record, sealed(batch))
    with pytest.raises(error) as raised:
        validate(record, sealed(batch, **patches))
    assert type(raised.value) is error


@pytest.mark.parametrize(
    "patches",
    [
        {"producer_epoch": (">h", 0), "base_sequence": (">i", 0)},  # KafkaJS, no producer id
        {"producer_id": (">q", 0), "producer_epoch": (">h", 0), "base_sequence": (">i", 0)},
        {"producer_id": (">q", 5), "producer_epoch": (">h", 1), "attributes": (">h", 0x30)},
        {"base_offset": (">q", -9)},
    ],
)
def test_headers_that_clients_send(record: ModuleType, patches: dict[str, tuple[str, int]]) -> None:
    validate(record, sealed(build(record, ROWS[:4]), **patches))


def test_a_count_is_not_trusted_for_allocation(record: ModuleType) -> None:
    batch = sealed(build(record, ROWS[:1]), record_count=(">i", 2**31 - 1))
    for call in (record.decode_records, record.decode_columns):
        with pytest.raises(BatchCountError, match="cannot hold"):
            call(batch, decompressed_bytes_max=LIMIT)


def test_keys_are_required_only_where_asked(record: ModuleType) -> None:
    batch = build(record, [(b"", b"v", 5, ())])
    validate(record, batch, require_keys=True)
    rows: list[Row] = [
        (None, b"v", 5, ()),
        (None, b"a value of some length", 5, ()),
        (None, b"v", 5, (("h", None),)),
    ]
    for row in rows:
        batch = build(record, [(b"k", b"v", 5, ()), row])
        validate(record, batch)
        with pytest.raises(BatchRecordError, match="record 1 of the batch: it has no key"):
            validate(record, batch, require_keys=True)


@pytest.mark.parametrize("compression", CODECS[1:])
def test_the_decompression_limit(record: ModuleType, compression: str) -> None:
    batch = build(record, [(None, bytes(100_000), 5, ())], compression)
    body = 100_000 + 12
    for call in (record.validate_batch, record.decode_records, record.decode_columns):
        call(batch, decompressed_bytes_max=body)
        with pytest.raises(BatchCompressionError, match="limit"):
            call(batch, decompressed_bytes_max=body - 4)


# --- compaction's leavings are read, not stored -------------------------------------------------


def test_gaps_between_offsets_are_read(record: ModuleType) -> None:
    whole = build(record, [(b"k", b"v%d" % i, 5, ()) for i in range(3)], base_offset=10)
    body = bytes(whole[61:])
    each = len(body) // 3
    batch = sealed(with_body(whole, body[:each] + body[2 * each :], 2), last_offset_delta=(">i", 5))
    records = record.decode_records(batch, decompressed_bytes_max=LIMIT)
    assert [(r.offset, r.value) for r in records] == [(10, b"v0"), (12, b"v2")]
    assert record.parse_header(batch).last_offset == 15
    assert list(record.decode_columns(batch, decompressed_bytes_max=LIMIT).offsets) == [10, 12]
    with pytest.raises(BatchCountError):
        validate(record, batch)
    with pytest.raises(BatchRecordError, match=r"record 1 .* offset delta"):
        validate(record, sealed(batch, last_offset_delta=(">i", 1)))


def test_a_batch_whose_records_were_all_removed(record: ModuleType) -> None:
    for attributes in (0, 4):
        batch = sealed(with_body(build(record, ROWS[:1]), b"", 0), attributes=(">h", attributes))
        assert record.decode_records(batch, decompressed_bytes_max=LIMIT) == []
        assert len(record.decode_columns(batch, decompressed_bytes_max=LIMIT)) == 0
        with pytest.raises(BatchCountError):
            validate(record, batch)


def test_an_offset_that_leaves_int64(record: ModuleType) -> None:
    batch = build(record, ROWS[:2], base_offset=2**63 - 2)
    assert [r.offset for r in record.decode_records(batch, decompressed_bytes_max=LIMIT)] == [
        2**63 - 2,
        2**63 - 1,
    ]
    for base_offset in (2**63 - 1, -1):
        record.patch_offsets(batch, base_offset=base_offset, leader_epoch=0)
        for call in (record.decode_records, record.decode_columns):
            with pytest.raises(InvalidBatchError, match="base offset"):
                call(batch, decompressed_bytes_max=LIMIT)


def test_a_timestamp_that_leaves_int64(record: ModuleType) -> None:
    rows: list[Row] = [(None, b"v", 0, ()), (None, b"v", 2**63 - 2, ())]
    for base, error in ((1, None), (2, BatchRecordError)):
        batch = sealed(build(record, rows), base_timestamp=(">q", base))
        for call in (record.decode_records, record.decode_columns):
            if error is None:
                call(batch, decompressed_bytes_max=LIMIT)
            else:
                with pytest.raises(error, match="timestamp"):
                    call(batch, decompressed_bytes_max=LIMIT)


# --- splitting, checking, changing ---------------------------------------------------------------


def test_iter_batches(record: ModuleType) -> None:
    batches = [bytes(build(record, ROWS[: n + 1], CODECS[n])) for n in range(5)]
    data = b"".join(batches)
    assert [bytes(view) for view in record.iter_batches(data)] == batches
    start = len(data) - len(batches[-1])
    for end in (start, start + 1, start + 60, start + 61, len(data) - 1):
        assert [bytes(v) for v in record.iter_batches(memoryview(data)[:end])] == batches[:-1]
    assert list(record.iter_batches(b"")) == []


def test_iter_batches_refuses_what_is_no_batch(record: ModuleType) -> None:
    batch = build(record, ROWS[:1])
    views = record.iter_batches(batch + sealed(batch, batch_length=(">i", 48)))
    assert next(views) == batch
    with pytest.raises(BatchLengthError):
        next(views)
    batch[16] = 1
    with pytest.raises(BatchMagicError, match="version 1;"):
        list(record.iter_batches(batch))


def test_check_crc(record: ModuleType) -> None:
    batch = build(record, ROWS)
    assert record.check_crc(batch)
    header = record.parse_header(batch)
    data = memoryview(b"before" + batch + b"after")
    assert record.check_batch_bytes(data, 6, header)
    assert not record.check_batch_bytes(data, 5, header)
    assert not record.check_batch_bytes(data[: len(batch) + 5], 6, header)
    batch[-1] ^= 1
    assert not record.check_crc(batch)


def test_patch_offsets_keeps_the_crc(record: ModuleType) -> None:
    batch = build(record, ROWS)
    rest = bytes(batch[16:])
    for target in (batch, memoryview(batch)):
        record.patch_offsets(target, base_offset=12345, leader_epoch=6)
        header = validate(record, batch)
        assert (header.base_offset, header.partition_leader_epoch) == (12345, 6)
        assert bytes(batch[16:]) == rest
        assert batch[:16] == record.header_prefix(header, base_offset=12345, leader_epoch=6)
    with pytest.raises(InvalidRequestError):
        record.patch_offsets(batch, base_offset=2**63, leader_epoch=0)


@pytest.mark.parametrize("compression", CODECS)
def test_log_append_time_is_every_records_time(record: ModuleType, compression: str) -> None:
    batch = build(record, ROWS, compression)
    stamped = record.with_log_append_time(batch, 1800000000000)
    header = validate(record, stamped)
    assert header.timestamp_type == record.TIMESTAMP_LOG_APPEND_TIME
    assert header.max_timestamp == 1800000000000
    assert record.parse_header(batch).timestamp_type == record.TIMESTAMP_CREATE_TIME
    records = record.decode_records(stamped, decompressed_bytes_max=LIMIT)
    assert {r.timestamp for r in records} == {1800000000000}
    assert set(record.decode_columns(stamped, decompressed_bytes_max=LIMIT).timestamps) == {
        1800000000000
    }
    with pytest.raises(InvalidRequestError):
        record.with_log_append_time(batch, 2**63)


def test_with_producer_in_place(record: ModuleType) -> None:
    batch = build(record, ROWS)
    record.with_producer(batch, producer_id=9, producer_epoch=3, base_sequence=2**31 - 1)
    header = validate(record, batch)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (9, 3, 2**31 - 1)
    with pytest.raises(InvalidRequestError):
        record.with_producer(batch, producer_id=9, producer_epoch=2**15, base_sequence=0)
    validate(record, batch)


def test_any_contiguous_buffer_will_do(record: ModuleType) -> None:
    batch = build(record, ROWS[:1])
    for data in (bytes(batch), batch, memoryview(batch), memoryview(batch).cast("b")):
        validate(record, data)
        assert len(record.decode_records(data, decompressed_bytes_max=LIMIT)) == 1
        assert len(record.decode_columns(data, decompressed_bytes_max=LIMIT)) == 1
    with pytest.raises(InvalidRequestError, match="contiguous"):
        validate(record, memoryview(bytes(200))[::2])


def test_length_field_is_big_endian_at_8(record: ModuleType) -> None:
    batch = build(record, ROWS[:1])
    assert struct.unpack_from(">i", batch, 8) == (len(batch) - 12,)


def test_a_time_that_no_encoder_could_write_again_is_not_stored(record: ModuleType) -> None:
    """Whoever copies records, as compaction does, must be able to."""
    row: Row = (None, b"v", 0, ())
    log_append_time = {"attributes": (">h", 8), "max_timestamp": (">q", 2**63 - 2)}
    batch = sealed(build(record, [row]), **log_append_time)
    assert record.validate_batch(batch, decompressed_bytes_max=LIMIT).max_timestamp == 2**63 - 2
    for patches in ({"attributes": (">h", 8)}, {"base_timestamp": (">q", 2**63 - 1)}):
        batch = sealed(build(record, [row]), **patches, max_timestamp=(">q", 2**63 - 1))
        with pytest.raises(BatchRecordError, match="out of range"):
            record.validate_batch(batch, decompressed_bytes_max=LIMIT)
