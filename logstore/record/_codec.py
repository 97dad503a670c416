# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True
"""The hot loops over records: one source, plain Python or compiled; `_codec.pyi` types it.

Invariants:
- `_parse_record` is the only reader of a record. It reads nothing at or beyond `end`, whatever the
  bytes say, and reports a fault as a negative number, so that a loop costs no Python object.
- Every position that leaves it satisfies record start <= position <= end.
- `data` is a pointer when compiled and a memoryview otherwise; both are only ever indexed.
- The interpreter lock is held throughout: nobody resizes a buffer under a loop. Content that
  changes meanwhile (a shared map) can yield wrong values, never a read outside.
"""

from __future__ import annotations

from array import array

try:
    import cython
except ModuleNotFoundError:
    from logstore.record import _cython as cython

from logstore.errors import (
    BatchCountError,
    BatchRecordError,
    BatchTooLargeError,
    InvalidRequestError,
)

if cython.compiled:
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING, PyByteArray_Resize
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING
    from cython.cimports.libc.string import memcpy

# --- faults ---------------------------------------------------------------------------------

_FAULTS = {
    -1: "its length is malformed or reaches beyond the batch",
    -2: "its timestamp delta is malformed",
    -3: "its offset delta is malformed",
    -4: "its key length is malformed or reaches beyond the record",
    -5: "its value length is malformed or reaches beyond the record",
    -6: "its header count is malformed or more than the record can hold",
    -7: "a header is malformed or reaches beyond the record",
    -8: "bytes are left after its headers",
    -9: "its timestamp is above the batch's max timestamp, or out of range",
    -10: "its offset delta is not above the one before, or above the batch's last",
    -11: "it has no key; this topic is compacted and needs one",
    -12: "a header key is not UTF-8",
}


def _fault(code: int, index: int) -> Exception:
    return BatchRecordError(f"record {index} of the batch: {_FAULTS[code]}", record_index=index)


def is_compiled() -> bool:
    return bool(cython.compiled)


# --- varints --------------------------------------------------------------------------------


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _varint_bytes(
    data: cython.p_const_uchar,
    position: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    bytes_max: cython.int,
) -> cython.int:
    """Bytes of the varint at `position`: 1 to `bytes_max` (5: int32, 10: int64); 0 if malformed."""
    if position < end and data[position] < 0x80:
        return 1
    return _long_varint_bytes(data, position, end, bytes_max)


@cython.cfunc
@cython.exceptval(check=False)
def _long_varint_bytes(
    data: cython.p_const_uchar,
    position: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    bytes_max: cython.int,
) -> cython.int:
    length: cython.int
    for length in range(1, bytes_max + 1):
        if position >= end:
            return 0
        if data[position] < 0x80:
            # 32 = 4 * 7 + 4 and 64 = 9 * 7 + 1: what the last byte may hold
            if length == bytes_max and data[position] > (0x0F if bytes_max == 5 else 0x01):
                return 0
            return length
        position += 1
    return 0


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _varint_value(
    data: cython.p_const_uchar,
    position: cython.Py_ssize_t,
    length: cython.int,
) -> cython.longlong:
    raw: cython.ulonglong = data[position] & 0x7F
    more: cython.ulonglong
    index: cython.int
    for index in range(1, length):
        more = data[position + index] & 0x7F
        raw |= more << (7 * index)
    return (raw >> 1) ^ -(raw & 1)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _zigzag(value: cython.longlong) -> cython.ulonglong:
    raw: cython.ulonglong
    if value < 0:
        raw = -(value + 1)
        return (raw << 1) | 1
    raw = value
    return raw << 1


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _raw_bytes(raw: cython.ulonglong) -> cython.Py_ssize_t:
    """Bytes that the zigzag-coded number takes."""
    size: cython.Py_ssize_t = 1
    while raw >= 0x80:
        raw >>= 7
        size += 1
    return size


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _put_raw(
    target: cython.p_uchar, position: cython.Py_ssize_t, raw: cython.ulonglong
) -> cython.Py_ssize_t:
    while raw >= 0x80:
        target[position] = (raw & 0x7F) | 0x80
        raw >>= 7
        position += 1
    target[position] = raw
    return position + 1


