"""Invariant: frames come out as they went in, however the bytes are cut, until one is refused."""

from __future__ import annotations

import struct

from logstore_server.kafka.connection import Connection, FrameError
from logstore_server.kafka.header import read_header, skip_tagged_fields
from logstore_server.kafka.messages import MalformedRequestError
from tests.fuzz.target import Target, require

FRAME_BYTES_MAX = 1 << 20
SCRATCH_BYTES = 64


def seeds() -> list[bytes]:
    one = struct.pack(">ihhih", 13, 18, 3, 7, 1) + b"c" + b"\0" * 2
    long = struct.pack(">ihhih", 2000, 0, 9, 8, 2) + b"cc" + bytes(1988)
    return [one, one * 3, long + one, one + long, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + one]


def frames_of(data: bytes, piece: int) -> tuple[list[bytes], bool]:
    """All frames in front of the first fault, and whether there is one."""
    connection = Connection(
        memoryview(bytearray(SCRATCH_BYTES)),
        frame_bytes_max=FRAME_BYTES_MAX,
        requests_max=1_000,
        bytes_max=FRAME_BYTES_MAX,
        may_overlap=lambda _: False,
    )
    found: list[bytes] = []
    refused = False
    try:
        while data:
            buffer = connection.buffer()
            require(len(buffer) > 0, "there is room for more")
            require(len(buffer) <= max(SCRATCH_BYTES, 1 << 14) * 4, "of a size that came")
            count = min(len(buffer), len(data), piece)
            buffer[:count] = data[:count]
            data = data[count:]
            connection.received(count)
    except FrameError:
        refused = True
    while (taken := connection.next_frame()) is not None:
        connection.start(taken).parts = []
        connection.take_output()
        found.append(bytes(taken))
    return found, refused


def check(data: bytes) -> object:
    whole = frames_of(data, len(data))
    for piece in (1, 5, 70):
        require(frames_of(data, piece) == whole, "pieces make the same frames")
    for taken in whole[0]:
        view = memoryview(taken)
        try:
            end = read_header(view).end
            require(10 <= end <= len(taken), "a header ends inside its frame")
            require(end < skip_tagged_fields(view, end) <= len(taken), "and so do its fields")
        except MalformedRequestError:
            continue
    return len(whole[0]), whole[1]


TARGET = Target("kafka_connection", seeds, check, bytes_max=3_000)
