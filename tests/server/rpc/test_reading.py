"""The hand-made answers against the generated code; the services' tests cover the rest."""

from __future__ import annotations

from logstore.api import FetchedPartition
from logstore.errors import LogStoreError, OffsetOutOfRangeError
from logstore.reader import LeasedFetch
from logstore.v1 import consume_service_pb2 as pb
from logstore_server.rpc.reading import Place, encode_reading, next_offset
from tests.server.rpc.stubs import batch

LIMIT = 1 << 20


def place(partition: int = 0, offset: int = 0) -> Place:
    return Place("t", partition, offset, 0, 7)


def fetched(
    data: bytes, partition: int = 0, error: LogStoreError | None = None
) -> FetchedPartition:
    return FetchedPartition("t", partition, memoryview(data), 100, 1, 90, error)


def credit(used: int) -> bytes:
    return bytes(pb.ConsumeStreamResponse(credit_used_bytes=used).SerializeToString())


def test_what_is_assembled_by_hand_is_what_protobuf_reads() -> None:
    two = batch(b"a", b"b") + batch(b"c", base_offset=2)
    failed = fetched(b"", 2, error=OffsetOutOfRangeError("beyond"))
    places = [place(0), place(1), place(2)]
    result = LeasedFetch([fetched(two), fetched(b"", 1), failed], ())
    reading = encode_reading(result, places, LIMIT, False, credit)
    answer = pb.ConsumeStreamResponse.FromString(reading.message)
    assert answer.credit_used_bytes == reading.credit_bytes == len(two)
    data, error = answer.partitions
    assert (data.batches, data.next_offset, data.position_epoch) == (two, 3, 7)
    assert (data.high_watermark, data.log_start_offset, data.last_stable_offset) == (100, 1, 90)
    assert (error.partition, error.error.reason) == (2, "OFFSET_OUT_OF_RANGE")
    assert (reading.served, reading.empty, reading.failed) == (
        [places[0]],
        [places[1]],
        [places[2]],
    )
    assert places[0].offset == 3


def test_what_does_not_fit_waits_for_the_next_answer() -> None:
    data = batch(bytes(1000))
    places = [place(0), place(1), place(2)]
    result = LeasedFetch([fetched(data, number) for number in range(3)], ())
    reading = encode_reading(result, places, 4000, False, credit)
    answer = pb.ConsumeStreamResponse.FromString(reading.message)
    assert [item.partition for item in answer.partitions] == [0, 1]
    assert (reading.served, places[2].offset) == (places[:2], 0)


def test_control_batches_are_left_out_of_records_and_passed_over() -> None:
    marker = batch(b"m", base_offset=1, is_control=True, producer_id=1, producer_epoch=0)
    data = batch(b"a") + marker + batch(b"b", base_offset=2)
    reading = encode_reading(LeasedFetch([fetched(data)], ()), [place()], LIMIT, True, credit)
    (item,) = pb.ConsumeStreamResponse.FromString(reading.message).partitions
    assert [record.value for record in item.records] == [b"a", b"b"]
    assert item.next_offset == 3


def test_next_offset_follows_the_last_batch() -> None:
    data = batch(b"a", b"b", base_offset=10) + batch(b"c", base_offset=20)
    assert next_offset(memoryview(data)) == 21
