"""A batch as columns in Arrow's layout: no Python object per record."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from logstore.errors import InvalidRequestError
from logstore.record import _codec
from logstore.record.batch import as_view, records_body, scan_span
from logstore.record.format import parse_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    import pyarrow
    from typing_extensions import Buffer

_INT32_MAX: Final = 2**31 - 1  # where Arrow's binary ends and large_binary begins


@dataclass(frozen=True, slots=True)
class BytesColumn:
    """Byte strings end to end: item i is `data[ends[i]:ends[i + 1]]`, and `ends[0]` is 0.

    `ends` is an array of int64. `present` holds a byte for each item, 0 for null and 1 otherwise;
    None when no item is null.
    """

    data: bytearray
    ends: array[int]
    present: bytearray | None

    def __len__(self) -> int:
        return len(self.ends) - 1

    def to_list(self) -> list[bytes | None]:
        data, ends, present = bytes(self.data), self.ends, self.present
        items: list[bytes | None] = [data[start:end] for start, end in pairwise(ends)]
        if present is not None:
            for index, is_present in enumerate(present):
                if not is_present:
                    items[index] = None
        return items


@dataclass(frozen=True, slots=True)
class Columns:
    """Records column by column, all of one length; headers are not among them.

    `offsets` and `timestamps` (milliseconds since the epoch, -1 for none) are arrays of int64.
    Each array speaks the buffer protocol: `numpy.frombuffer(columns.offsets)` costs no copy.
    """

    offsets: array[int]
    timestamps: array[int]
    key_column: BytesColumn
    value_column: BytesColumn

    def __len__(self) -> int:
        return len(self.offsets)

    def keys(self) -> list[bytes | None]:
        return self.key_column.to_list()

    def values(self) -> list[bytes | None]:
        return self.value_column.to_list()

    def to_arrow(self) -> pyarrow.RecordBatch:
        """offset int64, timestamp timestamp[ms, UTC], key binary, value binary.

        Numbers and data share this object's memory; only `ends` and `present` are converted.
        From 2 GiB of data on a column is large_binary. Needs the extra `arrow`.
        """
        try:
            import pyarrow as pa
        except ModuleNotFoundError:
            raise InvalidRequestError(
                "columns as Arrow need pyarrow: pip install 'logstore[arrow]'"
            ) from None
        count = len(self)
        numbers = [
            pa.Array.from_buffers(kind, count, [None, pa.py_buffer(column)])
            for kind, column in (
                (pa.int64(), self.offsets),
                (pa.timestamp("ms", tz="UTC"), self.timestamps),
            )
        ]
        items = [_arrow_binary(pa, column) for column in (self.key_column, self.value_column)]
        return pa.RecordBatch.from_arrays(
            numbers + items, names=["offset", "timestamp", "key", "value"]
        )


def decode_columns(batch: Buffer, *, from_offset: int = 0, decompressed_bytes_max: int) -> Columns:
    """The records of one batch at or after `from_offset`; errors as `decode_records`."""
    view = as_view(batch)
    header = parse_header(view)
    body = records_body(view, header, decompressed_bytes_max)
    if header.record_count == 0:
        return concat_columns([])
    (
        count,
        offsets,
        timestamps,
        key_ends,
        keys,
        keys_present,
        value_ends,
        values,
        values_present,
    ) = _codec.decode_columns(body, scan_span(header, from_offset))
    del offsets[count:], timestamps[count:], key_ends[count + 1 :], value_ends[count + 1 :]
    del keys[key_ends[count] :], values[value_ends[count] :]
    for present in (keys_present, values_present):
        if present is not None:
            del present[count:]
    return Columns(
        offsets,
        timestamps,
        BytesColumn(keys, key_ends, keys_present),
        BytesColumn(values, value_ends, values_present),
    )


def concat_columns(parts: Sequence[Columns]) -> Columns:
    """One after another, copied; no parts make columns of no records."""
    return Columns(
        array("q", b"".join(part.offsets for part in parts)),
        array("q", b"".join(part.timestamps for part in parts)),
        _concat_bytes([part.key_column for part in parts]),
        _concat_bytes([part.value_column for part in parts]),
    )


def _concat_bytes(parts: Sequence[BytesColumn]) -> BytesColumn:
    ends = array("q", bytes(8 * (sum(len(part) for part in parts) + 1)))
    at = 0
    for part in parts:
        _codec.append_ends(ends, at, part.ends)
        at += len(part)
    present = None
    if any(part.present is not None for part in parts):
        present = bytearray().join(
            part.present if part.present is not None else b"\1" * len(part) for part in parts
        )
    return BytesColumn(bytearray().join(part.data for part in parts), ends, present)


def _arrow_binary(pa: ModuleType, column: BytesColumn) -> pyarrow.Array:
    count = len(column)
    ends = pa.Array.from_buffers(pa.int64(), count + 1, [None, pa.py_buffer(column.ends)])
    kind = pa.large_binary()
    if column.ends[-1] <= _INT32_MAX:
        ends = ends.cast(pa.int32())
        kind = pa.binary()
    bitmap = None
    if column.present is not None:
        present = pa.Array.from_buffers(pa.uint8(), count, [None, pa.py_buffer(column.present)])
        bitmap = present.cast(pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(
        kind, count, [bitmap, ends.buffers()[1], pa.py_buffer(column.data)]
    )
