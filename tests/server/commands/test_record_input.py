import contextlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.record import Record
from logstore_server.commands.record_input import (
    InputError,
    InputRecord,
    read_lines,
    record_from_json,
    records_from_json,
    records_from_lines,
)
from logstore_server.commands.record_output import as_json


def test_lines_lose_their_newline_and_nothing_else() -> None:
    assert list(read_lines(io.BytesIO(b"a\n\nb\r\nlast"))) == [b"a", b"", b"b\r", b"last"]


def test_a_line_is_a_value() -> None:
    records = records_from_lines([b"a", b""], name="in", key_separator=None)
    assert list(records) == [InputRecord(b"a"), InputRecord(b"")]


def test_the_first_separator_ends_the_key() -> None:
    records = records_from_lines([b"k:v:w", b":v"], name="in", key_separator=":")
    assert list(records) == [InputRecord(b"v:w", b"k"), InputRecord(b"v", b"")]


def test_a_line_without_separator_is_named() -> None:
    records = records_from_lines([b"k:v", b"v"], name="orders.txt", key_separator=":")
    assert next(records).key == b"k"
    with pytest.raises(InputError, match=r"orders.txt, line 2 has no key: ':' does not occur"):
        next(records)


def test_json_fields() -> None:
    line = json.dumps(
        {
            "key": "k",
            "value": {"amount": 3, "town": "Köln"},
            "headers": {"trace": "1", "none": None, "raw": {"base64": "/w=="}},
            "timestamp": "2013-07-01T00:00Z",
            "partition": 2,
            "offset": 17,
        }
    )
    assert record_from_json(line.encode()) == InputRecord(
        value='{"amount":3,"town":"Köln"}'.encode(),
        key=b"k",
        headers=(("trace", b"1"), ("none", None), ("raw", b"\xff")),
        timestamp_ms=1372636800000,
        partition=2,
    )


def test_json_may_leave_everything_out() -> None:
    assert record_from_json(b"{}") == InputRecord(None)
    assert list(records_from_json([b"", b" ", b'{"value": null}'], name="in")) == [
        InputRecord(None)
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"nonsense", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"value": "v", "value_base64": "/w=="}', "not both"),
        (b'{"value_base64": "?"}', '"value_base64" is not base64'),
        (b'{"key_base64": 3}', '"key_base64" is not base64'),
        (b'{"value": "\\ud800"}', "surrogate"),
        (b'{"headers": 3}', '"headers" must be'),
        (b'{"headers": [["a"]]}', '"headers" must be'),
        (b'{"headers": {"a": 3}}', 'header "a" must be'),
        (b'{"timestamp": -1}', '"timestamp" must be'),
        (b'{"timestamp": true}', '"timestamp" must be'),
        (b'{"timestamp": "noon"}', "'noon' is not a time"),
        (b'{"partition": "2"}', '"partition" must be'),
        (b'{"partition": -1}', '"partition" must be'),
    ],
)
def test_bad_json_is_named_with_its_line(line: bytes, complaint: str) -> None:
    with pytest.raises(InputError) as raised:
        list(records_from_json([b"{}", line], name="in.json"))
    assert str(raised.value).startswith("in.json, line 2: ")
    assert complaint in str(raised.value)


@given(st.binary(max_size=40))
def test_any_line_is_a_record_or_a_value_error(line: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(record_from_json(line), InputRecord)


optional_bytes = st.none() | st.binary(max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    key=optional_bytes,
    value=optional_bytes,
    headers=st.lists(st.tuples(names, optional_bytes), max_size=4),
    timestamp=st.integers(0, 2**62),
)
def test_what_consume_prints_produce_reads(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
    timestamp: int,
) -> None:
    record = Record(
        topic="t", partition=3, offset=7, timestamp=timestamp, key=key, value=value,
        headers=tuple(headers),
    )  # fmt: skip
    assert record_from_json(as_json(record).encode()) == InputRecord(
        value, key, tuple(headers), timestamp, 3
    )
