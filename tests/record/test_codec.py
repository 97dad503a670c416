"""The reading loops: records at the edges of their encoding, and the Record they make."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import logstore.record
from logstore.errors import BatchCountError, BatchRecordError, InvalidBatchError
from tests.record.conftest import PURE
from tests.record.samples import LIMIT, ROWS_STRATEGY, build, sealed, with_body
from tests.record.test_batch import PROPERTY

if TYPE_CHECKING:
    from types import ModuleType

    from tests.record.samples import Row


def test_the_installed_codec_is_compiled_unless_told_otherwise() -> None:
    """Both modules or none; a stale or missing build must not pass unseen."""
    assert logstore.record.is_compiled() == (os.environ.get("LOGSTORE_PURE") != "1")


def test_plain_python_works_without_cython() -> None:
    """The names of `_cython.py` suffice; in a process where nothing compiled is found."""
    code = (
        "import sys; sys.modules['cython'] = None\n"
        "import importlib.util, pathlib, logstore\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('logstore.record._codec', 'logstore.record._encoder'):\n"
        "            file = pathlib.Path(logstore.__path__[0]) / (\n"
        "                'record/' + name.rpartition('.')[2] + '.py')\n"
        "            return importlib.util.spec_from_file_location(name, file)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from logstore import record\n"
        "assert not record.is_compiled()\n"
        "batch = record.encode_batch([b'v'], [b'k'], 5, [[('h', None)]])\n"
        "record.validate_batch(batch, decompressed_bytes_max=1)\n"
        "print(*record.decode_records(batch, decompressed_bytes_max=1))\n"
        "print(record.decode_columns(batch, decompressed_bytes_max=1).values())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stderr == ""
    assert result.stdout == (
        "Record(topic='', partition=-1, offset=0, timestamp=5, key=b'k', value=b'v', "
        "headers=(('h', None),))\n[b'v']\n"
    )


# --- one record, byte by byte ---------------------------------------------------------------

# length 12, attributes 0, timestamp +0, offset +0, key "k", value "v", one header "h": "x"
RECORD = bytes.fromhex("18 00 00 00 02 6b 02 76 02 02 68 02 78")


def one(record: ModuleType, body: bytes, count: int = 1) -> bytearray:
    return with_body(build(record, [(None, None, 5, ())]), body, count)


def check(record: ModuleType, batch: bytearray) -> Any:
    record.validate_batch(batch, decompressed_bytes_max=LIMIT)
    return record.decode_records(batch, decompressed_bytes_max=LIMIT)


def test_the_record_in_hex(record: ModuleType) -> None:
    (got,) = check(record, one(record, RECORD))
    assert (got.key, got.value, got.headers) == (b"k", b"v", (("h", b"x"),))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("1a 00 00 00 02 6b 02 76 02 02 68 02 78", "length"),  # beyond the batch
        ("16 00 00 00 02 6b 02 76 02 02 68 02 78", "header"),  # a byte less than it takes
        ("01 00 00 00 02 6b 02 76 02 02 68 02 78", "length"),  # -1
        ("00 00 00 00 02 6b 02 76 02 02 68 02 78", "length"),
        ("ff ff ff ff 1f 00 02 6b 02 76 02 02 68", "length"),  # more than 32 bits
        ("80 80 80 80 80 00 02 6b 02 76 02 02 68", "length"),  # six bytes
        ("ff ff ff ff ff ff ff ff ff ff ff ff ff", "length"),  # no end
        ("18 00 ff ff ff ff ff ff ff ff ff 02 00", "timestamp delta is malformed"),
        ("18 00 02 00 02 6b 02 76 02 02 68 02 78", "max timestamp"),
        ("18 00 0d 00 02 6b 02 76 02 02 68 02 78", "max timestamp"),  # before 1970
        ("18 00 00 80 80 80 80 80 02 02 68 02 78", "offset delta is malformed"),
        ("18 00 00 02 02 6b 02 76 02 02 68 02 78", "offset delta is not"),
        ("18 00 00 01 02 6b 02 76 02 02 68 02 78", "offset delta is not"),
        ("18 00 00 00 03 6b 02 76 02 02 68 02 78", "key length"),  # -2
        ("18 00 00 00 20 6b 02 76 02 02 68 02 78", "key length"),
        ("18 00 00 00 02 6b 03 76 02 02 68 02 78", "value length"),
        ("18 00 00 00 02 6b 0e 76 02 02 68 02 78", "value length"),
        ("18 00 00 00 02 6b 0c 76 02 02 68 02 78", "header count is malformed"),  # no byte left
        ("18 00 00 00 02 6b 02 76 01 02 68 02 78", "header count"),
        ("18 00 00 00 02 6b 02 76 06 02 68 02 78", "header count"),
        ("18 00 00 00 02 6b 02 76 00 02 68 02 78", "bytes are left"),
        ("18 00 00 00 02 6b 02 76 02 01 68 02 78", "a header is"),  # a null name
        ("18 00 00 00 02 6b 02 76 02 02 68 03 78", "a header is"),
        ("18 00 00 00 02 6b 02 76 02 02 68 04 78", "a header is"),
        ("18 00 00 00 02 6b 02 76 02 02 68 00 78", "bytes are left"),
        ("18 00 00 00 02 6b 02 76 02 02 ff 02 78", "not UTF-8"),
    ],
)
def test_a_malformed_record(record: ModuleType, body: str, what: str) -> None:
    with pytest.raises(BatchRecordError, match=f"record 0 of the batch: .*{what}"):
        record.validate_batch(one(record, bytes.fromhex(body)), decompressed_bytes_max=LIMIT)


# length 21, attributes 0, timestamp +0, offset +0, key "k", value of 14 bytes, no headers: the
# shape that a check goes over fastest, when more than 12 bytes are left
PLAIN = bytes.fromhex("2a 00 00 00 02 6b 1c") + b"fourteen bytes" + b"\0"


@pytest.mark.parametrize(
    ("start", "end", "what"),
    [
        ("2c 00 00 00 02 6b 1c", "00", "bytes are left"),
        ("28 00 00 00 02 6b 1c", "00", "header count"),
        ("2b 00 00 00 02 6b 1c", "00", "length"),
        ("7e 00 00 00 02 6b 1c", "00", "length"),
        ("2a 00 02 00 02 6b 1c", "00", "max timestamp"),
        ("2a 00 0d 00 02 6b 1c", "00", "max timestamp"),  # before 1970
        ("2a 00 00 02 02 6b 1c", "00", "offset delta is not"),
        ("2a 00 00 00 03 6b 1c", "00", "key length"),
        ("2a 00 00 00 26 6b 1c", "00", "malformed"),
        ("2a 00 00 00 02 6b 1d", "00", "value length"),
        ("2a 00 00 00 02 6b 1a", "00", "header"),
        ("2a 00 00 00 02 6b 1e", "00", "header count"),
        ("2a 00 00 00 02 6b 1c", "02", "header count"),
        ("2a 00 00 00 02 6b 1c", "01", "header count"),
        ("2a 00 00 00 02 6b 1c", "80", "header count"),
    ],
)
def test_a_malformed_record_of_the_common_shape(
    record: ModuleType, start: str, end: str, what: str
) -> None:
    body = bytes.fromhex(start) + PLAIN[7:-1] + bytes.fromhex(end)
    second = PLAIN.replace(b"\0\0\0", b"\0\0\2", 1)
    assert len(check(record, one(record, PLAIN + second, 2))) == 2
    with pytest.raises(BatchRecordError, match=f"record 0 of the batch: .*{what}"):
        record.validate_batch(one(record, body + second, 2), decompressed_bytes_max=LIMIT)


@pytest.mark.parametrize("value_bytes", [3, 100, 5000])
def test_records_cut_short_anywhere(record: ModuleType, value_bytes: int) -> None:
    """The header goes along with the cut: length, count and CRC are right."""
    whole = record.encode_batch([bytes([200]) * value_bytes] * 3, [b"k"] * 3)
    body = bytes(whole[61:])
    cuts = range(21, len(body)) if value_bytes <= 100 else range(len(body) - 5100, len(body), 50)
    for length in cuts:
        batch = with_body(whole, body[:length], 3)
        for call in (record.validate_batch, record.decode_records, record.decode_columns):
            with pytest.raises(InvalidBatchError):
                call(batch, decompressed_bytes_max=LIMIT)


def test_offsets_that_do_not_rise_are_not_read(record: ModuleType) -> None:
    for body in (PLAIN + PLAIN, RECORD + RECORD):
        batch = one(record, body, 2)
        for call in (record.validate_batch, record.decode_records, record.decode_columns):
            with pytest.raises(BatchRecordError, match="record 1 of the batch: its offset delta"):
                call(batch, decompressed_bytes_max=LIMIT)


def test_a_longer_encoding_than_needed_is_read(record: ModuleType) -> None:
    """Kafka's own reader takes it: 0x80 0x00 is zero."""
    body = bytes.fromhex("26 00 80 00 80 00 82 00 6b 82 80 00 76 82 00 02 68 02 78 00")[:-1]
    body = bytes([2 * (len(body) - 1)]) + body[1:]
    (got,) = check(record, one(record, body))
    assert (got.key, got.value, got.headers) == (b"k", b"v", (("h", b"x"),))