# --- one record -----------------------------------------------------------------------------


@cython.final
@cython.no_gc
@cython.cclass
class _Fields:
    """Where the parts of the record last parsed are; written by `_parse_record`."""

    timestamp_delta: cython.longlong
    offset_delta: cython.longlong
    key_start: cython.Py_ssize_t
    key_bytes: cython.longlong
    value_start: cython.Py_ssize_t
    value_bytes: cython.longlong
    headers_start: cython.Py_ssize_t
    header_count: cython.longlong


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _parse_record(
    data: cython.p_const_uchar,
    position: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    fields: _Fields,
) -> cython.Py_ssize_t:
    """Reads the record at `position` into `fields`; returns the next position or a fault."""
    size: cython.int = _varint_bytes(data, position, end, 5)
    if size == 0:
        return -1
    length: cython.longlong = _varint_value(data, position, size)
    position += size
    if length < 1 or length > end - position:
        return -1
    end = position + length
    position += 1  # attributes, unused

    size = _varint_bytes(data, position, end, 10)
    if size == 0:
        return -2
    fields.timestamp_delta = _varint_value(data, position, size)
    position += size
    size = _varint_bytes(data, position, end, 5)
    if size == 0:
        return -3
    fields.offset_delta = _varint_value(data, position, size)
    position += size

    size = _varint_bytes(data, position, end, 5)
    if size == 0:
        return -4
    length = _varint_value(data, position, size)
    position += size
    if length < -1 or length > end - position:
        return -4
    fields.key_start = position
    fields.key_bytes = length
    if length > 0:
        position += length

    size = _varint_bytes(data, position, end, 5)
    if size == 0:
        return -5
    length = _varint_value(data, position, size)
    position += size
    if length < -1 or length > end - position:
        return -5
    fields.value_start = position
    fields.value_bytes = length
    if length > 0:
        position += length

    size = _varint_bytes(data, position, end, 5)
    if size == 0:
        return -6
    length = _varint_value(data, position, size)
    position += size
    if length < 0 or length > (end - position) // 2:  # a header takes two bytes or more
        return -6
    fields.headers_start = position
    fields.header_count = length
    if length > 0:
        position = _skip_headers(data, position, end, length)
        if position < 0:
            return position
    if position != end:
        return -8
    return end


@cython.cfunc
@cython.exceptval(check=False)
def _skip_headers(
    data: cython.p_const_uchar,
    position: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    count: cython.longlong,
) -> cython.Py_ssize_t:
    part: cython.longlong
    size: cython.int
    length: cython.longlong
    for part in range(2 * count):  # key, value, key, value, ...
        size = _varint_bytes(data, position, end, 5)
        if size == 0:
            return -7
        length = _varint_value(data, position, size)
        position += size
        if length > end - position or length < (-1 if part & 1 else 0):
            return -7
        if length > 0:
            position += length
    return position


@cython.cfunc
@cython.exceptval(check=False)
def _header_keys_are_utf8(
    data: cython.p_const_uchar, end: cython.Py_ssize_t, fields: _Fields
) -> cython.bint:
    """Of a record that was parsed; Java's and Python's readers decode header keys."""
    position: cython.Py_ssize_t = fields.headers_start
    part: cython.longlong
    size: cython.int
    length: cython.longlong
    for part in range(2 * fields.header_count):
        size = _varint_bytes(data, position, end, 5)
        length = _varint_value(data, position, size)
        position += size
        if size == 0 or length > end - position:
            return False
        if length > 0:
            if part & 1 == 0 and not _is_utf8(data, position, position + length):
                return False
            position += length
    return True


