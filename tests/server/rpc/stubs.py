"""Raw stubs of one channel, and what the tests of the listener ask again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from logstore.record import encode_batch
from logstore.v1 import common_pb2 as common
from logstore.v1 import consume_service_pb2 as consume
from logstore.v1 import consume_service_pb2_grpc as consume_grpc
from logstore.v1 import group_service_pb2_grpc as group_grpc
from logstore.v1 import produce_service_pb2 as produce
from logstore.v1 import produce_service_pb2_grpc as produce_grpc
from logstore.v1 import store_service_pb2_grpc as store_grpc
from logstore.v1 import topic_service_pb2 as topic
from logstore.v1 import topic_service_pb2_grpc as topic_grpc

TIMEOUT = 10.0


class Stubs:
    def __init__(self, address: str, options: Iterable[tuple[str, int]] = ()) -> None:
        self.address = address
        self.channel: Any = grpc.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1), *options]
        )
        self.store = store_grpc.StoreServiceStub(self.channel)
        self.topics = topic_grpc.TopicServiceStub(self.channel)
        self.produce = produce_grpc.ProduceServiceStub(self.channel)
        self.consume = consume_grpc.ConsumeServiceStub(self.channel)
        self.groups = group_grpc.GroupServiceStub(self.channel)

    def create(self, name: str, partitions: int = 1, **configs: str) -> None:
        request = topic.CreateTopicRequest(name=name, partitions=partitions, configs=configs)
        self.topics.CreateTopic(request, timeout=TIMEOUT)

    def append(self, name: str, *values: bytes, partition: int = 0) -> produce.ProduceResponse:
        request = produce.ProduceRequest(topic=name, partition=partition, batch=batch(*values))
        answer: produce.ProduceResponse = self.produce.Produce(request, timeout=TIMEOUT)
        return answer

    def values(self, name: str, partition: int = 0, offset: int = 0) -> list[bytes]:
        """All values from `offset` on."""
        found: list[bytes] = []
        while True:
            request = consume.FetchRequest(
                positions=[consume.Position(topic=name, partition=partition, offset=offset)],
                format=common.RECORD_FORMAT_RECORDS,
            )
            answer = self.consume.Fetch(request, timeout=TIMEOUT)
            for item in answer.partitions:
                assert not item.HasField("error"), item.error
                found += [record.value for record in item.records]
                offset = item.next_offset
            if not answer.partitions:
                return found

    def close(self) -> None:
        self.channel.close()

    def __enter__(self) -> Stubs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Requests:
    """The client's side of a stream, fed by hand."""

    def __init__(self, *first: Any) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        for message in first:
            self.send(message)

    def send(self, message: Any) -> None:
        self._queue.put(message)

    def end(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[Any]:
        while (message := self._queue.get()) is not None:
            yield message


def batch(*values: bytes, **fields: Any) -> bytes:
    return bytes(encode_batch(list(values), timestamps=1_700_000_000_000, **fields))


def reason_of(failure: grpc.RpcError) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Code, and reason and metadata of the ErrorInfo ("" where there is none)."""
    metadata: Any = failure.trailing_metadata()
    code = failure.code()
    for key, value in metadata or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            info = error_details_pb2.ErrorInfo()
            assert status.code == code.value[0]
            assert status.details[0].Unpack(info)
            assert info.domain == "logstore"
            return code, info.reason, dict(info.metadata)
    return code, "", {}


def refused(call: Any, *arguments: Any, **options: Any) -> tuple[grpc.StatusCode, str]:
    """Code and reason with which the call (unary, or the rest of a stream) fails."""
    try:
        answer = call(*arguments, **({"timeout": TIMEOUT} | options))
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as failure:
        code, reason, _ = reason_of(failure)
        return code, reason
    raise AssertionError("it was not refused")
