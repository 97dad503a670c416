"""Protobuf messages whose one large bytes field is neither copied in nor out. Pure, no protobuf.

A record batch of a megabyte that goes through a protobuf object is copied three times. A message
on the wire is only a sequence of fields, in any order, so the large one can be put behind the
others, or cut out from among them, by hand:

    field       key varint, then by its wire type
    key         number << 3 | wire type
    0 VARINT    varint: 7 bits a byte, the lowest first, the high bit set on all but the last
    1 I64       8 bytes
    2 LEN       length varint, then so many bytes
    5 I32       4 bytes

    append_field(b"\\x0a\\x01t", number=5, length=3) == b"\\x0a\\x01t\\x2a\\x03"  # + 3 bytes
    cut_field(b"\\x0a\\x01t\\x2a\\x03abc", number=5) == (b"\\x0a\\x01t", b"abc")

Both ends of the hot streams use this; the tests hold it against the generated code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from logstore.errors import InvalidRequestError

VARINT, I64, LEN, I32 = 0, 1, 2, 5
VARINT_BYTES_MAX = 10


class Field(NamedTuple):
    """Where a field lies: `start` of its key, `body` of what follows key and length, `end`."""

    number: int
    wire_type: int
    start: int
    body: int
    end: int


def varint(value: int) -> bytes:
    """A number that is not negative."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def append_field(head: bytes, *, number: int, length: int) -> bytes:
    """`head`, a serialized message, and the start of one more field of `length` bytes."""
    return head + varint(number << 3 | LEN) + varint(length)


def iter_fields(message: memoryview) -> Iterator[Field]:
    """The fields in their order. Raises InvalidRequestError where they do not fit the bytes."""
    position, size = 0, len(message)
    while position < size:
        start = position
        key, position = _read_varint(message, position)
        number, wire_type = key >> 3, key & 7
        body = position
        if wire_type == VARINT:
            _, position = _read_varint(message, position)
        elif wire_type == LEN:
            length, body = _read_varint(message, position)
            position = body + length
        elif wire_type == I64:
            position += 8
        elif wire_type == I32:
            position += 4
        else:
            raise InvalidRequestError(f"malformed message: wire type {wire_type} at byte {start}")
        if number == 0 or position > size:
            raise InvalidRequestError(f"malformed message: field at byte {start} is cut short")
        yield Field(number, wire_type, start, body, position)


def iter_messages(message: memoryview, number: int) -> Iterator[memoryview]:
    """The bytes of the repeated message field `number`; other fields are passed over."""
    for field in iter_fields(message):
        if field.number == number and field.wire_type == LEN:
            yield message[field.body : field.end]


def cut_field(message: memoryview, number: int) -> tuple[bytes, memoryview | None]:
    """The message without its bytes field `number`, and that field (None if it is not there).

    As in protobuf, the last one counts if it is there more than once.
    """
    rest: list[memoryview] = []
    found: memoryview | None = None
    kept = 0
    for field in iter_fields(message):
        if field.number == number and field.wire_type == LEN:
            rest.append(message[kept : field.start])
            found = message[field.body : field.end]
            kept = field.end
    rest.append(message[kept:])
    return b"".join(rest), found


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number and where it ends."""
    value = shift = 0
    for byte in message[position : position + VARINT_BYTES_MAX]:
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise InvalidRequestError(f"malformed message: a number at byte {position} does not end")