@cython.cfunc
@cython.exceptval(check=False)
def _is_utf8(
    data: cython.p_const_uchar,
    position: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
) -> cython.bint:
    """Table 3-7 of the Unicode standard: well-formed byte sequences."""
    first: cython.uchar
    second: cython.uchar
    following: cython.int
    while position < end:
        first = data[position]
        position += 1
        if first < 0x80:
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        following = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
        if following > end - position:
            return False
        second = data[position]
        if second < (0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80):
            return False
        if second > (0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF):
            return False
        while following > 0:
            if data[position] & 0xC0 != 0x80:
                return False
            position += 1
            following -= 1
    return True


@cython.cfunc
@cython.inline
def _bytes(
    data: cython.p_const_uchar,
    start: cython.Py_ssize_t,
    length: cython.longlong,
) -> object:
    """A copy as `bytes`; None for a negative length, which is how null is written."""
    if length < 0:
        return None
    if cython.compiled:
        return data[start : start + length]
    return bytes(data[start : start + length])


# --- validate -------------------------------------------------------------------------------


def walk_records(
    body,
    count: cython.longlong,
    delta_min: cython.longlong,
    delta_max: cython.longlong,
    delta_max_is_reached: cython.bint,
    require_keys: cython.bint,
) -> None:
    """Raises unless `body` is exactly `count` sound records with offset deltas 0, 1, 2, ...

    Timestamp deltas must be within `delta_min` and `delta_max`, and the largest be `delta_max` if
    `delta_max_is_reached`. Builds no object per record.
    """
    view: cython.const[cython.uchar][::1] = body
    end: cython.Py_ssize_t = len(body)
    if cython.compiled:
        data: cython.p_const_uchar = cython.address(view[0])
    else:
        data = view
    fields: _Fields = _Fields()
    position: cython.Py_ssize_t = 0
    following: cython.Py_ssize_t
    index: cython.longlong
    largest: cython.longlong = delta_min
    for index in range(count):
        if position >= end:
            raise BatchCountError(
                f"the header says {count} records; only {index} are inside", record_count=count
            )
        following = _parse_record(data, position, end, fields)
        if following < 0:
            raise _fault(following, index)
        if fields.offset_delta != index:
            raise _fault(-10, index)
        if fields.timestamp_delta < delta_min or fields.timestamp_delta > delta_max:
            raise _fault(-9, index)
        if fields.timestamp_delta > largest:
            largest = fields.timestamp_delta
        if require_keys and fields.key_bytes < 0:
            raise _fault(-11, index)
        if fields.header_count > 0 and not _header_keys_are_utf8(data, following, fields):
            raise _fault(-12, index)
        position = following
    if position != end:
        raise BatchCountError(
            f"{end - position} bytes are left after the {count} records of the header",
            record_count=count,
        )
    if delta_max_is_reached and largest != delta_max:
        raise BatchRecordError("no record has the max timestamp that the header says")


# --- decode ---------------------------------------------------------------------------------


@cython.final
@cython.no_gc
@cython.cclass
class Record:
    """One record as a consumer sees it. Immutable; compares and hashes by content.

    `timestamp` is in milliseconds since the epoch, -1 for none; `headers` are (name, value) pairs
    in the order sent, names may repeat. A record decoded without saying where it came from has
    topic "" and partition -1.
    """

    # No cycle can pass through bytes, str and tuples of those: the collector need not look.
    __slots__ = ("_headers", "_key", "_offset", "_partition", "_timestamp", "_topic", "_value")
    _topic: str
    _partition: cython.int
    _offset: cython.longlong
    _timestamp: cython.longlong
    _key: bytes
    _value: bytes
    _headers: tuple

    def __init__(
        self, *, offset, timestamp, key=None, value=None, headers=(), topic="", partition=-1
    ):
        self._topic = topic
        self._partition = partition
        self._offset = offset
        self._timestamp = timestamp
        self._key = key
        self._value = value
        self._headers = headers

    @property
    def topic(self):
        return self._topic

    @property
    def partition(self):
        return self._partition

    @property
    def offset(self):
        return self._offset

    @property
    def timestamp(self):
        return self._timestamp

    @property
    def key(self):
        return self._key

    @property
    def value(self):
        return self._value

    @property
    def headers(self):
        return self._headers

    def _content(self):
        return (
            self._topic,
            self._partition,
            self._offset,
            self._timestamp,
            self._key,
            self._value,
            self._headers,
        )

    def __eq__(self, other):
        return self._content() == other._content() if isinstance(other, Record) else NotImplemented

    def __hash__(self):
        return hash(self._content())

    def __repr__(self):
        return (
            f"Record(topic={self._topic!r}, partition={self._partition}, offset={self._offset}, "
            f"timestamp={self._timestamp}, key={self._key!r}, value={self._value!r}, "
            f"headers={self._headers!r})"
        )

    def __reduce__(self):
        return _record_from, self._content()


