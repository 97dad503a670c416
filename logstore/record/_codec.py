# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True
"""The loops that read records: one source, plain Python or compiled; `_codec.pyi` types it.

Invariants:
- `_parse_record` defines what a record is. It reads nothing at or beyond `end`, whatever the bytes
  say, and reports a fault as a negative number, so that a loop costs no Python object.
- Every position that it returns satisfies position < returned <= end.
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

from logstore.errors import BatchCountError, BatchRecordError, InvalidRequestError

if cython.compiled:
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING, PyByteArray_Resize
    from cython.cimports.libc.string import memcpy

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
    -10: "its offset delta is not the one that must follow, or above the batch's last",
    -11: "it has no key; this topic is compacted and needs one",
    -12: "a header name is not UTF-8",
}


def _fault(code: int, index: int) -> Exception:
    return BatchRecordError(f"record {index} of the batch: {_FAULTS[code]}", record_index=index)


def is_compiled() -> bool:
    return bool(cython.compiled)


# --- one record -----------------------------------------------------------------------------


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
    data: cython.p_const_uchar, position: cython.Py_ssize_t, length: cython.int
) -> cython.longlong:
    raw: cython.ulonglong = data[position] & 0x7F
    more: cython.ulonglong
    index: cython.int
    for index in range(1, length):
        more = data[position + index] & 0x7F
        raw |= more << (7 * index)
    return (raw >> 1) ^ -(raw & 1)


@cython.no_gc
@cython.cclass
class _Fields:
    """The record last parsed; written by `_parse_record` and good if that did not fail."""

    timestamp_delta: cython.longlong
    offset_delta: cython.longlong
    key_start: cython.Py_ssize_t
    key_bytes: cython.longlong
    value_start: cython.Py_ssize_t
    value_bytes: cython.longlong
    headers_start: cython.Py_ssize_t
    header_count: cython.longlong
    names_are_ascii: cython.bint  # if header_count > 0


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _parse_record(
    data: cython.p_const_uchar,
    position: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    fields: _Fields,
) -> cython.Py_ssize_t:
    """Reads the record at `position` into `fields`; returns where it ends, or a fault."""
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
        position = _skip_headers(data, position, end, fields)
        if position < 0:
            return position
    if position != end:
        return -8
    return end


@cython.cfunc
@cython.exceptval(check=False)
def _skip_headers(
    data: cython.p_const_uchar, position: cython.Py_ssize_t, end: cython.Py_ssize_t, fields: _Fields
) -> cython.Py_ssize_t:
    part: cython.longlong
    size: cython.int
    length: cython.longlong
    index: cython.longlong
    bits: cython.uchar = 0
    for part in range(2 * fields.header_count):  # name, value, name, value, ...
        size = _varint_bytes(data, position, end, 5)
        if size == 0:
            return -7
        length = _varint_value(data, position, size)
        position += size
        if length > end - position or length < (-1 if part & 1 else 0):
            return -7
        if part & 1 == 0:
            for index in range(length):
                bits |= data[position + index]
        if length > 0:
            position += length
    fields.names_are_ascii = bits < 0x80
    return position


@cython.cfunc
@cython.inline
def _bytes(data: cython.p_const_uchar, start: cython.Py_ssize_t, length: cython.longlong) -> object:
    """A copy as `bytes`; None for a negative length, which is how null is written."""
    if length < 0:
        return None
    if cython.compiled:
        content = data[start : start + length]
    else:
        content = bytes(data[start : start + length])
    return content


@cython.cfunc
def _headers(
    data: cython.p_const_uchar, end: cython.Py_ssize_t, fields: _Fields, errors: str
) -> tuple:
    """Of the record that was parsed; `errors` says what becomes of a name that is not UTF-8."""
    position: cython.Py_ssize_t = fields.headers_start
    size: cython.int
    length: cython.longlong
    part: cython.longlong
    name: str = ""
    pairs: list = []
    for part in range(2 * fields.header_count):
        size = _varint_bytes(data, position, end, 5)
        length = _varint_value(data, position, size)
        position += size
        if size == 0 or length > end - position:
            raise BatchRecordError("the batch changed while it was read")
        content = _bytes(data, position, length)
        if part & 1 == 0:
            name = (content or b"").decode("utf-8", errors)
        else:
            pairs.append((name, content))
        if length > 0:
            position += length
    return tuple(pairs)


# --- validate -------------------------------------------------------------------------------


@cython.final
@cython.no_gc
@cython.cclass
class _Walk(_Fields):
    """How far `walk_records` has come, and what must hold for every record."""

    index: cython.longlong
    position: cython.Py_ssize_t
    largest: cython.longlong
    delta_min: cython.longlong
    delta_max: cython.longlong
    require_keys: cython.bint


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
    `delta_max_is_reached`. Builds no object per record (but for names not in ASCII).
    """
    view: cython.const[cython.uchar][::1] = body
    end: cython.Py_ssize_t = len(body)
    if cython.compiled:
        data: cython.p_const_uchar = cython.address(view[0])
    else:
        data = view
    following: cython.Py_ssize_t
    walk: _Walk = _Walk()
    walk.index = 0
    walk.position = 0
    walk.largest = delta_min
    walk.delta_min = delta_min
    walk.delta_max = delta_max
    walk.require_keys = require_keys
    while True:
        _walk_plain(data, end, count, walk)
        if walk.index == count:
            break
        if walk.position >= end:
            raise BatchCountError(
                f"the header says {count} records; only {walk.index} are inside",
                record_count=count,
            )
        following = _parse_record(data, walk.position, end, walk)
        if following < 0:
            raise _fault(following, walk.index)
        if walk.offset_delta != walk.index:
            raise _fault(-10, walk.index)
        if walk.timestamp_delta < delta_min or walk.timestamp_delta > delta_max:
            raise _fault(-9, walk.index)
        if require_keys and walk.key_bytes < 0:
            raise _fault(-11, walk.index)
        if walk.header_count > 0 and not walk.names_are_ascii:
            # Java's and Python's readers decode names, and some fail when they are not UTF-8.
            try:
                _headers(data, following, walk, "strict")
            except UnicodeDecodeError:
                raise _fault(-12, walk.index) from None
        walk.largest = max(walk.largest, walk.timestamp_delta)
        walk.position = following
        walk.index += 1
    if walk.position != end:
        raise BatchCountError(
            f"{end - walk.position} bytes are left after the {count} records of the header",
            record_count=count,
        )
    if delta_max_is_reached and walk.largest != delta_max:
        raise BatchRecordError("no record has the max timestamp that the header says")