def test_counts_that_disagree_with_the_records(record: ModuleType) -> None:
    second = RECORD.replace(b"\0\0\0", b"\0\0\2")
    assert len(check(record, one(record, RECORD + second, 2))) == 2
    with pytest.raises(BatchCountError, match="3 records; only 2 are inside"):
        check(record, one(record, RECORD + second, 3))
    with pytest.raises(BatchCountError, match="13 bytes are left after the 1 records"):
        check(record, one(record, RECORD + second, 1))


def test_a_name_that_is_not_utf8_is_mended_when_read(record: ModuleType) -> None:
    batch = one(record, RECORD.replace(b"\x02h", b"\x02\xff"))
    (got,) = record.decode_records(batch, decompressed_bytes_max=LIMIT)
    assert got.headers == (("\ufffd", b"x"),)


@pytest.mark.parametrize("size", [62, 63, 64, 8190, 8191, 8192, 8193, 2**20, 2**20 + 1])
def test_lengths_where_the_varint_grows(record: ModuleType, size: int) -> None:
    rows: list[Row] = [
        (b"k" * size, b"", 5, ()),
        (None, b"v" * size, 5, ()),
        (None, None, 5, (("n" * size, b"h" * size),)),
        (None, b"v", 5, ()),
    ]
    batch = build(record, rows)
    record.validate_batch(batch, decompressed_bytes_max=LIMIT)
    got = record.decode_records(batch, decompressed_bytes_max=LIMIT)
    assert [(r.key, r.value, r.timestamp, r.headers) for r in got] == rows


