from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import BatchTooLargeError, InvalidRequestError
from tests.record.samples import CODECS, LIMIT, ROWS, ROWS_STRATEGY, build, rows_of
from tests.record.test_batch import PROPERTY

if TYPE_CHECKING:
    from types import ModuleType

    from tests.record.samples import Row


@given(rows=ROWS_STRATEGY)
@PROPERTY
def test_size_bytes_is_the_size_of_the_batch(record: ModuleType, rows: list[Row]) -> None:
    builder = record.BatchBuilder()
    assert (builder.size_bytes, builder.record_count) == (61, 0)
    for index, (key, value, timestamp, headers) in enumerate(rows):
        assert builder.try_append(key, value, timestamp, headers)
        assert builder.record_count == index + 1
    size = builder.size_bytes
    assert len(builder.build()) == size
    assert (builder.size_bytes, builder.record_count) == (61, 0)


def test_a_record_that_does_not_fit_changes_nothing(record: ModuleType) -> None:
    builder = record.BatchBuilder(batch_bytes_max=61 + 3 * 14)  # 7 bytes about each value
    for value in (b"1234567", b"2345678", b"3456789"):
        assert builder.try_append(None, value, 10)
    size = builder.size_bytes
    assert size == 61 + 3 * 14
    assert not builder.try_append(None, b"", 99)
    assert (builder.size_bytes, builder.record_count) == (size, 3)
    header = record.validate_batch(builder.build(), decompressed_bytes_max=LIMIT)
    assert (header.record_count, header.max_timestamp) == (3, 10)
    assert builder.try_append(None, b"", 99)


def test_an_empty_builder_takes_any_record(record: ModuleType) -> None:
    builder = record.BatchBuilder(batch_bytes_max=62)
    assert builder.try_append(None, bytes(5000), 1)
    assert not builder.try_append(None, b"", 1)
    assert len(builder.build()) > 5000


def test_a_builder_is_used_again(record: ModuleType) -> None:
    builder = record.BatchBuilder()
    for row in ROWS[:3]:
        assert builder.try_append(*row)
        batch = builder.build()
        assert rows_of(record.decode_records(batch, decompressed_bytes_max=LIMIT)) == [row]
        assert record.parse_header(batch).base_timestamp == row[2]


def test_control_and_transactional_bits(record: ModuleType) -> None:
    batch = build(
        record,
        [(b"\0\0\0\1", b"\0\0\0\0\0\0", 5, ())],
        producer_id=1,
        producer_epoch=0,
        is_transactional=True,
        is_control=True,
    )
    header = record.validate_batch(batch, decompressed_bytes_max=LIMIT)
    assert header.is_control
    assert header.is_transactional


@pytest.mark.parametrize("compression", CODECS)
def test_what_compression_would_make_larger_is_stored_plain(
    record: ModuleType, compression: str
) -> None:
    small = build(record, [(None, b"x", 5, ())], compression)
    assert record.parse_header(small).compression == 0
    large = build(record, [(None, b"x" * 1000, 5, ())], compression)
    assert CODECS[record.parse_header(large).compression] == compression
    assert compression == "none" or len(large) < 200


def test_buffers_are_copied(record: ModuleType) -> None:
    value = bytearray(b"value")
    builder = record.BatchBuilder()
    assert builder.try_append(memoryview(b"key"), value, 5, [("h", memoryview(b"x"))])
    value[:] = b"other"
    (got,) = record.decode_records(builder.build(), decompressed_bytes_max=LIMIT)
    assert (got.key, got.value, got.headers) == (b"key", b"value", (("h", b"x"),))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("key", b"", 5), "not str"),
        ((b"", 7, 5), "not int"),
        ((b"", b"", -2), "timestamp"),
        ((b"", b"", 2**63 - 1), "timestamp"),
        ((b"", b"", 2**80), "timestamp"),
        ((b"", b"", None), "timestamp"),
        ((b"", b"", 1.5), "timestamp"),
        ((b"", b"", 5, [(b"h", b"")]), "headers are pairs"),
        ((b"", b"", 5, [("h", "x")]), "not str"),
        ((b"", b"", 5, [("h",)]), "headers are pairs"),
        ((b"", b"", 5, [("\ud800", b"")]), "headers are pairs"),
        ((b"", b"", 5, 7), "headers are pairs"),
    ],
)
def test_bad_arguments(record: ModuleType, arguments: tuple[Any, ...], what: str) -> None:
    builder = record.BatchBuilder()
    with pytest.raises(InvalidRequestError, match=what):
        builder.try_append(*arguments)
    assert builder.record_count == 0
    with pytest.raises(InvalidRequestError, match="at least one record"):
        builder.build()


def test_bad_options(record: ModuleType) -> None:
    with pytest.raises(InvalidRequestError, match="unknown compression 'brotli'"):
        record.BatchBuilder(compression="brotli")
    for batch_bytes_max in (61, 2**31):
        with pytest.raises(InvalidRequestError, match="batch_bytes_max"):
            record.BatchBuilder(batch_bytes_max=batch_bytes_max)
    with pytest.raises(InvalidRequestError, match="batch header"):
        build(record, ROWS[:1], producer_epoch=2**15)


@given(rows=ROWS_STRATEGY, compression=st.sampled_from(CODECS))
@PROPERTY
def test_encode_batch_is_the_builder_column_wise(
    record: ModuleType, rows: list[Row], compression: str
) -> None:
    keys, values, timestamps, headers = map(list, zip(*rows, strict=True))
    batch = record.encode_batch(
        values, keys, timestamps, headers, compression=compression, base_offset=3
    )
    assert batch == build(record, rows, compression, base_offset=3)


def test_encode_batch_defaults(record: ModuleType) -> None:
    batch = record.encode_batch([b"a", None])
    got = record.decode_records(batch, decompressed_bytes_max=LIMIT)
    assert rows_of(got) == [(None, b"a", -1, ()), (None, None, -1, ())]
    batch = record.encode_batch((b"a", b"b"), timestamps=9)
    assert [r.timestamp for r in record.decode_records(batch, decompressed_bytes_max=LIMIT)] == [
        9,
        9,
    ]


def test_encode_batch_refuses_uneven_and_empty_columns(record: ModuleType) -> None:
    uneven: list[dict[str, list[Any]]] = [
        {"keys": [b"k"]},
        {"timestamps": [1, 2, 3]},
        {"headers": []},
    ]
    for columns in uneven:
        with pytest.raises(InvalidRequestError, match="were given for 2 values"):
            record.encode_batch([b"a", b"b"], **columns)
    with pytest.raises(InvalidRequestError, match="at least one record"):
        record.encode_batch([])


def test_encode_batch_over_the_wires_limit(
    record: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are int32; the limit is lowered here, for 2 GiB would not fit the test machine."""
    init = record.BatchBuilder.__init__
    monkeypatch.setattr(
        record.BatchBuilder,
        "__init__",
        lambda self, **options: init(self, batch_bytes_max=100, **options),
    )
    with pytest.raises(BatchTooLargeError) as raised:
        record.encode_batch([bytes(10)] * 5)
    assert raised.value.details == {"fitting_records": "2"}