def _record_from(topic, partition, offset, timestamp, key, value, headers):
    """What pickle calls."""
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=timestamp,
        key=key,
        value=value,
        headers=headers,
    )


@cython.cfunc
def _headers(data: cython.p_const_uchar, end: cython.Py_ssize_t, fields: _Fields) -> tuple:
    """Of a record that was parsed. A name that is not UTF-8 is mended, as Java does."""
    position: cython.Py_ssize_t = fields.headers_start
    size: cython.int
    length: cython.longlong
    found: list = []
    for _ in range(2 * fields.header_count):
        size = _varint_bytes(data, position, end, 5)
        length = _varint_value(data, position, size)
        position += size
        if size == 0 or length > end - position:
            raise BatchRecordError("the batch changed while it was read")
        found.append(_bytes(data, position, length))
        if length > 0:
            position += length
    return tuple(
        [
            (str(found[index] or b"", "utf-8", "replace"), found[index + 1])
            for index in range(0, len(found), 2)
        ]
    )


def decode_records(
    body,
    count: cython.longlong,
    base_offset: cython.longlong,
    last_offset_delta: cython.longlong,
    base_timestamp: cython.longlong,
    delta_min: cython.longlong,
    delta_max: cython.longlong,
    append_time,
    from_offset: cython.longlong,
    topic: str,
    partition: cython.int,
) -> list:
    """The records at or after `from_offset`; `append_time`, if not None, replaces timestamps."""
    view: cython.const[cython.uchar][::1] = body
    end: cython.Py_ssize_t = len(body)
    if cython.compiled:
        data: cython.p_const_uchar = cython.address(view[0])
    else:
        data = view
    has_append_time: cython.bint = append_time is not None
    timestamp: cython.longlong = append_time if has_append_time else 0
    fields: _Fields = _Fields()
    records: list = []
    record: Record
    position: cython.Py_ssize_t = 0
    previous: cython.longlong = -1
    index: cython.longlong
    for index in range(count):
        position = _parse_record(data, position, end, fields)
        if position < 0:
            raise _fault(position, index)
        if fields.offset_delta <= previous or fields.offset_delta > last_offset_delta:
            raise _fault(-10, index)
        previous = fields.offset_delta
        if not has_append_time:
            if fields.timestamp_delta < delta_min or fields.timestamp_delta > delta_max:
                raise _fault(-9, index)
            timestamp = base_timestamp + fields.timestamp_delta
        if base_offset + fields.offset_delta < from_offset:
            continue
        record = Record.__new__(Record)
        record._topic = topic
        record._partition = partition
        record._offset = base_offset + fields.offset_delta
        record._timestamp = timestamp
        record._key = _bytes(data, fields.key_start, fields.key_bytes)
        record._value = _bytes(data, fields.value_start, fields.value_bytes)
        record._headers = _headers(data, position, fields) if fields.header_count > 0 else ()
        records.append(record)
    return records


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _copy(
    target: cython.p_uchar,
    at: cython.Py_ssize_t,
    source: cython.p_const_uchar,
    start: cython.Py_ssize_t,
    length: cython.Py_ssize_t,
) -> cython.void:
    if cython.compiled:
        memcpy(target + at, source + start, length)
    else:
        target[at : at + length] = source[start : start + length]


@cython.cfunc
@cython.inline
def _room(length: cython.Py_ssize_t) -> bytearray:
    """A bytearray whose content is not set when compiled: untouched pages stay unused."""
    if cython.compiled:
        room: bytearray = bytearray()
        PyByteArray_Resize(room, length)
        return room
    return bytearray(length)