@cython.cfunc
@cython.exceptval(check=False)
def _walk_plain(
    data: cython.p_const_uchar, end: cython.Py_ssize_t, count: cython.longlong, walk: _Walk
) -> cython.void:
    """Goes over sound records of the common shape and stops before the first other one.

    Common: no headers, varints of one or two bytes (three for the offset). What it passes,
    `_parse_record` would pass; what it does not pass, it leaves to that. Spelled out, because a
    position that depends on a branch is predicted while one that depends on a sum is waited for:
    this halves the time of a walk.
    """
    index: cython.longlong = walk.index
    start: cython.Py_ssize_t = walk.position
    largest: cython.longlong = walk.largest
    following: cython.Py_ssize_t
    position: cython.Py_ssize_t
    delta: cython.longlong
    raw: cython.longlong
    stride: cython.Py_ssize_t = 0  # of the record before
    alike: cython.longlong = 0  # records in a row of that stride; below 0: not to be tried yet
    while index < count and end - start > 12:  # so far the bytes before the key's content reach
        if data[start] < 0x80:  # length
            raw = data[start]
            position = start + 1
        elif data[start + 1] < 0x80:
            raw = (data[start] & 0x7F) | (data[start + 1] << 7)
            position = start + 2
        else:
            break
        following = position + (raw >> 1)
        if raw & 1 or following > end:
            break
        position += 1  # attributes

        if data[position] < 0x80:  # timestamp delta
            raw = data[position]
            position += 1
        elif data[position + 1] < 0x80:
            raw = (data[position] & 0x7F) | (data[position + 1] << 7)
            position += 2
        else:
            break
        delta = (raw >> 1) ^ -(raw & 1)
        if delta < walk.delta_min or delta > walk.delta_max:
            break

        raw = 2 * index  # offset delta
        if raw < 0x80:
            if data[position] != raw:
                break
            position += 1
        elif raw < 0x4000:
            if data[position] != (raw & 0x7F | 0x80) or data[position + 1] != raw >> 7:
                break
            position += 2
        else:
            if data[position] != (raw & 0x7F | 0x80) or data[position + 2] != raw >> 14:
                break
            if data[position + 1] != (raw >> 7 & 0x7F | 0x80) or raw >= 0x200000:
                break
            position += 3

        if data[position] == 0x01:  # key: null
            if walk.require_keys:
                break
            position += 1
        elif data[position] < 0x80:
            raw = data[position]
            position += 1 + (raw >> 1)
        elif data[position + 1] < 0x80:
            raw = (data[position] & 0x7F) | (data[position + 1] << 7)
            position += 2 + (raw >> 1)
        else:
            break
        if raw & 1 or position > following - 2:  # value length and header count take two bytes
            break

        if data[position] < 0x80:  # value; a null one is rare
            raw = data[position]
            position += 1
        elif data[position + 1] < 0x80:
            raw = (data[position] & 0x7F) | (data[position + 1] << 7)
            position += 2
        else:
            break
        if raw & 1 or position + (raw >> 1) != following - 1 or data[following - 1] != 0:
            break
        if delta > largest:
            largest = delta
        index += 1
        if following - start != stride:
            stride = following - start
            alike = 0
        elif alike < 3:
            alike += 1
        else:
            walk.index = index
            walk.position = following
            walk.largest = largest
            _walk_alike(data, end, count, walk, stride)
            alike = 0 if walk.index - index > 8 else -32
            index = walk.index
            following = walk.position
            largest = walk.largest
        start = following
    walk.index = index
    walk.position = start
    walk.largest = largest


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _eight_bytes(data: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.ulonglong:
    """As a number of the machine's byte order; of no use on a big-endian one."""
    word: cython.ulonglong = 0
    if cython.compiled:
        memcpy(cython.address(word), data + at, 8)
    else:
        word = int.from_bytes(data[at : at + 8], "little")
    return word


@cython.cfunc
@cython.exceptval(check=False)
def _walk_alike(
    data: cython.p_const_uchar,
    end: cython.Py_ssize_t,
    count: cython.longlong,
    walk: _Walk,
    stride: cython.Py_ssize_t,
) -> cython.void:
    """Goes over records of the shape of the last one, `stride` bytes before `walk.position`, which
    `_walk_plain` passed; stops before the first other one.

    Of one shape: equal lengths of record, key and value. Then all bytes up to the key's content are
    known but for the attributes and the values of the two deltas, and are compared at once:

        length 1-2 | attributes 1 | timestamp delta 1-2 | offset delta 1-3 | key length 1
    """
    model: cython.Py_ssize_t = walk.position - stride
    start: cython.Py_ssize_t = walk.position
    index: cython.longlong = walk.index
    room: cython.Py_ssize_t = max(stride, 8)

    time_at: cython.Py_ssize_t = 2 if data[model] < 0x80 else 3
    is_long_time: cython.bint = data[model + time_at] >= 0x80
    offset_at: cython.Py_ssize_t = time_at + (2 if is_long_time else 1)
    offset_bytes: cython.Py_ssize_t = 1 if index <= 0x40 else 2 if index <= 0x2000 else 3
    index_end: cython.longlong = min(count, 0x40 << 7 * (offset_bytes - 1))
    key_at: cython.Py_ssize_t = offset_at + offset_bytes
    model_head: cython.ulonglong = _eight_bytes(data, model)
    if key_at > 7 or data[model + key_at] >= 0x80 or model_head & 0xFF != data[model]:
        return
    value_at: cython.Py_ssize_t = key_at + 1
    if data[model + key_at] != 0x01:
        value_at += data[model + key_at] >> 1
    value_last: cython.Py_ssize_t = value_at + (0 if data[model + value_at] < 0x80 else 1)
    value_head: cython.uchar = data[model + value_at]
    value_tail: cython.uchar = data[model + value_last]

    one: cython.ulonglong = 1
    time_mask: cython.ulonglong = 0x7F7F if is_long_time else 0x7F
    known: cython.ulonglong = 0xFFFFFFFFFFFFFFFF >> 8 * (7 - key_at)
    known ^= (one * 0xFF) << 8 * (time_at - 1) | time_mask << 8 * time_at
    offset_mask: cython.ulonglong = 0xFFFFFF >> 8 * (3 - offset_bytes)
    fixed: cython.ulonglong = model_head & known & ~(offset_mask << 8 * offset_at)
    expected: cython.ulonglong
    head: cython.ulonglong
    time: cython.ulonglong = model_head >> 8 * time_at & time_mask
    raw: cython.ulonglong
    delta: cython.longlong
    step: cython.ulonglong = (one * 2) << 8 * offset_at
    while index < index_end:
        raw = 2 * index
        if offset_bytes == 2:
            raw = raw & 0x7F | 0x80 | raw >> 7 << 8
        elif offset_bytes == 3:
            raw = raw & 0x7F | 0x8080 | raw << 1 & 0x7F00 | raw >> 14 << 16
        expected = fixed | raw << 8 * offset_at
        while True:  # as long as only the offset's first byte changes
            walk.index = index
            walk.position = start
            if end - start < room:
                return
            head = _eight_bytes(data, start)
            if head & known != expected:
                return
            if data[start + value_at] != value_head or data[start + value_last] != value_tail:
                return
            if data[start + stride - 1] != 0:  # no headers
                return
            raw = head >> 8 * time_at & time_mask
            if raw != time:
                time = raw
                raw = raw & 0x7F | raw >> 1 & 0x3F80
                delta = (raw >> 1) ^ -(raw & 1)
                if delta < walk.delta_min or delta > walk.delta_max:
                    return
                walk.largest = max(walk.largest, delta)
            start += stride
            index += 1
            expected += step
            if index & 63 == 0 or index == index_end:
                break
    walk.index = index
    walk.position = start


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

    # no_gc: no cycle can pass through bytes, str and tuples of those.
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
        return {
            "topic": self._topic,
            "partition": self._partition,
            "offset": self._offset,
            "timestamp": self._timestamp,
            "key": self._key,
            "value": self._value,
            "headers": self._headers,
        }

    def __eq__(self, other):
        return self._content() == other._content() if isinstance(other, Record) else NotImplemented

    def __hash__(self):
        return hash(tuple(self._content().values()))

    def __repr__(self):
        return f"Record({', '.join(f'{name}={part!r}' for name, part in self._content().items())})"

    def __reduce__(self):
        return _record_from, (self._content(),)


def _record_from(content: dict) -> Record:
    """What pickle calls."""
    return Record(**content)


@cython.final
@cython.no_gc
@cython.cclass
class _Scan(_Fields):
    """Goes over the records of a body; `next` leaves one in the fields, `offset`, `timestamp`."""

    data: cython.p_const_uchar
    end: cython.Py_ssize_t
    position: cython.Py_ssize_t
    index: cython.longlong
    count: cython.longlong
    base_offset: cython.longlong
    last_offset_delta: cython.longlong
    base_timestamp: cython.longlong
    delta_min: cython.longlong
    delta_max: cython.longlong
    is_append_time: cython.bint
    from_offset: cython.longlong
    offset: cython.longlong
    timestamp: cython.longlong

    @cython.cfunc
    def start(self, span: tuple) -> cython.void:
        """`span` is what `batch.scan_span` makes of a header: its sums stay inside int64."""
        self.count, self.base_offset, self.last_offset_delta = span[:3]
        self.base_timestamp, self.delta_min, self.delta_max = span[3:6]
        self.is_append_time = span[6] is not None
        self.timestamp = span[6] if self.is_append_time else 0
        self.from_offset = span[7]
        self.position = 0
        self.index = 0
        self.offset_delta = -1

    @cython.cfunc
    @cython.exceptval(-1)
    def next(self) -> cython.int:
        """Goes to the next record at or after `from_offset`; False after the last."""
        previous: cython.longlong
        while self.index < self.count:
            previous = self.offset_delta
            self.position = _parse_record(self.data, self.position, self.end, self)
            if self.position < 0:
                raise _fault(self.position, self.index)
            if self.offset_delta <= previous or self.offset_delta > self.last_offset_delta:
                raise _fault(-10, self.index)
            if not self.is_append_time:
                if self.timestamp_delta < self.delta_min or self.timestamp_delta > self.delta_max:
                    raise _fault(-9, self.index)
                self.timestamp = self.base_timestamp + self.timestamp_delta
            self.offset = self.base_offset + self.offset_delta
            self.index += 1
            if self.offset >= self.from_offset:
                return True
        return False


def decode_records(body, span: tuple, topic: str, partition: cython.int) -> list:
    """The records at or after the span's `from_offset`; bytes after the last are ignored."""
    view: cython.const[cython.uchar][::1] = body
    scan: _Scan = _Scan()
    scan.start(span)
    scan.end = len(body)
    if cython.compiled:
        scan.data = cython.address(view[0])
    else:
        scan.data = view
    records: list = []
    record: Record
    while scan.next():
        record = Record.__new__(Record)
        record._topic = topic
        record._partition = partition
        record._offset = scan.offset
        record._timestamp = scan.timestamp
        record._key = _bytes(scan.data, scan.key_start, scan.key_bytes)
        record._value = _bytes(scan.data, scan.value_start, scan.value_bytes)
        if scan.header_count > 0:
            # "replace", as Java does: what is stored must stay readable
            record._headers = _headers(scan.data, scan.position, scan, "replace")
        else:
            record._headers = ()
        records.append(record)
    return records


@cython.final
@cython.no_gc
@cython.cclass
class _BytesSink:
    """One column of byte strings being filled; it has room for whatever the body holds."""

    data: bytearray
    target: cython.p_uchar
    size: cython.Py_ssize_t
    count_max: cython.Py_ssize_t
    present: bytearray

    @cython.cfunc
    def start(self, room: cython.Py_ssize_t, count_max: cython.Py_ssize_t) -> cython.void:
        self.size = 0
        self.count_max = count_max
        self.present = None
        if cython.compiled:  # not cleared: pages that stay unused are never touched
            self.data = bytearray()
            PyByteArray_Resize(self.data, room)
            self.target = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(self.data))
        else:
            self.data = bytearray(room)
            self.target = self.data

    @cython.cfunc
    @cython.inline
    @cython.exceptval(-1)
    def add(
        self,
        data: cython.p_const_uchar,
        start: cython.Py_ssize_t,
        length: cython.longlong,
        index: cython.Py_ssize_t,
    ) -> cython.Py_ssize_t:
        """Adds item `index`, null for a negative length; returns where its data ends."""
        if length < 0:
            if self.present is None:
                self.present = bytearray(b"\1") * self.count_max
            self.present[index] = 0
        elif length > 0:
            if cython.compiled:
                memcpy(self.target + self.size, data + start, length)
            else:
                self.target[self.size : self.size + length] = data[start : start + length]
            self.size += length
        return self.size


