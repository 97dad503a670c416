"""Invariant: a request is answered or refused as the client's fault, and harms no one else."""

from __future__ import annotations

from functools import cache

from logstore.v1 import consume_service_pb2 as consume
from logstore.v1 import group_service_pb2 as group
from logstore.v1 import produce_service_pb2 as produce
from logstore.v1 import topic_service_pb2 as topic
from tests.fuzz.rpc import KEPT, UNARY, AbortedError, Rig, answer_of, request_of
from tests.fuzz.target import Target, promised

OFFSET = group.OffsetToCommit(topic="t", offset=1, metadata="m")


@cache
def rig() -> Rig:
    return Rig()


def seeds() -> list[bytes]:
    """The first byte says which of the unary methods is called."""
    made = [bytes([number]) + request_of(method) for number, method in enumerate(UNARY)]
    names = [method[1].name for method in UNARY]
    valid = (
        (
            "CreateTopic",
            topic.CreateTopicRequest(name="new", partitions=2),
        ),
        ("AlterTopic", topic.AlterTopicRequest(name="t", set_configs={"retention_ms": "5"})),
        ("CommitOffsets", group.CommitOffsetsRequest(group_id="g", offsets=[OFFSET])),
        ("Heartbeat", group.HeartbeatRequest(group_id="g", subscribed_pattern="t.*", owned={})),
        ("ListOffsets", consume.ListOffsetsRequest(queries=[{"topic": "t", "timestamp_ms": 5}])),
        ("Produce", produce.ProduceRequest(topic="t", batch=KEPT)),
        ("Fetch", consume.FetchRequest(positions=[{"topic": "t"}], format="RECORD_FORMAT_RECORDS")),
    )
    made += [bytes([names.index(name)]) + request.SerializeToString() for name, request in valid]
    return made + [bytes([number]) for number in range(len(UNARY))]


def check(data: bytes) -> object:
    if not data:
        return None
    method = UNARY[data[0] % len(UNARY)]
    call = rig().call(method, [data[1:]])
    with promised:
        answer = answer_of(method, call.written[0])
    return method[1].name, tuple(field.name for field, _ in answer.ListFields())


TARGET = Target("rpc_calls", seeds, check, (AbortedError,), bytes_max=512)
