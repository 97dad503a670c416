from __future__ import annotations

import time

import grpc
import pytest

from logstore.v1 import common_pb2 as common
from logstore.v1 import produce_service_pb2 as pb
from logstore_server.config import RpcConfig
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore
from tests.server.rpc.stubs import TIMEOUT, Requests, Stubs, batch, reason_of, refused


def item(number: int, **fields: object) -> pb.ProduceStreamBatch:
    fields.setdefault("topic", "t")
    if "records" not in fields:
        fields.setdefault("batch", batch(b"v%d" % number))
    return pb.ProduceStreamBatch(correlation_id=number, **fields)  # type: ignore[arg-type]


def message(*items: pb.ProduceStreamBatch) -> pb.ProduceStreamRequest:
    return pb.ProduceStreamRequest(batches=items)


def test_many_batches_in_one_message_keep_their_order(stubs: Stubs) -> None:
    stubs.create("t")
    stream = Requests(message(*(item(number) for number in range(100))))
    stream.end()
    results = [
        result
        for answer in stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
        for result in answer.results
    ]
    assert sorted(result.correlation_id for result in results) == list(range(100))
    assert all(result.stored.base_offset == result.correlation_id for result in results)
    assert stubs.values("t") == [b"v%d" % number for number in range(100)]


def test_results_come_while_the_client_goes_on(memory: MemoryStore, memory_stubs: Stubs) -> None:
    """Each ack level is answered when it should be, whatever was sent before it."""
    memory_stubs.create("t")
    memory.held = True
    stream = Requests(message(item(1, acks=common.ACKS_ALL)))
    results = memory_stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
    stream.send(message(item(2, acks=common.ACKS_LEADER), item(3, acks=common.ACKS_NONE)))
    stream.send(message(item(4, topic="no")))
    early = [result for _ in range(2) for result in next(results).results]
    assert [result.correlation_id for result in early] == [2, 3, 4]
    assert early[2].error.reason == "UNKNOWN_TOPIC"
    memory.release()
    assert next(results).results[0].correlation_id == 1
    stream.end()
    assert list(results) == []


def test_records_and_batches_mix(stubs: Stubs) -> None:
    stubs.create("t")
    records = pb.RecordSet(
        records=[
            common.Record(key=b"k", value=b"one", timestamp_ms=5),
            common.Record(headers=[common.Header(key="h", value=b"x"), common.Header(key="n")]),
        ],
        compression=common.COMPRESSION_ZSTD,
    )
    stream = Requests(message(item(1, records=records), item(2)))
    stream.end()
    stored = [
        result.stored
        for answer in stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
        for result in answer.results
    ]
    assert [(item.base_offset, item.last_offset) for item in stored] == [(0, 1), (2, 2)]
    assert stubs.values("t") == [b"one", b"", b"v2"]


def test_a_producer_is_deduplicated_in_both_forms(stubs: Stubs) -> None:
    stubs.create("t")
    identity = stubs.produce.InitProducer(pb.InitProducerRequest(), timeout=TIMEOUT)
    records = pb.RecordSet(
        records=[common.Record(value=b"a", timestamp_ms=1)],
        producer=pb.ProducerSequence(producer_id=identity.producer_id, base_sequence=0),
    )
    second = batch(b"b", producer_id=identity.producer_id, producer_epoch=0, base_sequence=1)
    gap = batch(b"c", producer_id=identity.producer_id, producer_epoch=0, base_sequence=9)
    stream = Requests(
        message(item(1, records=records), item(2, batch=second)),
        message(item(3, records=records), item(4, batch=second), item(5, batch=gap)),
    )
    stream.end()
    results = {
        result.correlation_id: result
        for answer in stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
        for result in answer.results
    }
    assert [results[number].stored.duplicate for number in (1, 2, 3, 4)] == [0, 0, 1, 1]
    assert results[3].stored.base_offset == 0
    assert results[5].error.reason == "OUT_OF_ORDER_SEQUENCE"
    assert stubs.values("t") == [b"a", b"b"]


def test_it_stops_reading_while_too_many_are_unanswered() -> None:
    memory = MemoryStore()
    rpc = RpcConfig(stream_batches_in_flight_max=5)
    with InProcessServer(memory, rpc=rpc) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        memory.held = True
        stream = Requests(message(*(item(number) for number in range(50))))
        stream.end()
        results = stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
        time.sleep(0.3)
        assert memory.topics["t"][0].end == 5
        memory.release()
        assert sum(len(answer.results) for answer in results) == 50


def test_bytes_in_flight_are_bounded_but_one_batch_always_goes() -> None:
    memory = MemoryStore()
    rpc = RpcConfig(stream_bytes_in_flight_max=1000)
    with InProcessServer(memory, rpc=rpc) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        memory.held = True
        stream = Requests(*(message(item(number, batch=batch(b"x" * 5000))) for number in range(3)))
        stream.end()
        results = stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
        time.sleep(0.3)
        assert memory.topics["t"][0].end == 1
        memory.release()
        assert sum(len(answer.results) for answer in results) == 3


def test_a_batch_that_no_reader_could_be_sent_is_refused() -> None:
    memory = MemoryStore()
    rpc = RpcConfig(message_bytes_max=256 * 1024, consume_message_bytes=1024)
    with InProcessServer(memory, rpc=rpc) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        stream = Requests(message(item(1, batch=batch(bytes(200 * 1024)))))
        stream.end()
        (answer,) = stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
        assert answer.results[0].error.reason == "REQUEST_TOO_LARGE"
        request = pb.ProduceRequest(topic="t", batch=batch(bytes(200 * 1024)))
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused(stubs.produce.Produce, request) == (code, "REQUEST_TOO_LARGE")


def test_a_stopping_server_answers_what_it_took(
    memory: MemoryStore, memory_server: InProcessServer, memory_stubs: Stubs
) -> None:
    memory_stubs.create("t")
    memory.held = True
    stream = Requests(message(item(1), item(2)))
    results = memory_stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
    while memory.topics["t"][0].end < 2:
        time.sleep(0.01)
    memory_server.begin_stop()
    time.sleep(0.1)
    memory.release()
    assert [result.correlation_id for result in next(results).results] == [1, 2]
    with pytest.raises(grpc.RpcError) as caught:
        next(results)
    code, reason, metadata = reason_of(caught.value)
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert metadata["draining"] == "True"
    stream.end()


def test_a_client_that_vanishes_leaves_nothing_behind(
    memory: MemoryStore, memory_server: InProcessServer
) -> None:
    with Stubs(memory_server.address) as stubs:
        stubs.create("t")
        memory.held = True
        call = stubs.produce.ProduceStream(iter(Requests(message(item(1)))), timeout=TIMEOUT)
        while memory.topics["t"][0].end < 1:
            time.sleep(0.01)
        call.cancel()
    memory.release()  # its answer finds nobody
    with Stubs(memory_server.address) as stubs:
        assert stubs.append("t", b"next").base_offset == 1
