"""What kio and our own encoder write is read, and what they could not have written is refused."""

from __future__ import annotations

import dataclasses
import tracemalloc
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_request_schema

from logstore_server.kafka.decoding import Input, MalformedRequestError, entity_reader
from logstore_server.kafka.encoding import Output, entity_writer
from logstore_server.kafka.registry import APIS
from tests.server.kafka.test_encoding import mappings

SCHEMAS = [
    load_request_schema(api.key, version)
    for api in APIS
    for version in range(api.version_min, api.version_max + 1)
]


def plain(value: Any) -> Any:
    """What is read as what was written."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, timedelta):
        return round(value / timedelta(milliseconds=1))
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, memoryview):
        return bytes(value)
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def written(schema: type[Any], values: dict[str, Any]) -> bytes:
    out = Output()
    entity_writer(schema)(out, values)
    return b"".join(out.finish())


def read(schema: type[Any], data: bytes) -> tuple[Any, int]:
    source = Input(memoryview(data), 0)
    return entity_reader(schema)(source), source.position


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda cls: f"{cls.__name__}{cls.__version__}")
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_and_what_is_cut_short_is_refused(
    schema: type[Any], data: st.DataObject
) -> None:
    values = data.draw(mappings(schema))
    bytes_written = written(schema, values)
    entity, size = read(schema, bytes_written)
    # An entity that is its default is not written: the schema's own object stands for it.
    found = plain(entity)
    tagged = {f.name for f in dataclasses.fields(schema) if "tag" in f.metadata}
    assert size == len(bytes_written)
    assert {k: v for k, v in found.items() if k not in tagged} == {
        k: v for k, v in values.items() if k not in tagged
    }
    if bytes_written:
        cut = data.draw(st.integers(0, len(bytes_written) - 1))
        with pytest.raises(MalformedRequestError):
            read(schema, bytes_written[:cut])


def test_tagged_fields_that_are_not_known_are_skipped() -> None:
    heartbeat = load_request_schema(12, 4)
    body = b"\x02g\0\0\0\5\x02m\0"
    entity, size = read(heartbeat, body + b"\x02\x63\x02ab\x64\x00")
    assert (entity.group_id, entity.generation_id, size) == ("g", 5, len(body) + 7)


def test_a_tagged_field_of_another_length_than_it_says_is_refused() -> None:
    fetch = load_request_schema(1, 12)
    body = written(
        fetch, {"max_wait": 1, "min_bytes": 1, "topics": [], "forgotten_topics_data": []}
    )
    assert read(fetch, body)[0].cluster_id is None
    good = body[:-1] + b"\x01\x00\x03\x03ab"
    assert read(fetch, good)[0].cluster_id == "ab"
    for size in (b"\x02", b"\x04", b"\x7f"):
        with pytest.raises(MalformedRequestError):
            read(fetch, body[:-1] + b"\x01\x00" + size + b"\x03ab\0\0")


@pytest.mark.parametrize(
    ("version", "data"),
    [
        (1, b"\x7f\xff\xff\xff" + bytes(1000)),
        (1, b"\x80\0\0\0" + bytes(1000)),
        (12, b"\xff\xff\xff\xff\x07" + bytes(1000)),
        (12, b"\xff\xff\xff\xff\xff\xff\xff"),
        (12, b"\x03\xff\xff\xff\xff\x07"),
    ],
)
def test_a_count_that_lies_is_refused_before_anything_is_made_of_it(
    version: int, data: bytes
) -> None:
    schema = load_request_schema(3, version)
    reader = entity_reader(schema)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedRequestError):
            reader(Input(memoryview(data), 0))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_so_many_items_are_no_request() -> None:
    data = b"\x80\x89\x7a" + bytes(4_000_000)  # 2,000,000 - 1 empty names
    with pytest.raises(MalformedRequestError, match="does not fit"):
        read(load_request_schema(10, 4), b"\0" + data)


def test_zeros_are_no_id() -> None:
    schema = load_request_schema(71, 0)
    assert read(schema, bytes(16) + b"\0")[0].client_instance_id is None
    mine = uuid.uuid4()
    assert read(schema, mine.bytes + b"\0")[0].client_instance_id == mine


def test_records_are_a_view_of_the_frame() -> None:
    schema = load_request_schema(0, 9)
    partition = {"index": 0, "records": b"x" * 100}
    topic = {"name": "t", "partition_data": [partition]}
    data = written(schema, {"acks": 1, "timeout": 1, "topic_data": [topic]})
    records = read(schema, data)[0].topic_data[0].partition_data[0].records
    assert records.obj is data