def decode_columns(
    body,
    count: cython.longlong,
    base_offset: cython.longlong,
    last_offset_delta: cython.longlong,
    base_timestamp: cython.longlong,
    delta_min: cython.longlong,
    delta_max: cython.longlong,
    append_time,
    from_offset: cython.longlong,
) -> tuple:
    """As `decode_records`, into columns; the caller cuts them to the count that comes first.

    (count, offsets, timestamps, key ends, keys, keys present, value ends, values, values present):
    `ends` start with 0, so that item i is data[ends[i]:ends[i + 1]]; `present` is a byte per
    item, or None when all are.
    """
    view: cython.const[cython.uchar][::1] = body
    end: cython.Py_ssize_t = len(body)
    offsets = array("q", bytes(8 * count))
    timestamps = array("q", bytes(8 * count))
    key_ends = array("q", bytes(8 * count + 8))
    value_ends = array("q", bytes(8 * count + 8))
    offsets_at: cython.longlong[::1] = offsets
    timestamps_at: cython.longlong[::1] = timestamps
    key_ends_at: cython.longlong[::1] = key_ends
    value_ends_at: cython.longlong[::1] = value_ends
    keys: bytearray = _room(end)
    values: bytearray = _room(end)
    keys_present: bytearray = None
    values_present: bytearray = None
    if cython.compiled:
        data: cython.p_const_uchar = cython.address(view[0])
        keys_at: cython.p_uchar = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(keys))
        values_at: cython.p_uchar = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(values))
    else:
        data = view
        keys_at = keys
        values_at = values
    has_append_time: cython.bint = append_time is not None
    timestamp: cython.longlong = append_time if has_append_time else 0
    fields: _Fields = _Fields()
    position: cython.Py_ssize_t = 0
    key_end: cython.Py_ssize_t = 0
    value_end: cython.Py_ssize_t = 0
    previous: cython.longlong = -1
    kept: cython.Py_ssize_t = 0
    index: cython.longlong
    for index in range(count):
        position = _parse_record(data, position, end, fields)
        if position < 0:
            raise _fault(position, index)
        if fields.offset_delta <= previous or fields.offset_delta > last_offset_delta:
            raise _fault(-10, index)
        previous = fields.offset_delta
        if not has_append_time:
            if fields.timestamp_delta < delta_min or fields.timestamp_delta > delta_max:
                raise _fault(-9, index)
            timestamp = base_timestamp + fields.timestamp_delta
        if base_offset + fields.offset_delta < from_offset:
            continue
        offsets_at[kept] = base_offset + fields.offset_delta
        timestamps_at[kept] = timestamp
        # Keys and values are disjoint parts of the body, so either fits its room.
        if fields.key_bytes > 0:
            _copy(keys_at, key_end, data, fields.key_start, fields.key_bytes)
            key_end += fields.key_bytes
        elif fields.key_bytes < 0:
            if keys_present is None:
                keys_present = bytearray(b"\1") * count
            keys_present[kept] = 0
        if fields.value_bytes > 0:
            _copy(values_at, value_end, data, fields.value_start, fields.value_bytes)
            value_end += fields.value_bytes
        elif fields.value_bytes < 0:
            if values_present is None:
                values_present = bytearray(b"\1") * count
            values_present[kept] = 0
        kept += 1
        key_ends_at[kept] = key_end
        value_ends_at[kept] = value_end
    return (
        kept,
        offsets,
        timestamps,
        key_ends,
        keys,
        keys_present,
        value_ends,
        values,
        values_present,
    )


def append_ends(target, at: cython.Py_ssize_t, ends) -> None:
    """Goes on with `ends` in `target`, whose items up to and with `at` are set.

    [0, 3, 5, _, _], 2, [0, 4, 4] -> [0, 3, 5, 9, 9]
    """
    into: cython.longlong[::1] = target
    source: cython.longlong[::1] = ends
    index: cython.Py_ssize_t
    count: cython.Py_ssize_t = len(ends)
    if at < 0 or at + count > len(target):
        raise InvalidRequestError("the target has no room for the ends")
    base: cython.longlong = into[at]
    for index in range(1, count):
        into[at + index] = base + source[index]


