"""What is written is read back by kio's reader, for every version that is served."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.index import load_request_schema, load_response_schema
from kio.serial import entity_reader

from logstore_server.kafka import encoding
from logstore_server.kafka.encoding import Output
from logstore_server.kafka.registry import APIS
from logstore_server.kafka.schema import inner_type

SCHEMAS = [
    load(api.key, version)
    for api in APIS
    for version in range(api.version_min, api.version_max + 1)
    for load in (load_request_schema, load_response_schema)
]


def plain(value: Any) -> Any:
    """kio's objects as what our writer takes."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, datetime.timedelta):
        return round(value / datetime.timedelta(milliseconds=1))
    if isinstance(value, datetime.datetime):
        return round(value.timestamp() * 1000)
    return [plain(item) for item in value] if isinstance(value, tuple) else value


TEXT = st.text(max_size=20)
WHOLE = {"int8": 7, "int16": 15, "int32": 31, "int64": 63}
TIMES = st.integers(0, 10**12)


def primitives(kafka_type: str) -> st.SearchStrategy[Any]:
    if kafka_type in WHOLE:
        limit = 1 << WHOLE[kafka_type]
        return st.integers(-limit, limit - 1)
    if kafka_type in ("uint8", "uint16", "uint32"):
        return st.integers(0, (1 << int(kafka_type[4:])) - 1)
    return {
        "bool": st.booleans(),
        "float64": st.floats(allow_nan=False),
        "string": TEXT,
        "bytes": st.binary(max_size=5_000),
        "records": st.binary(max_size=5_000),
        "uuid": st.uuids().filter(lambda value: value.int != 0),
        "error_code": st.integers(-1, 130),
        "timedelta_i32": st.integers(0, 2**31 - 1),
        "timedelta_i64": TIMES,
        "datetime_i64": TIMES,
    }[kafka_type]


def mappings(cls: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({f.name: values(f) for f in dataclasses.fields(cls)})


def values(field: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    kind, is_array, nullable = inner_type(field)
    if dataclasses.is_dataclass(kind):
        inner: st.SearchStrategy[Any] = mappings(kind)  # type: ignore[arg-type]
    else:
        inner = primitives(field.metadata["kafka_type"])
    if is_array:
        inner = st.lists(inner, max_size=3)
    is_tagged = "tag" in field.metadata
    return st.none() | inner if nullable and not is_tagged else inner


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda cls: f"{cls.__name__}{cls.__version__}")
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_kio_reads_what_is_written(schema: type[Any], data: st.DataObject) -> None:
    given = data.draw(mappings(schema))
    out = Output()
    encoding.entity_writer(schema)(out, given)
    written = b"".join(out.finish())
    entity, size = entity_reader(schema)(written, 0)
    assert size == len(written) == out.size_bytes
    assert plain(entity) == given


def test_defaults_are_the_schemas_and_unknown_names_are_left_out() -> None:
    schema = load_response_schema(2, 1)
    (partition,) = (
        _read(
            schema,
            {"topics": [{"name": "t", "partitions": [{"partition_index": 3, "error_code": 0}]}]}
            | {"not_in_this_version": 1},
        )
        .topics[0]
        .partitions
    )
    assert (partition.offset, partition.timestamp) == (-1, -1)


def test_what_has_no_default_is_asked_for() -> None:
    with pytest.raises(KeyError):
        _read(load_response_schema(2, 1), {})


def test_null_where_the_schema_has_none_is_a_bug() -> None:
    with pytest.raises(ValueError, match="takes no null"):
        _read(load_response_schema(2, 1), {"topics": [{"name": None, "partitions": []}]})


def test_large_bytes_are_not_copied() -> None:
    out = Output()
    large = memoryview(bytes(100_000))
    out.append_view(large)
    assert any(part is large for part in out.finish())


def _read(schema: type[Any], given: dict[str, Any]) -> Any:
    out = Output()
    encoding.entity_writer(schema)(out, given)
    return entity_reader(schema)(b"".join(out.finish()), 0)[0]
