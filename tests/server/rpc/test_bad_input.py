"""Bad input over gRPC: each kind has its status and reason, changes nothing, disturbs nobody."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import grpc
import pytest

from logstore.v1 import common_pb2 as common
from logstore.v1 import consume_service_pb2 as consume
from logstore.v1 import group_service_pb2 as group
from logstore.v1 import produce_service_pb2 as produce
from logstore.v1 import topic_service_pb2 as topic
from tests.server.in_process import InProcessServer
from tests.server.rpc.stubs import TIMEOUT, Requests, Stubs, batch, refused

Code = grpc.StatusCode
GOOD = batch(b"a", b"b", b"c")


@pytest.fixture
def bystander(server: InProcessServer) -> Iterator[Stubs]:
    """Another client with open streams; it works before and after, and nothing was stored."""
    with Stubs(server.address) as stubs:
        stubs.create("good", 2)
        stubs.append("good", b"before")
        requests = Requests(
            consume.ConsumeStreamRequest(
                set_positions=[consume.Position(topic="good", partition=1)], credit_bytes=1 << 20
            )
        )
        answers = stubs.consume.ConsumeStream(iter(requests), timeout=30)
        produced = Requests(one(1, "good", 1, GOOD))
        results = stubs.produce.ProduceStream(iter(produced), timeout=30)
        next(results)
        assert next(answers).partitions[0].next_offset == 3
        yield stubs
        produced.send(one(2, "good", 1, GOOD))
        assert next(results).results[0].stored.base_offset == 3
        assert next(answers).partitions[0].next_offset == 6
        assert stubs.values("good") == [b"before"]
        produced.end()
        answers.cancel()


def one(number: int, name: str, partition: int, data: bytes) -> produce.ProduceStreamRequest:
    return produce.ProduceStreamRequest(
        batches=[
            produce.ProduceStreamBatch(
                correlation_id=number, topic=name, partition=partition, batch=data
            )
        ]
    )


def patched(position: int, data: bytes) -> bytes:
    return GOOD[:position] + data + GOOD[position + len(data) :]


def sealed(data: bytes) -> bytes:
    import crc32c

    return data[:17] + struct.pack(">I", crc32c.crc32c(data[21:])) + data[21:]


BATCHES: dict[str, tuple[bytes, Code, str]] = {
    "wrong CRC": (patched(17, b"\0\0\0\0"), Code.INVALID_ARGUMENT, "BATCH_CHECKSUM"),
    "wrong count": (sealed(patched(57, b"\0\0\0\4")), Code.INVALID_ARGUMENT, "BATCH_COUNT"),
    "wrong magic": (patched(16, b"\1"), Code.INVALID_ARGUMENT, "BATCH_MAGIC"),
    "wrong length": (patched(8, b"\0\0\1\0"), Code.INVALID_ARGUMENT, "BATCH_LENGTH"),
    "cut short": (GOOD[:-1], Code.INVALID_ARGUMENT, "BATCH_LENGTH"),
    "no header": (b"x", Code.INVALID_ARGUMENT, "BATCH_LENGTH"),
    "empty": (b"", Code.INVALID_ARGUMENT, "BATCH_LENGTH"),
    "broken record": (sealed(GOOD[:61] + b"\xff" * 30), Code.INVALID_ARGUMENT, "BATCH_LENGTH"),
    "unknown codec": (sealed(patched(22, b"\7")), Code.INVALID_ARGUMENT, "BATCH_COMPRESSION"),
    "not gzip": (sealed(patched(22, b"\1")), Code.INVALID_ARGUMENT, "BATCH_COMPRESSION"),
    "over the limit": (batch(b"x" * 2000), Code.INVALID_ARGUMENT, "BATCH_TOO_LARGE"),
}


@pytest.mark.parametrize("kind", BATCHES)
def test_a_bad_batch_alone_and_in_a_stream(stubs: Stubs, bystander: Stubs, kind: str) -> None:
    data, code, reason = BATCHES[kind]
    stubs.create("t", max_message_bytes="1000")
    request = produce.ProduceRequest(topic="t", batch=data)
    assert refused(stubs.produce.Produce, request) == (code, reason)
    stream = Requests(one(1, "t", 0, GOOD), one(2, "t", 0, data), one(3, "t", 0, GOOD))
    stream.end()
    results = {
        result.correlation_id: result
        for answer in stubs.produce.ProduceStream(iter(stream), timeout=TIMEOUT)
        for result in answer.results
    }
    assert (results[2].error.code, results[2].error.reason) == (code.value[0], reason)
    assert [results[number].stored.base_offset for number in (1, 3)] == [0, 3]
    assert stubs.values("t") == [b"a", b"b", b"c"] * 2


UNARY: dict[str, tuple[Callable[[Stubs], object], Code, str]] = {
    "unknown topic": (
        lambda s: s.produce.Produce(produce.ProduceRequest(topic="no", batch=GOOD)),
        Code.NOT_FOUND,
        "UNKNOWN_TOPIC",
    ),
    "unknown partition": (
        lambda s: s.produce.Produce(produce.ProduceRequest(topic="t", partition=9, batch=GOOD)),
        Code.NOT_FOUND,
        "UNKNOWN_PARTITION",
    ),
    "negative partition": (
        lambda s: s.produce.Produce(produce.ProduceRequest(topic="t", partition=-1, batch=GOOD)),
        Code.NOT_FOUND,
        "UNKNOWN_PARTITION",
    ),
    "no batch": (
        lambda s: s.produce.Produce(produce.ProduceRequest(topic="t")),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    ),
    "no records": (
        lambda s: s.produce.Produce(produce.ProduceRequest(topic="t", records=produce.RecordSet())),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    ),
    "unknown acks": (
        lambda s: s.produce.Produce(
            produce.ProduceRequest(topic="t", batch=GOOD, acks=99)  # type: ignore[arg-type]
        ),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    ),
    "unknown compression": (
        lambda s: s.produce.Produce(
            produce.ProduceRequest(
                topic="t",
                records=produce.RecordSet(
                    records=[common.Record(value=b"v")],
                    compression=99,  # type: ignore[arg-type]
                ),
            )
        ),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    ),
    "producer epoch out of range": (
        lambda s: s.produce.Produce(
            produce.ProduceRequest(
                topic="t",
                records=produce.RecordSet(
                    records=[common.Record(value=b"v")],
                    producer=produce.ProducerSequence(producer_id=1, producer_epoch=1 << 20),
                ),
            )
        ),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    ),
    "invalid topic name": (
        lambda s: s.topics.CreateTopic(topic.CreateTopicRequest(name="a/b")),
        Code.INVALID_ARGUMENT,
        "INVALID_TOPIC_NAME",
    ),
    "endless topic name": (
        lambda s: s.topics.CreateTopic(topic.CreateTopicRequest(name="a" * 1_000_000)),
        Code.INVALID_ARGUMENT,
        "INVALID_TOPIC_NAME",
    ),
    "invalid partition count": (
        lambda s: s.topics.CreateTopic(topic.CreateTopicRequest(name="n", partitions=-1)),
        Code.INVALID_ARGUMENT,
        "INVALID_PARTITION_COUNT",
    ),
    "bad config value": (
        lambda s: s.topics.CreateTopic(
            topic.CreateTopicRequest(name="n", configs={"segment_bytes": "1"})
        ),
        Code.INVALID_ARGUMENT,
        "INVALID_CONFIG",
    ),
    "unknown config": (
        lambda s: s.topics.AlterTopic(
            topic.AlterTopicRequest(name="t", set_configs={"no_such": "1"})
        ),
        Code.INVALID_ARGUMENT,
        "INVALID_CONFIG",
    ),
    "topic exists": (
        lambda s: s.topics.CreateTopic(topic.CreateTopicRequest(name="t")),
        Code.ALREADY_EXISTS,
        "TOPIC_EXISTS",
    ),
    "old member epoch": (
        lambda s: s.groups.Heartbeat(
            group.HeartbeatRequest(group_id="g", member_id="m", member_epoch=77)
        ),
        Code.ABORTED,
        "FENCED_MEMBER",
    ),
    "unknown member": (
        lambda s: s.groups.Heartbeat(
            group.HeartbeatRequest(group_id="g", member_id="who", member_epoch=1)
        ),
        Code.NOT_FOUND,
        "UNKNOWN_MEMBER",
    ),
    "commit by a stranger": (
        lambda s: s.groups.CommitOffsets(
            group.CommitOffsetsRequest(
                group_id="g",
                member_id="who",
                member_epoch=1,
                offsets=[group.OffsetToCommit(topic="t", offset=1)],
            )
        ),
        Code.NOT_FOUND,
        "UNKNOWN_MEMBER",
    ),
    "commit with an old epoch": (
        lambda s: s.groups.CommitOffsets(
            group.CommitOffsetsRequest(
                group_id="g",
                member_id="m",
                member_epoch=0,
                offsets=[group.OffsetToCommit(topic="t", offset=1)],
            )
        ),
        Code.ABORTED,
        "STALE_MEMBER_EPOCH",
    ),
    "commit past a group of members": (
        lambda s: s.groups.CommitOffsets(
            group.CommitOffsetsRequest(
                group_id="g", offsets=[group.OffsetToCommit(topic="t", offset=1)]
            )
        ),
        Code.NOT_FOUND,
        "UNKNOWN_MEMBER",
    ),
    "reset to nowhere": (
        lambda s: s.groups.ResetOffsets(group.ResetOffsetsRequest(group_id="g", topics=["t"])),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    ),
    "bad pattern": (
        lambda s: s.groups.Heartbeat(
            group.HeartbeatRequest(group_id="h", subscribed_pattern="(unclosed")
        ),
        Code.INVALID_ARGUMENT,
        "INVALID_PATTERN",
    ),
    "unknown assignor": (
        lambda s: s.groups.Heartbeat(
            group.HeartbeatRequest(
                group_id="h",
                subscribed_topics=common.TopicNames(names=["t"]),
                assignor="fairest",
            )
        ),
        Code.INVALID_ARGUMENT,
        "UNKNOWN_ASSIGNOR",
    ),
    "unknown group": (
        lambda s: s.groups.DescribeGroup(group.DescribeGroupRequest(group_id="nobody")),
        Code.NOT_FOUND,
        "GROUP_NOT_FOUND",
    ),
    "delete a group of members": (
        lambda s: s.groups.DeleteGroup(group.DeleteGroupRequest(group_id="g")),
        Code.FAILED_PRECONDITION,
        "GROUP_NOT_EMPTY",
    ),
    "delete records beyond the end": (
        lambda s: s.consume.DeleteRecords(
            consume.DeleteRecordsRequest(topic="t", before_offset=1000)
        ),
        Code.OUT_OF_RANGE,
        "OFFSET_OUT_OF_RANGE",
    ),
    "a query for nothing": (
        lambda s: s.consume.ListOffsets(
            consume.ListOffsetsRequest(queries=[consume.OffsetQuery(topic="t")])
        ),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    ),
    "negative wait": (
        lambda s: s.consume.Fetch(consume.FetchRequest(max_wait_ms=-1)),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    ),
    "a partition twice": (
        lambda s: s.consume.Fetch(
            consume.FetchRequest(positions=[consume.Position(topic="t")] * 2)
        ),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
    ),
}


@pytest.mark.parametrize("kind", UNARY)
def test_a_bad_request(stubs: Stubs, bystander: Stubs, kind: str) -> None:
    call, code, reason = UNARY[kind]
    stubs.create("t")
    stubs.append("t", b"kept")
    stubs.groups.Heartbeat(
        group.HeartbeatRequest(
            group_id="g", member_id="m", subscribed_topics=common.TopicNames(names=["t"])
        )
    )
    assert refused(lambda timeout: call(stubs)) == (code, reason)
    assert stubs.values("t") == [b"kept"]


def test_an_offset_out_of_range_is_the_partitions_own_error(stubs: Stubs, bystander: Stubs) -> None:
    request = consume.FetchRequest(
        positions=[
            consume.Position(topic="good", partition=0, offset=99),
            consume.Position(topic="no"),
            consume.Position(topic="good", partition=1),
        ]
    )
    answers = stubs.consume.Fetch(request, timeout=TIMEOUT).partitions
    assert [item.error.reason for item in answers] == ["OFFSET_OUT_OF_RANGE", "UNKNOWN_TOPIC", ""]
    assert answers[2].next_offset == 3


METHODS = {
    "/logstore.v1.TopicService/CreateTopic": Code.INVALID_ARGUMENT,
    "/logstore.v1.ProduceService/Produce": Code.INVALID_ARGUMENT,
    "/logstore.v1.ConsumeService/Fetch": Code.INVALID_ARGUMENT,
    "/logstore.v1.GroupService/Heartbeat": Code.INVALID_ARGUMENT,
    "/logstore.v1.TopicService/NoSuchMethod": Code.UNIMPLEMENTED,
    "/no.such.Service/Method": Code.UNIMPLEMENTED,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("garbage", [b"\xff" * 100, b"\x0a\x05ab", b"\x0b\x0b\x0b"])
def test_garbage_for_a_message(stubs: Stubs, bystander: Stubs, method: str, garbage: bytes) -> None:
    code, _ = refused(stubs.channel.unary_unary(method), garbage)
    assert code is METHODS[method]


@pytest.mark.parametrize("stream", ["ProduceService/ProduceStream", "ConsumeService/ConsumeStream"])
@pytest.mark.parametrize("garbage", [b"\xff" * 100, b"\x0a\x05ab", b"\x0a\x03\x12\x7f\x00"])
def test_garbage_in_a_stream_ends_it(
    stubs: Stubs, bystander: Stubs, stream: str, garbage: bytes
) -> None:
    call = stubs.channel.stream_stream(f"/logstore.v1.{stream}")
    assert refused(call, iter([garbage])) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")


def test_what_came_before_garbage_is_stored_and_answered(stubs: Stubs, bystander: Stubs) -> None:
    stubs.create("t")
    call = stubs.channel.stream_stream("/logstore.v1.ProduceService/ProduceStream")
    answers = call(iter([one(7, "t", 0, GOOD).SerializeToString(), b"\xff"]), timeout=TIMEOUT)
    answer = produce.ProduceStreamResponse.FromString(next(answers))
    assert answer.results[0].stored.last_offset == 2
    with pytest.raises(grpc.RpcError):
        next(answers)


def test_a_truncated_stream_stores_whole_messages_only(
    server: InProcessServer, stubs: Stubs, bystander: Stubs
) -> None:
    """HTTP/2 by hand: half a gRPC message, and the connection is gone."""
    stubs.create("t")
    host, port = server.address.split(":")
    path = b"/logstore.v1.ProduceService/ProduceStream"
    headers = b"\x83\x86"  # POST, http
    for name, value in (
        (b":path", path),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ):
        headers += b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
    message = one(1, "t", 0, GOOD).SerializeToString()
    body = struct.pack(">BI", 0, len(message)) + message
    half = struct.pack(">BI", 0, len(message)) + message[: len(message) // 2]
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(4, 0, 0, b"")
            + frame(1, 4, 1, headers)
            + frame(0, 0, 1, body)
            + frame(0, 0, 1, half)
        )
        waiting = consume.FetchRequest(positions=[consume.Position(topic="t")], max_wait_ms=5000)
        stubs.consume.Fetch(waiting, timeout=TIMEOUT)
    assert stubs.values("t") == [b"a", b"b", b"c"]


def test_bytes_that_are_no_http2_at_all(
    server: InProcessServer, stubs: Stubs, bystander: Stubs
) -> None:
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"\0" * 1000)
        connection.settimeout(TIMEOUT)
        while connection.recv(4096):
            pass


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )
