from __future__ import annotations

import pytest

from logstore_server.kafka.messages import MalformedRequestError, Messages
from logstore_server.kafka.registry import BY_KEY
from tests.server.kafka.wire import request_bytes

METADATA = Messages.load(BY_KEY[3], 1)


def test_a_request_is_read() -> None:
    frame = memoryview(request_bytes("metadata", 1, {"topics": [{"name": "a"}]}, client_id=""))
    assert [topic.name for topic in METADATA.read(frame, 14).topics] == ["a"]


@pytest.mark.parametrize("body", [b"", b"\x7f\xff\xff\xff", b"\xf0\0\0\0", b"\0\0\0\1\0\1\xff"])
def test_what_is_no_request_is_told_by_one_error(body: bytes) -> None:
    with pytest.raises(MalformedRequestError):
        METADATA.read(memoryview(body), 0)


def test_an_answer_is_a_frame_with_its_length() -> None:
    api_versions = Messages.load(BY_KEY[18], 3)
    values = {"error_code": 0, "api_keys": [], "throttle_time": 0}
    data = b"".join(api_versions.encode(7, values))
    assert data == b"\0\0\0\x0c" + b"\0\0\0\x07" + b"\0\0\1\0\0\0\0\0"


def test_the_header_of_a_flexible_answer_has_tagged_fields() -> None:
    metadata = Messages.load(BY_KEY[3], 12)
    values = {"throttle_time": 0, "brokers": [], "topics": []}
    assert b"".join(metadata.encode(7, values))[8:13] == b"\0" * 5
