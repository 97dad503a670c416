from __future__ import annotations

import pytest

from logstore.errors import InvalidRequestError
from logstore.record import decode_records, parse_header, validate_batch
from logstore.v1 import common_pb2 as common
from logstore.v1 import produce_service_pb2 as pb
from logstore_server.rpc.produce_service import batch_of
from tests.server.rpc.stubs import TIMEOUT, Stubs, batch


def test_one_batch(stubs: Stubs) -> None:
    stubs.create("t")
    assert stubs.append("t", b"a", b"b") == pb.ProduceResponse(last_offset=1, log_append_time_ms=-1)
    assert stubs.append("t", b"c").base_offset == 2


def test_large_and_compressed_batches_take_another_way_to_the_same_end(stubs: Stubs) -> None:
    stubs.create("t")
    for data in (
        batch(bytes(3_000_000)),
        batch(b"x" * 1000, compression="gzip"),
        batch(b"small"),
    ):
        request = pb.ProduceRequest(topic="t", batch=data)
        stubs.produce.Produce(request, timeout=TIMEOUT)
    records = pb.RecordSet(records=[common.Record(value=bytes(50_000))] * 3)
    request = pb.ProduceRequest(topic="t", records=records)
    assert stubs.produce.Produce(request, timeout=TIMEOUT).last_offset == 5


def test_producer_ids_are_never_given_twice(stubs: Stubs) -> None:
    given = [
        stubs.produce.InitProducer(pb.InitProducerRequest(), timeout=TIMEOUT).producer_id
        for _ in range(3)
    ]
    assert len(set(given)) == 3


def test_the_batch_of_a_record_set() -> None:
    records = [
        common.Record(key=b"k", value=b"", timestamp_ms=0),
        common.Record(headers=[common.Header(key="h"), common.Header(key="h", value=b"")]),
    ]
    producer = pb.ProducerSequence(producer_id=7, producer_epoch=2, base_sequence=3)
    data = batch_of(
        pb.RecordSet(records=records, compression=common.COMPRESSION_LZ4, producer=producer)
    )
    header = validate_batch(data, decompressed_bytes_max=1 << 20)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 2, 3)
    first, second = decode_records(data, decompressed_bytes_max=1 << 20)
    assert (first.key, first.value, first.timestamp) == (b"k", b"", 0)
    assert (second.key, second.value) == (None, None)
    assert list(second.headers) == [("h", None), ("h", b"")]
    assert second.timestamp > 1_700_000_000_000  # the server's clock


def test_a_record_set_without_a_producer_has_none() -> None:
    data = batch_of(pb.RecordSet(records=[common.Record(value=b"v")]))
    assert parse_header(data).producer_id == -1


def test_an_empty_record_set_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="at least one record"):
        batch_of(pb.RecordSet())
