from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore_server.kafka.header import api_key_of, read_header, skip_tagged_fields
from logstore_server.kafka.messages import MalformedRequestError
from tests.server.kafka.wire import raw_request


def test_a_header_is_read() -> None:
    frame = memoryview(raw_request(3, 12, b"body", 77, "name"))[4:]
    header = read_header(frame)
    assert header[:4] == (3, 12, 77, "name")
    assert bytes(frame[header.end :]) == b"body"
    assert api_key_of(frame) == 3


def test_no_client_id() -> None:
    assert read_header(memoryview(b"\0\x03\0\x01\0\0\0\x01\xff\xff")).client_id == ""


@pytest.mark.parametrize(
    "frame",
    [
        b"\0\x03\0\x01\0\0\0\x01",
        b"\0\x03\0\x01\0\0\0\x01\x7f\xff",
        b"\0\x03\0\x01\0\0\0\x01\xff\xfe",
        b"\0\x03\0\x01\0\0\0\x01\0\x01\xff",
    ],
)
def test_what_is_no_header(frame: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        read_header(memoryview(frame))


def test_tagged_fields_are_skipped() -> None:
    assert skip_tagged_fields(memoryview(b"\x02\x00\x01a\x63\x02bcX"), 0) == 8


@given(st.binary(max_size=40))
def test_tagged_fields_end_inside_the_frame_or_are_refused(data: bytes) -> None:
    with suppress(MalformedRequestError):
        assert 0 < skip_tagged_fields(memoryview(data), 0) <= len(data)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\xff", b"\x01\0"]
)
def test_a_count_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        skip_tagged_fields(memoryview(data), 0)
