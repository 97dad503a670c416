from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore_server.kafka.connection import Connection, FrameError

CAP = 200_000


def make(**limits) -> Connection:
    settings = {"frame_bytes_max": CAP, "requests_max": 4, "bytes_max": CAP} | limits
    return Connection(
        memoryview(bytearray(1024)), may_overlap=lambda frame: frame[0] == 1, **settings
    )


def frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def feed(connection: Connection, data: bytes) -> None:
    while data:
        buffer = connection.buffer()
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        connection.received(count)
        data = data[count:]


def drain(connection: Connection) -> list[bytes]:
    found = []
    while (taken := connection.next_frame()) is not None:
        connection.start(taken).parts = []
        connection.take_output()
        found.append(bytes(taken))
    return found


@given(
    bodies=st.lists(st.binary(min_size=8, max_size=5_000), max_size=8),
    cuts=st.lists(st.integers(1, 3_000), min_size=1, max_size=30),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    bodies: list[bytes], cuts: list[int]
) -> None:
    connection = make(requests_max=100, bytes_max=1 << 30)
    data = b"".join(map(frame, bodies))
    position = 0
    while position < len(data):
        size = cuts[position % len(cuts)]
        feed(connection, data[position : position + size])
        position += size
    assert drain(connection) == bodies
    assert connection.is_idle


@pytest.mark.parametrize("size", [-1, -(2**31), 0, 7, CAP + 1, 2**31 - 1])
def test_a_length_outside_the_limits_ends_it(size: int) -> None:
    with pytest.raises(FrameError, match="request_bytes_max"):
        feed(make(), struct.pack(">i", size))


def test_hellos_of_other_protocols_are_told() -> None:
    with pytest.raises(FrameError, match="HTTP"):
        feed(make(), b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(FrameError, match="TLS"):
        feed(make(), b"\x16\x03\x01\x02\x00\x01\x00")


def test_a_length_that_lies_costs_little() -> None:
    connection = make(frame_bytes_max=1 << 30)
    feed(connection, struct.pack(">i", 1 << 30) + b"x" * 100)
    assert len(connection.buffer()) <= 16 * 1024


def test_too_many_requests_pause_it_until_they_are_answered() -> None:
    connection = make(requests_max=2)
    feed(connection, frame(bytes(8)) * 2)
    assert not connection.wants_bytes
    taken = connection.next_frame()
    assert taken is not None
    connection.start(taken).parts = []
    assert not connection.wants_bytes  # the answer is not sent yet
    connection.take_output()
    assert connection.wants_bytes


def test_too_many_bytes_pause_it() -> None:
    connection = make(requests_max=100, bytes_max=1000)
    feed(connection, frame(bytes(600)))
    assert connection.wants_bytes
    feed(connection, frame(bytes(600)))
    assert not connection.wants_bytes


def test_requests_start_one_after_the_other() -> None:
    connection = make()
    feed(connection, frame(bytes(8)) + frame(bytes(9)))
    first = connection.next_frame()
    assert first is not None
    flight = connection.start(first)
    flight.taken = True  # it is not of the kind that overlaps
    assert connection.next_frame() is None
    flight.parts = [b"a"]
    assert connection.take_output().parts == [b"a"]
    assert len(connection.next_frame() or b"") == 9


def test_overlapping_requests_start_once_the_one_before_is_taken_and_are_answered_in_order() -> (
    None
):
    connection = make()
    overlapping = b"\x01" + bytes(7)
    feed(connection, frame(overlapping) * 2 + frame(bytes(8)))
    first = connection.start(connection.next_frame() or memoryview(b""))
    assert connection.next_frame() is None
    first.taken = True
    second = connection.start(connection.next_frame() or memoryview(b""))
    second.taken = True
    assert connection.next_frame() is None  # the third may not overlap
    second.parts = [b"2"]
    assert connection.take_output().parts == []
    first.parts = [b"1"]
    assert connection.take_output().parts == [b"1", b"2"]
    assert connection.next_frame() is not None


def test_what_is_leased_is_given_back_when_the_transport_goes() -> None:
    connection = make()
    feed(connection, frame(bytes(8)) * 3)
    released = []
    flight = connection.start(connection.next_frame() or memoryview(b""))
    flight.release = lambda: released.append(1)
    for release in connection.abandon():
        release()
    assert released == [1]
    assert connection.is_idle
