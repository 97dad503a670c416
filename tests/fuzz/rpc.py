"""The gRPC handlers over a real store in memory, without sockets or threads.

Calls go through the same registration, parsing and mapping of errors as on a server; what a client
would see of them is in a Call. The store is made anew after some calls, so that what earlier ones
left behind does not grow; before it goes it is closed and opened again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message
from google.rpc import status_pb2  # type: ignore[import-untyped]

from logstore.api import FetchPosition, TopicSpec
from logstore.config import StoreConfig
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import ManualClock, MemoryFileSystem
from logstore_server.config import RpcConfig
from logstore_server.rpc.calls import Serving, service_handler
from logstore_server.rpc.listener import SERVICES
from tests.fuzz.target import promised, require

MIB = 1 << 20
CALLS_PER_STORE = 40
LIMITS = StoreConfig(partitions_max=48, decompressed_bytes_max=MIB, open_segments_max=64)
RPC = RpcConfig(message_bytes_max=2 * MIB, consume_message_bytes=64 << 10)
# Codes that say the server is at fault: no bytes of a client may lead there.
FAULTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
BYSTANDER = "bystander-5f0c1d"  # a topic that no request names
KEPT = bytes(encode_batch([b"kept"], [b"key"], timestamps=1000))
METHODS = tuple(
    (service.descriptor.full_name, method)
    for service in SERVICES
    for method in service.descriptor.methods
)
UNARY = tuple(item for item in METHODS if not item[1].client_streaming)
STREAMS = tuple(item for item in METHODS if item[1].client_streaming)


class AbortedError(Exception):
    """The call ended with a status that is the client's fault, or passes."""


class Call:
    """grpc.aio.ServicerContext, as far as handlers use it: its client sends `messages`."""

    def __init__(self, messages: Sequence[bytes] = (), at_end: Callable[[], object] = int) -> None:
        self._messages = list(messages)
        self._at_end = at_end
        self.written: list[bytes] = []
        self.code: grpc.StatusCode | None = None

    def time_remaining(self) -> float:
        return 0.0  # nobody waits

    def peer(self) -> str:
        return "ipv4:127.0.0.1:5000"

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return False

    async def send_initial_metadata(self, metadata: object) -> None:
        return None

    async def read(self) -> Any:
        if self._messages:
            return self._messages.pop(0)
        for _ in range(6):  # what is under way is answered
            await asyncio.sleep(0)
        self._at_end()
        return grpc.aio.EOF  # type: ignore[attr-defined]

    async def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    async def abort(self, code: grpc.StatusCode, details: str, metadata: Any = ()) -> None:
        self.code = code
        require(code not in FAULTS, f"{code}: {details}")
        for _, value in metadata:
            require(status_pb2.Status.FromString(value).message == details, "one message")
        raise AbortedError(code)


class InlineBridge:
    """StoreBridge without threads: what may block is done at once."""

    def __init__(self, store: LocalLogStore, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self._loop = loop
        store.attach_driver(on_flush=lambda: self.post(store.run_flush), on_deadline=lambda: None)

    def post(self, callback: Callable[[], object]) -> None:
        self._loop.call_soon(callback)

    def count_append(self) -> None:
        return None

    async def call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    async def future(self, pending: Any) -> Any:
        return pending.result(5)

    async def fetch(self, positions: Any, *, bytes_max: int, read_committed: bool) -> Any:
        return self.store.fetch(
            positions, bytes_max=bytes_max, read_committed=read_committed, cold_ok=True
        )

    def wait_for_data(self, positions: Any, on_ready: Callable[[], None], **options: Any) -> Any:
        return self.store.wait_for_data(positions, lambda: self.post(on_ready), **options)


class Rig:
    """A store, its handlers, and the loop that runs them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._calls = CALLS_PER_STORE
        self._store: LocalLogStore | None = None

    def _renew(self) -> None:
        if self._store is not None:
            self._check_bystander()
            with promised:
                self._store.close()
                self._open()
                self._check_bystander()
                self._store.close()
        self._calls = 0
        self._fs = MemoryFileSystem()
        self._clock = ManualClock()
        self._ids = iter(range(1, 1 << 30))
        self._open()
        assert self._store is not None
        for name in ("t", BYSTANDER):
            self._store.create_topic(TopicSpec(name, 2))
            self._store.append(name, 0, KEPT).result(5)
        self._serving = Serving(InlineBridge(self._store, self._loop), RPC)  # type: ignore[arg-type]
        self._handlers = {
            service.descriptor.full_name: service_handler(service(self._serving), self._serving)
            for service in SERVICES
        }

    def _open(self) -> None:
        self._store = LocalLogStore.open(
            "data",
            fs=self._fs,
            clock=self._clock,
            config=LIMITS,
            new_id=lambda: uuid.UUID(int=next(self._ids)),
        )

    def _check_bystander(self) -> None:
        assert self._store is not None
        with self._store.fetch(
            [FetchPosition(BYSTANDER, 0, 0, MIB)], bytes_max=MIB, cold_ok=True
        ) as found:
            data = bytes(found.partitions[0].data)
        require(data[16:] == KEPT[16:], "what another client stored is still there")

    def call(self, method: Any, messages: Sequence[bytes]) -> Call:
        """Raises AbortedError for a status that is not OK."""
        if self._calls >= CALLS_PER_STORE:
            self._renew()
        self._calls += 1
        service, descriptor = method
        if descriptor.name == "DeleteTopic":
            self._calls = CALLS_PER_STORE  # later calls want their topic
        details: Any = _Details(f"/{service}/{descriptor.name}")
        handler: Any = self._handlers[service].service(details)
        self._serving.draining = False
        call = Call(messages, self._serving.start_draining)
        try:
            if descriptor.client_streaming:
                self._loop.run_until_complete(handler.stream_stream(None, call))
            else:
                answer = self._loop.run_until_complete(handler.unary_unary(messages[0], call))
                call.written.append(answer)
        except AbortedError:
            if not descriptor.client_streaming or call.code is not grpc.StatusCode.UNAVAILABLE:
                raise
        return call


class _Details:
    """grpc.HandlerCallDetails."""

    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


STRINGS = {"group_id": "g", "compression": "gzip", "subscribed_pattern": "t.*", "assignor": "range"}


def sample(message_class: type[Message]) -> Message:
    """A message with every field set, to something that may well be right."""
    message = message_class()
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and field.name in ("records", "timestamp_ms"):
            continue  # the other of the two is there
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["retention_ms"] = "1000"
        elif field.message_type is not None:
            inner = sample(message_class_of(field.message_type))
            target = getattr(message, field.name)
            (target.add() if field.is_repeated else target).CopyFrom(inner)
        else:
            value = _value(field)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    return message


def _value(field: Any) -> Any:
    if field.type == field.TYPE_BYTES:
        return KEPT if field.name == "batch" else b"bytes"
    if field.type == field.TYPE_STRING:
        return STRINGS.get(field.name, "t" if "topic" in field.name or "name" in field.name else "")
    if field.type == field.TYPE_ENUM:
        return field.enum_type.values[-1].number
    if field.type == field.TYPE_BOOL:
        return False
    if field.name in ("total", "partitions"):
        return 3
    return 1000 if field.name.endswith(("_ms", "bytes", "bytes_max")) else 0


def message_class_of(descriptor: Any) -> type[Message]:
    return message_factory.GetMessageClass(descriptor)


def request_of(method: Any) -> bytes:
    return sample(message_class_of(method[1].input_type)).SerializeToString()


def answer_of(method: Any, data: bytes) -> Message:
    return message_class_of(method[1].output_type).FromString(data)