@pytest.mark.parametrize("delta", [63, 64, 8191, 8192, 2**20, 2**31, 2**34, 2**41, 2**48, 2**62])
def test_timestamps_where_the_varint_grows(record: ModuleType, delta: int) -> None:
    for times in ((2**62, 2**62 - delta), (0, delta), (2**63 - 2, -1)):
        got = check(record, build(record, [(None, b"v", time, ()) for time in times]))
        assert tuple(r.timestamp for r in got) == times


@pytest.mark.parametrize("count", [64, 65, 8192, 8193, 8300])
def test_offsets_where_the_varint_grows(record: ModuleType, count: int) -> None:
    batch = record.encode_batch([b""] * count)
    assert [r.offset for r in check(record, batch)] == [*range(count)]


def test_an_offset_of_four_bytes() -> None:
    """From record 2**20 on; on the installed codec alone, plain Python would take seconds."""
    if not logstore.record.is_compiled():
        pytest.skip("a million records are too many for plain Python")
    batch = logstore.record.encode_batch([None] * (2**20 + 2))
    assert check(logstore.record, batch)[-1].offset == 2**20 + 1


def test_a_wrong_offset_is_found_wherever_it_is(record: ModuleType) -> None:
    """The three-byte form must not pass for a shorter one with the same low bits."""
    count = 8200
    batch = record.encode_batch([b""] * count)
    assert bytes(batch[-27:-18]).hex(" ") == "10 00 00 8a 80 01 01 00 00"
    for at, wrong in ((-24, 0x0A), (-23, 0x00), (-22, 0x02), (-24, 0x88), (-23, 0x81)):
        changed = bytearray(batch)
        changed[at] = wrong
        with pytest.raises(InvalidBatchError, match=f"record {count - 3}"):
            record.validate_batch(sealed(changed), decompressed_bytes_max=LIMIT)


def _is_sound(record: ModuleType, batch: bytearray, require_keys: bool) -> bool:
    """By the reading loop, which knows no shapes, and what the walk adds to it."""
    header = record.parse_header(batch)
    try:
        records = record.decode_records(batch, decompressed_bytes_max=LIMIT)
    except InvalidBatchError:
        return False
    times = [row.timestamp for row in records]
    return (
        [row.offset for row in records] == list(range(header.record_count))
        and min(times) >= -1
        and max(times) == header.max_timestamp
        and not (require_keys and any(row.key is None for row in records))
    )


