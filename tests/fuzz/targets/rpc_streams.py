"""Invariant: a stream is answered batch by batch, or ended as the client's fault."""

from __future__ import annotations

import struct
from functools import cache

from google.protobuf.message import DecodeError

from logstore.v1 import consume_service_pb2 as consume
from logstore.v1 import produce_service_pb2 as produce
from tests.fuzz.rpc import KEPT, STREAMS, AbortedError, Rig, answer_of, request_of
from tests.fuzz.target import Target, promised, require

LENGTH = struct.Struct(">H")
MESSAGES_MAX = 8


@cache
def rig() -> Rig:
    return Rig()


def framed(*messages: bytes) -> bytes:
    return b"".join(LENGTH.pack(len(message)) + message for message in messages)


def messages_of(data: bytes) -> list[bytes]:
    """Cut where the lengths say; the last may be cut short."""
    found: list[bytes] = []
    while data and len(found) < MESSAGES_MAX:
        end = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:end])
        data = data[end:]
    return found


def seeds() -> list[bytes]:
    """The first byte says which stream it is."""
    made = [bytes([n]) + framed(request_of(item)) for n, item in enumerate(STREAMS)]
    names = [item[1].name for item in STREAMS]
    batch = produce.ProduceStreamBatch(correlation_id=7, topic="t", partition=1, batch=KEPT)
    record = produce.ProduceStreamBatch(correlation_id=8, topic="t")
    record.records.records.add(value=b"v", key=b"k")
    some = produce.ProduceStreamRequest(batches=[batch, record]).SerializeToString()
    made.append(bytes([names.index("ProduceStream")]) + framed(some, some))
    position = consume.Position(topic="t", partition=0, offset=0)
    first = consume.ConsumeStreamRequest(set_positions=[position], credit_bytes=1000)
    more = consume.ConsumeStreamRequest(credit_bytes=500)
    positions = [part.SerializeToString() for part in (first, more)]
    return [*made, bytes([names.index("ConsumeStream")]) + framed(*positions)]


def check(data: bytes) -> object:
    if not data:
        return None
    method = STREAMS[data[0] % len(STREAMS)]
    messages = messages_of(data[1:])
    call = rig().call(method, messages)
    with promised:
        answers = [answer_of(method, item) for item in call.written]
    name = method[1].name
    if name == "ProduceStream":
        results = [result for answer in answers for result in answer.results]  # type: ignore[attr-defined]
        try:
            sent = [produce.ProduceStreamRequest.FromString(message) for message in messages]
        except DecodeError:  # of a field that the server passes over
            return name, "not decoded"
        expected = sorted(batch.correlation_id for part in sent for batch in part.batches)
        require(sorted(result.correlation_id for result in results) == expected, "a result each")
        return name, len(results), {result.error.reason for result in results} == {""}
    return name, tuple(
        tuple(field.name for field, _ in answer.ListFields()) for answer in answers[:3]
    )


TARGET = Target("rpc_streams", seeds, check, (AbortedError,))
