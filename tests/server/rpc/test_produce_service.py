from __future__ import annotations

import pytest

from logstore.api import FetchPosition
from logstore.errors import InvalidRequestError
from logstore.record import (
    CODEC_NAMES,
    decode_records,
    iter_batches,
    parse_header,
    validate_batch,
)
from logstore.store import LocalLogStore
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


@pytest.mark.parametrize("asked", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_a_topic_has_its_own_codec(stubs: Stubs, store: LocalLogStore, asked: str) -> None:
    stubs.create("t", compression_type=asked)
    records = pb.RecordSet(records=[common.Record(value=b"v" * 500, timestamp_ms=1000)])
    acks = common.ACKS_ALL
    for request in (
        pb.ProduceRequest(topic="t", acks=acks, batch=batch(b"v" * 500)),
        pb.ProduceRequest(topic="t", acks=acks, batch=batch(b"v" * 500, compression="lz4")),
        pb.ProduceRequest(topic="t", acks=acks, records=records),
    ):
        stubs.produce.Produce(request, timeout=TIMEOUT)
    with store.fetch([FetchPosition("t", 0, 0, 1 << 20)], bytes_max=1 << 20, cold_ok=True) as found:
        batches = [bytes(one) for one in iter_batches(found.partitions[0].data)]
    assert [decode_records(one, decompressed_bytes_max=1000)[0].value for one in batches] == [
        b"v" * 500
    ] * 3
    codecs = {CODEC_NAMES[parse_header(one).compression] for one in batches}
    assert codecs == {"none" if asked == "uncompressed" else asked}


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
