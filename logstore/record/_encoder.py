# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True
"""The loop that writes records: one source, plain Python or compiled; `_encoder.pyi` types it.

Byte layout: format.py. `target` is a pointer into the buffer when compiled and the buffer
otherwise; both are only ever indexed.
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from logstore.record import _cython as cython

from logstore.errors import BatchTooLargeError, InvalidRequestError

if cython.compiled:
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING, PyByteArray_Resize
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING
    from cython.cimports.libc.string import memcpy

_LENGTH_BYTES_MAX = 10  # of a varint
_BUFFER_BYTES_FIRST = 1024  # small: a producer keeps one buffer per open partition


def is_compiled() -> bool:
    return bool(cython.compiled)


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
def _header_block(headers) -> bytes:
    """Everything of a record from its header count on."""
    parts: list = []
    size: cython.Py_ssize_t = 0
    part: bytes
    try:
        for name, value in headers:
            part = name.encode()
            parts.append(part)
            size += len(part) + _LENGTH_BYTES_MAX
            part = _part(value)
            parts.append(part)
            size += (0 if part is None else len(part)) + _LENGTH_BYTES_MAX
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidRequestError(f"headers are pairs of str and bytes or None: {error}") from None
    block = bytearray(size + _LENGTH_BYTES_MAX)
    if cython.compiled:
        target: cython.p_uchar = cython.cast(cython.p_uchar, PyByteArray_AS_STRING(block))
    else:
        target = block
    position: cython.Py_ssize_t = _put_raw(target, 0, _zigzag(len(parts) // 2))
    for part in parts:
        if part is None:
            position = _put_raw(target, position, 1)
        else:
            position = _put_raw(target, position, _zigzag(len(part)))
            _copy_bytes(target, position, part, len(part))
            position += len(part)
    return bytes(block[:position])


@cython.cfunc
@cython.inline
@cython.exceptval(-2)
def _milliseconds(timestamp_ms) -> cython.longlong:
    timestamp: cython.longlong = -2
    if isinstance(timestamp_ms, int):
        try:
            timestamp = timestamp_ms
        except OverflowError:  # only where it is a C number
            timestamp = -2
    if timestamp < -1 or timestamp >= 0x7FFF_FFFF_FFFF_FFFF:
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
