from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import InvalidRequestError
from logstore.remote.wire import append_field, cut_field, iter_fields, iter_messages, varint
from logstore.v1 import consume_service_pb2 as consume
from logstore.v1 import produce_service_pb2 as produce

BATCH = produce.ProduceStreamBatch.DESCRIPTOR.fields_by_name["batch"].number
BATCHES = produce.ProduceStreamRequest.DESCRIPTOR.fields_by_name["batches"].number

items = st.builds(
    produce.ProduceStreamBatch,
    correlation_id=st.integers(0, 2**64 - 1),
    topic=st.text(max_size=20),
    partition=st.integers(-(2**31), 2**31 - 1),
    acks=st.integers(0, 3),
    batch=st.binary(max_size=300),
)


def cut(message: bytes | memoryview, number: int) -> tuple[bytes, bytes]:
    rest, found = cut_field(memoryview(message), number)
    assert found is not None
    return rest, bytes(found)


def test_the_example_of_the_module() -> None:
    head = append_field(b"\x0a\x01t", number=5, length=3)
    assert head == b"\x0a\x01t\x2a\x03"
    assert cut(head + b"abc", 5) == (b"\x0a\x01t", b"abc")


@given(items)
def test_a_field_put_behind_the_others_is_what_protobuf_reads(
    item: produce.ProduceStreamBatch,
) -> None:
    data = item.batch
    item.ClearField("batch")
    head = append_field(item.SerializeToString(), number=BATCH, length=len(data))
    item.batch = data
    assert produce.ProduceStreamBatch.FromString(head + data) == item


@given(st.lists(items, max_size=4))
def test_what_protobuf_writes_is_cut_apart(batches: list[produce.ProduceStreamBatch]) -> None:
    message = produce.ProduceStreamRequest(batches=batches).SerializeToString()
    found = list(iter_messages(memoryview(message), BATCHES))
    assert len(found) == len(batches)
    for part, item in zip(found, batches, strict=True):
        rest, data = cut(part, BATCH)
        assert data == item.batch
        item.ClearField("batch")
        assert produce.ProduceStreamBatch.FromString(rest) == item


def test_the_last_of_several_counts_as_in_protobuf() -> None:
    data = consume.PartitionData(batches=b"first").SerializeToString()
    data += consume.PartitionData(topic="t", batches=b"second").SerializeToString()
    number = consume.PartitionData.DESCRIPTOR.fields_by_name["batches"].number
    rest, found = cut(data, number)
    assert found == b"second"
    assert consume.PartitionData.FromString(rest) == consume.PartitionData(topic="t")


def test_every_wire_type_is_passed_over() -> None:
    message = b"\x08\x96\x01" + b"\x11" + bytes(8) + b"\x1d" + bytes(4) + b"\x22\x01x"
    assert [field.number for field in iter_fields(memoryview(message))] == [1, 2, 3, 4]
    assert cut(message, 4) == (message[:-3], b"x")
    assert cut_field(memoryview(message), 5) == (message, None)


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_a_clear_error(data: bytes) -> None:
    end = 0
    with suppress(InvalidRequestError):
        for field in iter_fields(memoryview(data)):
            assert end == field.start < field.body <= field.end <= len(data)
            end = field.end
        assert end == len(data)


def test_every_cut_of_a_message_is_an_error_or_a_shorter_one() -> None:
    message = produce.ProduceStreamBatch(
        correlation_id=1 << 40, topic="topic", batch=b"data"
    ).SerializeToString()
    ends = {field.end for field in iter_fields(memoryview(message))} | {0}
    for length in range(len(message)):
        if length in ends:
            list(iter_fields(memoryview(message[:length])))
        else:
            with pytest.raises(InvalidRequestError):
                list(iter_fields(memoryview(message[:length])))


@given(st.integers(0, 2**64 - 1))
def test_varints(value: int) -> None:
    (field,) = iter_fields(memoryview(b"\x08" + varint(value)))
    assert field.end == 1 + len(varint(value))
    assert produce.ProduceStreamBatch.FromString(b"\x08" + varint(value)).correlation_id == value


def test_a_number_without_an_end_is_an_error() -> None:
    with pytest.raises(InvalidRequestError, match="does not end"):
        list(iter_fields(memoryview(b"\x08" + b"\xff" * 20)))
