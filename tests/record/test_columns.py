from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import InvalidRequestError
from tests.record.samples import CODECS, LIMIT, ROWS, ROWS_STRATEGY, build
from tests.record.test_batch import PROPERTY

if TYPE_CHECKING:
    from types import ModuleType

    from tests.record.samples import Row


def decode(record: ModuleType, rows: list[Row], **options):
    batch = build(record, rows, base_offset=100)
    return record.decode_columns(batch, decompressed_bytes_max=LIMIT, **options)


def as_rows(columns) -> list[tuple[int, int, bytes | None, bytes | None]]:
    return list(
        zip(columns.offsets, columns.timestamps, columns.keys(), columns.values(), strict=True)
    )


def expected(
    rows: list[Row], base_offset: int = 100
) -> list[tuple[int, int, bytes | None, bytes | None]]:
    return [(base_offset + i, row[2], row[0], row[1]) for i, row in enumerate(rows)]


@pytest.mark.parametrize("compression", CODECS)
def test_columns_hold_what_records_hold(record: ModuleType, compression: str) -> None:
    batch = build(record, ROWS, compression, base_offset=100)
    columns = record.decode_columns(batch, decompressed_bytes_max=LIMIT)
    assert len(columns) == len(ROWS)
    assert as_rows(columns) == expected(ROWS)


@given(rows=ROWS_STRATEGY, skip=st.integers(-3, 22))
@PROPERTY
def test_from_offset(record: ModuleType, rows: list[Row], skip: int) -> None:
    columns = decode(record, rows, from_offset=100 + skip)
    assert as_rows(columns) == expected(rows)[max(0, skip) :]
    for column in (columns.key_column, columns.value_column):
        assert len(column) == len(columns)
        assert column.ends[0] == 0
        assert column.ends[-1] == len(column.data)
        assert column.present is None or len(column.present) == len(columns)


def test_layout_by_example(record: ModuleType) -> None:
    columns = decode(record, [(b"ab", b"", 5, ()), (None, b"xyz", 6, ()), (b"", b"w", 7, ())])
    assert columns.offsets == array("q", [100, 101, 102])
    assert columns.timestamps == array("q", [5, 6, 7])
    assert columns.key_column == record.BytesColumn(
        bytearray(b"ab"), array("q", [0, 2, 2, 2]), bytearray(b"\1\0\1")
    )
    assert columns.value_column == record.BytesColumn(
        bytearray(b"xyzw"), array("q", [0, 0, 3, 4]), None
    )


def test_concat(record: ModuleType) -> None:
    parts = [decode(record, ROWS[4:20]), decode(record, ROWS[:4]), record.concat_columns([])]
    columns = record.concat_columns(parts)
    assert as_rows(columns) == expected(ROWS[4:20]) + expected(ROWS[:4])
    assert len(record.concat_columns([])) == 0
    assert record.concat_columns([]).values() == []


def test_append_ends_keeps_inside_its_target(record: ModuleType) -> None:
    target = array("q", [0, 3, 5, 0, 0])
    record._codec.append_ends(target, 2, array("q", [0, 4, 4]))
    assert target == array("q", [0, 3, 5, 9, 9])
    for at in (-1, 3, 5):
        with pytest.raises(InvalidRequestError):
            record._codec.append_ends(target, at, array("q", [0, 4, 4]))


@given(rows=ROWS_STRATEGY)
@PROPERTY
def test_to_arrow(record: ModuleType, rows: list[Row]) -> None:
    columns = decode(record, rows)
    batch = columns.to_arrow()
    batch.validate(full=True)
    assert batch.schema == pa.schema(
        [
            ("offset", pa.int64()),
            ("timestamp", pa.timestamp("ms", tz="UTC")),
            ("key", pa.binary()),
            ("value", pa.binary()),
        ]
    )
    assert batch["offset"].to_pylist() == list(columns.offsets)
    assert batch["timestamp"].cast(pa.int64()).to_pylist() == list(columns.timestamps)
    assert batch["key"].to_pylist() == columns.keys()
    assert batch["value"].to_pylist() == columns.values()


def test_to_arrow_shares_the_data(record: ModuleType) -> None:
    columns = decode(record, ROWS)
    batch = columns.to_arrow()
    columns.offsets[0] = 55
    columns.key_column.data[0] = ord("K")
    assert batch["offset"][0].as_py() == 55
    assert batch["key"][0].as_py() == b"K"


def test_to_arrow_of_nothing(record: ModuleType) -> None:
    batch = record.concat_columns([]).to_arrow()
    batch.validate(full=True)
    assert batch.num_rows == 0


def test_to_arrow_from_2_gib_on(record: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The border is lowered here, for 2 GiB would not fit the test machine."""
    columns = decode(record, ROWS)
    module = sys.modules[type(columns).__module__]
    if module.Columns is not type(columns):  # the plain copy is not in sys.modules
        pytest.skip("the same source as the installed one")
    monkeypatch.setattr(module, "_INT32_MAX", 10)
    batch = columns.to_arrow()
    batch.validate(full=True)
    assert batch.schema.field("value").type == pa.large_binary()
    assert batch["value"].to_pylist() == columns.values()


def test_without_pyarrow(record: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidRequestError, match=r"pip install 'logstore\[arrow\]'"):
        decode(record, ROWS).to_arrow()