def decode_columns(body, span: tuple) -> tuple:
    """As `decode_records`, into columns; the caller cuts them to the count that comes first.

    (count, offsets, timestamps, key ends, keys, keys present, value ends, values, values present):
    `ends` start with 0, so that item i is data[ends[i]:ends[i + 1]]; `present` is a byte per
    item, or None when all are.
    """
    view: cython.const[cython.uchar][::1] = body
    scan: _Scan = _Scan()
    scan.start(span)
    scan.end = len(body)
    if cython.compiled:
        scan.data = cython.address(view[0])
    else:
        scan.data = view
    offsets = array("q", bytes(8 * scan.count))
    timestamps = array("q", bytes(8 * scan.count))
    key_ends = array("q", bytes(8 * scan.count + 8))
    value_ends = array("q", bytes(8 * scan.count + 8))
    offsets_at: cython.longlong[::1] = offsets
    timestamps_at: cython.longlong[::1] = timestamps
    key_ends_at: cython.longlong[::1] = key_ends
    value_ends_at: cython.longlong[::1] = value_ends
    keys: _BytesSink = _BytesSink()
    keys.start(scan.end, scan.count)
    values: _BytesSink = _BytesSink()
    values.start(scan.end, scan.count)
    kept: cython.Py_ssize_t = 0
    while scan.next():
        offsets_at[kept] = scan.offset
        timestamps_at[kept] = scan.timestamp
        key_ends_at[kept + 1] = keys.add(scan.data, scan.key_start, scan.key_bytes, kept)
        value_ends_at[kept + 1] = values.add(scan.data, scan.value_start, scan.value_bytes, kept)
        kept += 1
    return (
        kept,
        offsets,
        timestamps,
        key_ends,
        keys.data,
        keys.present,
        value_ends,
        values.data,
        values.present,
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
