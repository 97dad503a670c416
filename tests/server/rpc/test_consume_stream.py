from __future__ import annotations

import time

import grpc
import pytest

from logstore.v1 import common_pb2 as common
from logstore.v1 import consume_service_pb2 as pb
from logstore.v1 import topic_service_pb2
from logstore_server.config import RpcConfig
from tests.server.in_process import InProcessServer
from tests.server.memory_store import MemoryStore
from tests.server.rpc.stubs import TIMEOUT, Requests, Stubs, batch, reason_of, refused

BATCH_BYTES = len(batch(b"x" * 1000))
RECORDS = pb.ConsumeStreamOptions(format=common.RECORD_FORMAT_RECORDS)


def request(*positions: pb.Position, credit: int = 0, **fields: object) -> pb.ConsumeStreamRequest:
    return pb.ConsumeStreamRequest(
        set_positions=positions,
        credit_bytes=credit,
        **fields,  # type: ignore[arg-type]
    )


def at(partition: int = 0, offset: int = 0, **fields: int) -> pb.Position:
    return pb.Position(topic="t", partition=partition, offset=offset, **fields)


def fill(stubs: Stubs, batches: int, partition: int = 0) -> None:
    for _ in range(batches):
        stubs.append("t", b"x" * 1000, partition=partition)


@pytest.mark.parametrize("credit", [1, BATCH_BYTES - 1, BATCH_BYTES, 3 * BATCH_BYTES + 7])
def test_never_more_than_the_credit_and_one_batch(stubs: Stubs, credit: int) -> None:
    stubs.create("t", 2)
    fill(stubs, 20, 0)
    fill(stubs, 20, 1)
    stream = Requests(request(at(0), at(1), credit=credit))
    answers = stubs.consume.ConsumeStream(iter(stream), timeout=TIMEOUT)
    granted, got = credit, 0
    offsets = [0, 0]
    while sum(offsets) < 40:
        answer = next(answers)
        size = sum(len(item.batches) for item in answer.partitions)
        assert answer.credit_used_bytes == size > 0
        got += size
        assert got < granted + BATCH_BYTES
        for item in answer.partitions:
            offsets[item.partition] = item.next_offset
        if got >= granted:  # only now may more come
            more = got - granted + credit
            stream.send(request(credit=more))
            granted += more
    assert offsets == [20, 20]
    answers.cancel()


def test_without_credit_nothing_comes(stubs: Stubs) -> None:
    stubs.create("t")
    fill(stubs, 3)
    stream = Requests(request(at()))
    answers = stubs.consume.ConsumeStream(iter(stream), timeout=0.4)
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert reason_of(caught.value)[0] is grpc.StatusCode.DEADLINE_EXCEEDED


def test_new_records_come_as_they_are_stored(stubs: Stubs) -> None:
    stubs.create("t", 50)
    stream = Requests(request(*(at(number) for number in range(50)), credit=1 << 20))
    answers = stubs.consume.ConsumeStream(iter(stream), timeout=TIMEOUT)
    for partition in (7, 7, 31):
        stubs.append("t", b"new", partition=partition)
        assert next(answers).partitions[0].partition == partition
    answers.cancel()


def test_what_was_sent_before_a_seek_can_be_told_apart(stubs: Stubs) -> None:
    stubs.create("t")
    fill(stubs, 6)
    stream = Requests(request(at(position_epoch=1), credit=1))
    answers = stubs.consume.ConsumeStream(iter(stream), timeout=TIMEOUT)
    stream.send(request(at(offset=4, position_epoch=2), credit=1 << 20))
    seen: list[tuple[int, int]] = []
    while not seen or seen[-1][1] < 6 or seen[-1][0] < 2:
        (item,) = next(answers).partitions
        seen.append((item.position_epoch, item.next_offset))
    of_second = [offset for epoch, offset in seen if epoch == 2]
    assert of_second[0] > 4
    assert [epoch for epoch, _ in seen] == sorted(epoch for epoch, _ in seen)
    answers.cancel()


def test_a_failed_partition_is_told_once_and_the_others_go_on(stubs: Stubs) -> None:
    stubs.create("t")
    fill(stubs, 1)
    missing = pb.Position(topic="no", position_epoch=5)
    stream = Requests(request(missing, at(), at(9), credit=1 << 20))
    answers = stubs.consume.ConsumeStream(iter(stream), timeout=TIMEOUT)
    items: list[pb.PartitionData] = []
    while len(items) < 3:
        items += next(answers).partitions
    reasons = {(item.topic, item.partition): item.error.reason for item in items}
    assert reasons == {
        ("no", 0): "UNKNOWN_TOPIC", ("t", 9): "UNKNOWN_PARTITION", ("t", 0): "",
    }  # fmt: skip
    assert next(item for item in items if item.topic == "no").position_epoch == 5
    fill(stubs, 1)
    assert next(answers).partitions[0].next_offset == 2
    answers.cancel()


def test_a_topic_deleted_under_a_waiting_reader_is_told(stubs: Stubs) -> None:
    stubs.create("t")
    answers = stubs.consume.ConsumeStream(iter(Requests(request(at(), credit=9))), timeout=TIMEOUT)
    time.sleep(0.1)
    stubs.topics.DeleteTopic(topic_service_pb2.DeleteTopicRequest(name="t"), timeout=TIMEOUT)
    assert next(answers).partitions[0].error.reason == "UNKNOWN_TOPIC"
    answers.cancel()


