import json

import pytest

from logstore.record import Record
from logstore_server.commands.record_output import record_format

RECORD = Record(
    topic="orders",
    partition=3,
    offset=42,
    timestamp=1372636800000,
    key=b"k",
    value=b"v",
    headers=(("trace", b"1"),),
)
NULLS = Record(topic="orders", partition=0, offset=0, timestamp=-1)


@pytest.mark.parametrize(
    ("text", "expected", "of_nulls"),
    [
        ("value", b"v\n", b"\n"),
        ("key-value", b"k\tv\n", b"\t\n"),
        (
            "{topic}/{partition}/{offset} {time} {timestamp} {key}={value} {headers}",
            b'orders/3/42 2013-07-01T00:00:00Z 1372636800000 k=v {"trace": "1"}',
            b"orders/0/0  -1 = {}",
        ),
        (r"{key}\t{value}\n", b"k\tv\n", b"\t\n"),
        (r"{{{key}}}\\n", b"{k}\\n", b"{}\\n"),
    ],
)
def test_formats(text: str, expected: bytes, of_nulls: bytes) -> None:
    render = record_format(text)
    assert render(RECORD) == expected
    assert render(NULLS) == of_nulls


def test_the_separator_of_key_and_value_can_be_chosen() -> None:
    assert record_format("key-value", key_separator=" => ")(RECORD) == b"k => v\n"


def test_json_has_all_there_is() -> None:
    assert json.loads(record_format("json")(RECORD)) == {
        "topic": "orders",
        "partition": 3,
        "offset": 42,
        "timestamp": 1372636800000,
        "key": "k",
        "value": "v",
        "headers": {"trace": "1"},
    }


def test_json_of_bytes_that_are_no_text_and_of_names_that_repeat() -> None:
    record = Record(
        offset=0, timestamp=0, key=b"\xff", value=None, headers=(("a", b"1"), ("a", b"\xff"))
    )
    item = json.loads(record_format("json")(record))
    assert item["key_base64"] == "/w=="
    assert "key" not in item
    assert item["value"] is None
    assert item["headers"] == [["a", "1"], ["a", {"base64": "/w=="}]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("xml", "none of value, key-value, json"),
        ("{offset} {valeu}", "no field 'valeu'; there are topic, partition"),
        ("{offset", "no partner"),
        ("{offset} }", "no partner"),
        ("{key.__class__}", "no field 'key.__class__'"),
    ],
)
def test_a_bad_format_is_refused_with_what_there_is(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace(".", r"\.")):
        record_format(text)
