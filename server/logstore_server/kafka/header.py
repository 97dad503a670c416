"""The header of a request.

    int16 api key, int16 version, int32 correlation id, nullable string client id (int16 length)
    flexible versions: tagged fields, which are skipped

Source: https://kafka.apache.org/protocol (request header v1 and v2).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from logstore_server.kafka.decoding import MalformedRequestError

_FIXED = struct.Struct(">hhih")
_KEY = struct.Struct(">h")
VARINT_BYTES_MAX = 5


class Header(NamedTuple):
    api_key: int
    version: int
    correlation_id: int
    client_id: str
    end: int  # where tagged fields or the body begin


def api_key_of(frame: memoryview) -> int:
    return int(_KEY.unpack_from(frame)[0])


def read_header(frame: memoryview) -> Header:
    """Raises MalformedRequestError."""
    try:
        api_key, version, correlation_id, length = _FIXED.unpack_from(frame)
    except struct.error:
        raise MalformedRequestError("the request ends inside its header") from None
    end = _FIXED.size + max(length, 0)
    if length < -1 or end > len(frame):
        raise MalformedRequestError(f"a client id of {length} bytes does not fit in the request")
    try:
        client_id = str(frame[_FIXED.size : end], "utf-8")
    except UnicodeDecodeError:
        raise MalformedRequestError("the client id is not UTF-8") from None
    return Header(api_key, version, correlation_id, client_id, end)


def skip_tagged_fields(frame: memoryview, position: int) -> int:
    """Where the body begins. Raises MalformedRequestError."""
    count, position = _read_varint(frame, position)
    for _ in range(count):  # each takes at least two bytes, so the frame ends a count that lies
        _, position = _read_varint(frame, position)
        size, position = _read_varint(frame, position)
        position += size
    if position > len(frame):
        raise MalformedRequestError("the request ends inside its header's tagged fields")
    return position


def _read_varint(frame: memoryview, position: int) -> tuple[int, int]:
    number = 0
    for index in range(VARINT_BYTES_MAX):
        if position >= len(frame):
            break
        byte = frame[position]
        position += 1
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, position
    raise MalformedRequestError("the request ends inside its header, or has no such number")