def test_removed_partitions_are_read_no_more(stubs: Stubs) -> None:
    stubs.create("t", 2)
    stream = Requests(request(at(0), at(1), credit=1 << 20))
    answers = stubs.consume.ConsumeStream(iter(stream), timeout=TIMEOUT)
    stream.send(
        pb.ConsumeStreamRequest(remove_partitions=[common.TopicPartition(topic="t", partition=0)])
    )
    time.sleep(0.1)
    fill(stubs, 1, 0)
    fill(stubs, 1, 1)
    assert [item.partition for item in next(answers).partitions] == [1]
    answers.cancel()


def test_partitions_take_turns(stubs: Stubs) -> None:
    stubs.create("t", 3)
    for partition in range(3):
        fill(stubs, 4, partition)
    places = [at(number, bytes_max=1) for number in range(3)]
    stream = Requests(request(*places, credit=1))
    answers = stubs.consume.ConsumeStream(iter(stream), timeout=TIMEOUT)
    turns = []
    for _ in range(6):
        turns += [item.partition for item in next(answers).partitions]
        stream.send(request(credit=BATCH_BYTES))
    assert sorted(turns[:3]) == sorted(turns[3:6]) == [0, 1, 2]
    answers.cancel()


def test_records_start_at_the_position_inside_a_batch(stubs: Stubs) -> None:
    stubs.create("t")
    stubs.append("t", b"a", b"b", b"c")
    stream = Requests(request(at(offset=1), credit=1, options=RECORDS))
    (item,) = next(stubs.consume.ConsumeStream(iter(stream), timeout=TIMEOUT)).partitions
    assert [(record.offset, record.value) for record in item.records] == [(1, b"b"), (2, b"c")]


def test_at_the_end_of_the_clients_side_the_credit_is_used_up(stubs: Stubs) -> None:
    stubs.create("t")
    fill(stubs, 5)
    stream = Requests(request(at(bytes_max=1), credit=2 * BATCH_BYTES))
    stream.end()
    answers = list(stubs.consume.ConsumeStream(iter(stream), timeout=TIMEOUT))
    assert [answer.partitions[0].next_offset for answer in answers] == [1, 2]


@pytest.mark.parametrize(
    "messages",
    [
        [request(credit=-1)],
        [request(credit=(1 << 31) - 1), request(credit=1)],
        [request(at(bytes_max=-1))],
        [request(), request(options=RECORDS)],
        [request(options=pb.ConsumeStreamOptions(format=9))],  # type: ignore[arg-type]
        [request(options=pb.ConsumeStreamOptions(isolation=9))],  # type: ignore[arg-type]
    ],
)
def test_a_senseless_request_ends_the_stream(
    stubs: Stubs, messages: list[pb.ConsumeStreamRequest]
) -> None:
    code = grpc.StatusCode.INVALID_ARGUMENT
    stream = Requests(*messages)
    assert refused(stubs.consume.ConsumeStream, iter(stream)) == (code, "INVALID_REQUEST")


def test_the_positions_of_a_stream_are_limited() -> None:
    rpc = RpcConfig(stream_positions_max=3)
    with InProcessServer(MemoryStore(), rpc=rpc) as server, Stubs(server.address) as stubs:
        stream = Requests(request(*(at(number) for number in range(4))))
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused(stubs.consume.ConsumeStream, iter(stream)) == (code, "TOO_MANY_REQUESTS")


def test_the_streams_of_a_server_are_limited() -> None:
    rpc = RpcConfig(streams_max=2)
    with InProcessServer(MemoryStore(), rpc=rpc) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        stubs.append("t", b"x")
        first, second, third = (Requests(request(at(), credit=9)) for _ in range(3))
        calls = [stubs.consume.ConsumeStream(iter(one), timeout=TIMEOUT) for one in (first, second)]
        for call in calls:
            next(call)
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused(stubs.consume.ConsumeStream, iter(third)) == (code, "TOO_MANY_REQUESTS")
        calls[0].cancel()
        time.sleep(0.1)
        again = stubs.consume.ConsumeStream(
            iter(Requests(request(at(), credit=9))), timeout=TIMEOUT
        )
        assert next(again).partitions[0].next_offset == 1


def test_a_reader_that_does_not_read_holds_up_nobody(stubs: Stubs, server: InProcessServer) -> None:
    stubs.create("t")
    for _ in range(20):
        stubs.append("t", b"x" * 1_000_000)
    with Stubs(server.address) as slow:
        stuck = slow.consume.ConsumeStream(
            iter(Requests(request(at(), credit=(1 << 31) - 1))), timeout=30
        )
        next(stuck)
        started = time.monotonic()
        assert len(stubs.values("t")) == 20
        assert time.monotonic() - started < 5
        stuck.cancel()


def test_a_stopping_server_ends_its_streams(memory: MemoryStore) -> None:
    with InProcessServer(memory) as server, Stubs(server.address) as stubs:
        stubs.create("t")
        stream = Requests(request(at(), credit=1))
        answers = stubs.consume.ConsumeStream(iter(stream), timeout=TIMEOUT)
        time.sleep(0.1)
        server.begin_stop()
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)
        code, reason, metadata = reason_of(caught.value)
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
        assert "draining" in metadata
