from __future__ import annotations

import threading
import time

import grpc

from logstore.v1 import common_pb2 as common
from logstore.v1 import consume_service_pb2 as pb
from logstore_server.config import RpcConfig
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore
from tests.server.rpc.stubs import TIMEOUT, Stubs, batch, refused


def fetch(offset: int = 0, **fields: object) -> pb.FetchRequest:
    position = pb.Position(topic="t", offset=offset, position_epoch=3)
    return pb.FetchRequest(positions=[position], **fields)  # type: ignore[arg-type]


def test_batches_are_the_bytes_of_the_log(stubs: Stubs) -> None:
    stubs.create("t")
    stubs.append("t", b"a", b"b")
    stubs.append("t", b"c")
    (item,) = stubs.consume.Fetch(fetch(1), timeout=TIMEOUT).partitions
    first, second = batch(b"a", b"b"), batch(b"c", base_offset=2)
    assert len(item.batches) == len(first) + len(second)
    assert item.batches[16 : len(first)] == first[16:]
    assert item.batches[len(first) + 16 :] == second[16:]
    assert (item.next_offset, item.high_watermark, item.position_epoch) == (3, 3, 3)


def test_bytes_max_is_kept_but_for_the_first_batch(stubs: Stubs) -> None:
    stubs.create("t")
    for _ in range(3):
        stubs.append("t", b"x" * 1000)
    (item,) = stubs.consume.Fetch(fetch(bytes_max=1), timeout=TIMEOUT).partitions
    assert item.next_offset == 1
    (item,) = stubs.consume.Fetch(
        fetch(bytes_max=2 * len(item.batches)), timeout=TIMEOUT
    ).partitions
    assert item.next_offset == 2


def test_a_long_poll_ends_when_something_is_stored(stubs: Stubs) -> None:
    stubs.create("t")
    timer = threading.Timer(0.2, lambda: stubs.append("t", b"late"))
    timer.start()
    started = time.monotonic()
    (item,) = stubs.consume.Fetch(fetch(max_wait_ms=9_000), timeout=TIMEOUT).partitions
    assert item.next_offset == 1
    assert 0.15 < time.monotonic() - started < 5
    timer.join()


def test_a_long_poll_ends_with_the_wait_the_servers_limit_or_the_deadline(
    memory: MemoryStore,
) -> None:
    rpc = RpcConfig(wait_ms_max=500)
    with InProcessServer(memory, rpc=rpc) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        for wait_ms, timeout, expected in ((200, 9, 0.2), (60_000, 9, 0.5), (60_000, 0.4, 0.38)):
            started = time.monotonic()
            answer = stubs.consume.Fetch(fetch(max_wait_ms=wait_ms), timeout=timeout)
            assert not answer.partitions
            assert expected - 0.05 < time.monotonic() - started < expected + 0.4


def test_a_long_poll_ends_when_the_server_stops(memory: MemoryStore) -> None:
    with InProcessServer(memory) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        threading.Timer(0.2, server.begin_stop).start()
        started = time.monotonic()
        assert not stubs.consume.Fetch(fetch(max_wait_ms=9_000), timeout=TIMEOUT).partitions
        assert time.monotonic() - started < 3


def test_an_abandoned_long_poll_is_forgotten(memory: MemoryStore, memory_stubs: Stubs) -> None:
    memory_stubs.create("t")
    call = memory_stubs.consume.Fetch.future(fetch(max_wait_ms=9_000), timeout=TIMEOUT)
    while not memory.topics["t"][0].waiters:
        time.sleep(0.01)
    call.cancel()
    deadline = time.monotonic() + 5
    while not memory.topics["t"][0].waiters[0][1].spent:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_records_that_unfold_to_more_than_a_message_come_in_parts(memory: MemoryStore) -> None:
    rpc = RpcConfig(message_bytes_max=256 * 1024, consume_message_bytes=1024)
    with InProcessServer(memory, rpc=rpc) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        data = batch(*[bytes(1000)] * 1000, compression="gzip")
        memory.append("t", 0, data).result(10)
        seen, offset = 0, 0
        while offset < 1000:
            request = fetch(offset, format=common.RECORD_FORMAT_RECORDS)
            (item,) = stubs.consume.Fetch(request, timeout=TIMEOUT).partitions
            assert item.records[0].offset == offset
            seen += len(item.records)
            offset = item.next_offset
        assert seen == 1000


def test_a_batch_larger_than_a_message_is_the_partitions_error(memory: MemoryStore) -> None:
    rpc = RpcConfig(message_bytes_max=256 * 1024, consume_message_bytes=1024)
    with InProcessServer(memory, rpc=rpc) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        memory.append("t", 0, batch(bytes(300 * 1024))).result(TIMEOUT)
        for record_format in (common.RECORD_FORMAT_BATCHES, common.RECORD_FORMAT_RECORDS):
            request = fetch(format=record_format)
            (item,) = stubs.consume.Fetch(request, timeout=TIMEOUT).partitions
            assert item.error.reason == "REQUEST_TOO_LARGE"


def test_an_answer_over_the_clients_limit_ends_only_its_call(
    stubs: Stubs, server: InProcessServer
) -> None:
    stubs.create("t")
    stubs.append("t", b"x" * 100_000)
    with Stubs(server.address, [("grpc.max_receive_message_length", 1000)]) as small:
        assert refused(small.consume.Fetch, fetch()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "")
        assert not small.consume.Fetch(fetch(1), timeout=TIMEOUT).partitions


def test_offsets_by_time_and_by_end(stubs: Stubs) -> None:
    stubs.create("t")
    stubs.append("t", b"a", b"b")  # at 1_700_000_000_000
    queries = [
        pb.OffsetQuery(topic="t", spec=pb.OFFSET_SPEC_EARLIEST),
        pb.OffsetQuery(topic="t", spec=pb.OFFSET_SPEC_LATEST),
        pb.OffsetQuery(topic="t", spec=pb.OFFSET_SPEC_MAX_TIMESTAMP),
        pb.OffsetQuery(topic="t", timestamp_ms=0),
        pb.OffsetQuery(topic="t", timestamp_ms=1_800_000_000_000),
        pb.OffsetQuery(topic="no", timestamp_ms=0),
    ]
    answers = stubs.consume.ListOffsets(
        pb.ListOffsetsRequest(queries=queries), timeout=TIMEOUT
    ).answers
    assert [answer.offset for answer in answers] == [0, 2, 0, 0, -1, -1]
    assert answers[3].timestamp_ms == 1_700_000_000_000
    assert answers[5].error.reason == "UNKNOWN_TOPIC"


def test_deleting_records_moves_the_start(stubs: Stubs) -> None:
    stubs.create("t")
    stubs.append("t", b"a")
    stubs.append("t", b"b")
    request = pb.DeleteRecordsRequest(topic="t", before_offset=1)
    assert stubs.consume.DeleteRecords(request, timeout=TIMEOUT).log_start_offset == 1
    (item,) = stubs.consume.Fetch(fetch(0), timeout=TIMEOUT).partitions
    assert item.error.reason == "OFFSET_OUT_OF_RANGE"