# --- encode ---------------------------------------------------------------------------------

_BUFFER_BYTES_FIRST = 1024  # small: a producer keeps one buffer per open partition


@cython.cfunc
@cython.inline
def _part(part) -> bytes:
    """A key or value as exact `bytes`, or None."""
    if part is None or type(part) is bytes:
        return part
    if isinstance(part, (bytes, bytearray, memoryview)):
        return bytes(part)
    raise InvalidRequestError(
        f"keys and values are bytes or None, not {type(part).__name__}; encode them first"
    )


@cython.cfunc
def _varint(value: cython.longlong) -> bytes:
    room = bytearray(10)
    if cython.compiled:
        target: cython.p_uchar = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(room))
    else:
        target = room
    size: cython.Py_ssize_t = _put_raw(target, 0, _zigzag(value))
    return bytes(room[:size])


@cython.cfunc
def _header_block(headers) -> bytes:
    """Everything of a record from its header count on."""
    parts: list = []
    content: bytes
    try:
        for name, value in headers:
            content = name.encode()
            parts += (_varint(len(content)), content)
            content = _part(value)
            parts += (_varint(-1), b"") if content is None else (_varint(len(content)), content)
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidRequestError(f"headers are pairs of str and bytes or None: {error}") from None
    return _varint(len(parts) // 4) + b"".join(parts)


@cython.cfunc
@cython.inline
@cython.exceptval(-2)
def _milliseconds(timestamp_ms) -> cython.longlong:
    try:
        timestamp: cython.longlong = timestamp_ms
    except (OverflowError, TypeError):
        timestamp = -2
    if timestamp < -1 or timestamp >= 0x7FFF_FFFF_FFFF_FFFF or not isinstance(timestamp_ms, int):
        raise InvalidRequestError(
            f"a timestamp is in milliseconds from 0 to 2**63 - 2, or -1 for none: {timestamp_ms!r}"
        )
    return timestamp


@cython.cclass
class RecordEncoder:
    """Encodes records behind room for a batch header, in one growing buffer.

    Owned by one thread. Invariants: the first record sets the base timestamp and has offset delta
    0; `_size` bytes of the buffer are in use and no more than its length.
    """

    _buffer: bytearray
    _size: cython.Py_ssize_t
    _bytes_max: cython.Py_ssize_t
    _record_count: cython.longlong
    _base_timestamp: cython.longlong
    _max_timestamp: cython.longlong

    def __init__(self, bytes_max: cython.Py_ssize_t) -> None:
        self._bytes_max = bytes_max
        self._reset()

    @property
    def size_bytes(self):
        """Bytes of the batch if it were built now without compression."""
        return self._size

    @property
    def record_count(self):
        return self._record_count

    @property
    def base_timestamp(self):
        return self._base_timestamp

    @property
    def max_timestamp(self):
        return self._max_timestamp

    def try_append(self, key, value, timestamp_ms, headers=()):
        """Adds a record, or returns False if it would not fit; an empty batch takes any record.

        `headers` are pairs of str and bytes or None. Raises InvalidRequestError for values of
        another type, BatchTooLargeError for a record that no batch can hold.
        """
        return self._append(
            _part(key),
            _part(value),
            _milliseconds(timestamp_ms),
            _header_block(headers) if headers else b"\x00",
        )

    def extend(
        self,
        values: tuple,
        keys: tuple | None,
        timestamps: tuple | None,
        timestamp_ms,
        headers: tuple | None,
    ):
        """Adds records column-wise until one does not fit; returns how many were added.

        `keys`, `timestamps` and `headers` are None or as long as `values`; `timestamp_ms` is used
        where there are no `timestamps`.
        """
        timestamp: cython.longlong = _milliseconds(timestamp_ms)
        key: bytes = None
        block: bytes = b"\x00"
        index: cython.Py_ssize_t
        count: cython.Py_ssize_t = len(values)
        for index in range(count):
            if keys is not None:
                key = _part(keys[index])
            if timestamps is not None:
                timestamp = _milliseconds(timestamps[index])
            if headers is not None:
                block = _header_block(headers[index]) if headers[index] else b"\x00"
            if not self._append(key, _part(values[index]), timestamp, block):
                return index
        return count

    def take(self):
        """The buffer (61 unset bytes, then the records), leaving the encoder empty."""
        buffer: bytearray = self._buffer
        if cython.compiled:
            PyByteArray_Resize(buffer, self._size)
        else:
            del buffer[self._size :]
        self._reset()
        return buffer

    @cython.cfunc
    def _reset(self) -> cython.void:
        self._buffer = bytearray(_BUFFER_BYTES_FIRST)
        self._size = 61  # format.HEADER_BYTES
        self._record_count = 0
        self._base_timestamp = -1
        self._max_timestamp = -1

    @cython.cfunc
    @cython.exceptval(-1)
    def _append(
        self, key: bytes | None, value: bytes | None, timestamp: cython.longlong, headers: bytes
    ) -> cython.int:
        if self._record_count == 0:
            self._base_timestamp = timestamp
        key_bytes: cython.Py_ssize_t = -1 if key is None else len(key)
        value_bytes: cython.Py_ssize_t = -1 if value is None else len(value)
        header_bytes: cython.Py_ssize_t = len(headers)
        timestamp_raw: cython.ulonglong = _zigzag(timestamp - self._base_timestamp)
        offset_raw: cython.ulonglong = _zigzag(self._record_count)
        key_raw: cython.ulonglong = _zigzag(key_bytes)
        value_raw: cython.ulonglong = _zigzag(value_bytes)
        length: cython.Py_ssize_t = 1 + _raw_bytes(timestamp_raw) + _raw_bytes(offset_raw)
        length += _raw_bytes(key_raw) + (key_bytes if key_bytes > 0 else 0)
        length += _raw_bytes(value_raw) + (value_bytes if value_bytes > 0 else 0) + header_bytes
        end: cython.Py_ssize_t = self._size + _raw_bytes(_zigzag(length)) + length
        if end > self._bytes_max and self._record_count > 0:
            return False
        if end > 0x7FFF_FFFF:
            raise BatchTooLargeError(f"a record of {length} bytes is more than a batch can hold")
        if end > len(self._buffer):
            self._grow(end)

        if cython.compiled:
            target: cython.p_uchar = cython.cast(
                cython.p_uchar, PyByteArray_AS_STRING(self._buffer)
            )
        else:
            target = self._buffer
        position: cython.Py_ssize_t = _put_raw(target, self._size, _zigzag(length))
        target[position] = 0  # attributes
        position = _put_raw(target, position + 1, timestamp_raw)
        position = _put_raw(target, position, offset_raw)
        position = _put_raw(target, position, key_raw)
        if key_bytes > 0:
            _copy_bytes(target, position, key, key_bytes)
            position += key_bytes
        position = _put_raw(target, position, value_raw)
        if value_bytes > 0:
            _copy_bytes(target, position, value, value_bytes)
            position += value_bytes
        _copy_bytes(target, position, headers, header_bytes)
        self._size = end
        self._record_count += 1
        if timestamp > self._max_timestamp:
            self._max_timestamp = timestamp
        return True

    @cython.cfunc
    @cython.exceptval(-1)
    def _grow(self, needed: cython.Py_ssize_t) -> cython.int:
        size: cython.Py_ssize_t = 2 * len(self._buffer)
        if size < needed:
            size = needed
        if cython.compiled:
            PyByteArray_Resize(self._buffer, size)
        else:
            self._buffer.extend(bytes(size - len(self._buffer)))
        return 0


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _copy_bytes(
    target: cython.p_uchar, at: cython.Py_ssize_t, source: bytes, length: cython.Py_ssize_t
) -> cython.void:
    if cython.compiled:
        memcpy(target + at, PyBytes_AS_STRING(source), length)
    else:
        target[at : at + length] = source