@pytest.mark.parametrize("first", [20, 62, 126, 8190])
@pytest.mark.parametrize(
    ("key", "value", "step"),
    [(None, b"", 0), (b"k" * 7, b"v" * 100, 0), (b"", b"v" * 40, 9), (b"k" * 40, b"v" * 300, 100)],
)
def test_a_flaw_in_a_run_of_records_of_one_shape(
    record: ModuleType, first: int, key: bytes | None, value: bytes, step: int
) -> None:
    """Each bit of the bytes that are not content, in the middle of a run and at its end, where the
    offset's width changes and where not."""
    if first > 1000 and not record.is_compiled():
        pytest.skip("thousands of records, hundreds of times, are too many for plain Python")
    count = first + 4
    rows: list[Row] = [(key, value, 1000 + step * (i % 2), ()) for i in range(count)]
    batch = build(record, rows)
    require_keys = key is not None
    ends = len(batch) - 61
    stride = len(build(record, rows[:1])) - 61
    accepted = 0
    for at in (*range(ends - 2 * stride - 8, min(ends, ends - stride + 14)), ends - 1):
        if batch[61 + at] in b"kv":
            continue
        for bit in (0, 1, 6, 7):
            flawed = bytearray(batch)
            flawed[61 + at] ^= 1 << bit
            flawed = sealed(flawed)
            try:
                record.validate_batch(
                    flawed, decompressed_bytes_max=LIMIT, require_keys=require_keys
                )
                is_accepted = True
            except InvalidBatchError:
                is_accepted = False
            assert is_accepted == _is_sound(record, flawed, require_keys), (at, bit)
            accepted += is_accepted
    assert accepted  # changed attributes


@pytest.mark.parametrize("index", [64, 8192])
def test_a_run_of_one_shape_ends_where_the_offset_grows(record: ModuleType, index: int) -> None:
    """The record at `index` has one byte too few for its offset, so that this goes on in what were
    the key's length; all else is as in the records before it."""
    body = bytes(record.encode_batch([b"vvvv"] * index)[61:])
    last = bytearray(body[-11 if index == 64 else -12 :])
    assert last.endswith(b"\x01\x08vvvv\x00")
    last[3:-7] = b"\x80" * (len(last) - 10)
    batch = with_body(record.encode_batch([b""]), body + bytes(last), index + 1)
    with pytest.raises(InvalidBatchError, match=f"record {index} "):
        record.validate_batch(batch, decompressed_bytes_max=LIMIT)


# --- compiled against plain -------------------------------------------------------------------


def outcome(record: ModuleType, batch: bytearray) -> list[object]:
    """All that the package says about a batch, errors included."""
    said: list[object] = []
    for call in (record.validate_batch, record.decode_records, record.decode_columns):
        try:
            result = call(batch, decompressed_bytes_max=LIMIT)
        except InvalidBatchError as error:
            said.append((type(error), str(error)))
        else:
            if call is record.decode_records:
                result = [
                    (r.offset, r.timestamp, r.key, r.value, r.headers, hash(r) == hash(r))
                    for r in result
                ]
            elif call is record.decode_columns:
                result = [
                    list(result.offsets),
                    list(result.timestamps),
                    result.keys(),
                    result.values(),
                ]
            said.append(result)
    return said


@given(rows=ROWS_STRATEGY, data=st.data())
@PROPERTY
def test_compiled_and_plain_agree(rows: list[Row], data: st.DataObject) -> None:
    batch = build(logstore.record, rows)
    assert build(PURE, rows) == batch
    assert outcome(PURE, batch) == outcome(logstore.record, batch)
    for _ in range(data.draw(st.integers(1, 2))):
        batch[data.draw(st.integers(61, len(batch) - 1))] = data.draw(st.integers(0, 255))
    batch = sealed(batch)
    assert outcome(PURE, batch) == outcome(logstore.record, batch)


# --- Record -----------------------------------------------------------------------------------


def test_record_is_a_value(record: ModuleType) -> None:
    fields = {
        "topic": "orders",
        "partition": 2,
        "offset": 7,
        "timestamp": 1700000000000,
        "key": b"k",
        "value": None,
        "headers": (("h", b"1"),),
    }
    first, second = record.Record(**fields), record.Record(**fields)
    assert first == second
    assert hash(first) == hash(second)
    assert {name: getattr(first, name) for name in fields} == fields
    assert repr(first) == (
        "Record(topic='orders', partition=2, offset=7, timestamp=1700000000000, key=b'k', "
        "value=None, headers=(('h', b'1'),))"
    )
    for name, other in (("topic", "o"), ("offset", 8), ("value", b""), ("headers", ())):
        assert first != record.Record(**{**fields, name: other})
    assert first != tuple(fields.values())


def test_record_is_immutable(record: ModuleType) -> None:
    one_record = record.Record(offset=1, timestamp=2)
    assert (one_record.topic, one_record.partition, one_record.headers) == ("", -1, ())
    for name in ("offset", "value", "headers", "other"):
        with pytest.raises(AttributeError):
            setattr(one_record, name, 1)


def test_record_pickles() -> None:
    (one_record,) = logstore.record.decode_records(
        logstore.record.encode_batch([b"v"], [b"k"], 5, [[("h", None)]]),
        "orders",
        1,
        decompressed_bytes_max=LIMIT,
    )
    assert pickle.loads(pickle.dumps(one_record)) == one_record
