"""The Kafka listener's sessions over a real store in memory, without sockets or threads.

Bytes go through the same frames, headers, schemas, handlers and encoding as on a server. Nothing
waits: the listener is draining. The store is made anew after some requests, and what another client
stored must be there still.
"""

from __future__ import annotations

import asyncio
import dataclasses
import struct
import uuid
from functools import cache
from typing import Any

from kio.index import load_request_schema

from logstore.api import FetchPosition, TopicSpec
from logstore.config import StoreConfig
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import ManualClock, MemoryFileSystem
from logstore_server.config import KafkaConfig
from logstore_server.kafka.connection import Connection
from logstore_server.kafka.context import Client, CloseConnection, Serving
from logstore_server.kafka.encoding import Output, entity_writer
from logstore_server.kafka.header import Header
from logstore_server.kafka.listener import _may_overlap
from logstore_server.kafka.messages import Messages
from logstore_server.kafka.registry import APIS, BY_KEY
from logstore_server.kafka.schema import inner_type
from logstore_server.kafka.session import Session
from tests.fuzz.rpc import InlineBridge
from tests.fuzz.target import require

MIB = 1 << 20
REQUESTS_PER_STORE = 40
LIMITS = StoreConfig(partitions_max=48, decompressed_bytes_max=MIB, open_segments_max=64)
CONFIG = KafkaConfig(request_bytes_max=MIB, fetch_bytes_max=MIB)
BYSTANDER = "bystander-5f0c1d"  # a topic that no request names
KEPT = bytes(encode_batch([b"kept"], [b"key"], timestamps=1000))
# The oldest form of each request and the newest: schemas take a while to load.
CALLS = tuple(
    (api, version) for api in APIS for version in sorted({api.version_min, api.version_max})
)


class ClosedError(Exception):
    """The connection was closed, as it may be for bytes that are no requests."""


class Transport:
    """An asyncio.Transport whose client reads everything at once."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closing = False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 5000) if name == "peername" else None

    def set_write_buffer_limits(self, **limits: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: Any) -> None:
        self.sent += data

    def writelines(self, parts: Any) -> None:
        for part in parts:
            self.sent += part

    def close(self) -> None:
        self.closing = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class WatchedSession(Session):
    refused: str | None = None
    bug: Exception | None = None

    def _refuse(self, why: str) -> None:
        self.refused = why
        self.abort()

    def _failed(self, messages: Messages, error: Exception) -> None:
        if isinstance(error, CloseConnection):
            self._refuse(str(error))
        else:
            self.bug = error
            self.abort()


@cache
def loaded(api_key: int, version: int) -> Messages:
    return Messages.load(BY_KEY[api_key], version)


class Directory:
    """KafkaListener, with schemas that are there at once."""

    def messages(self, header: Header) -> Messages:
        from logstore_server.kafka.messages import MalformedRequestError

        api = BY_KEY.get(header.api_key)
        if api is None or not api.version_min <= header.version <= api.version_max:
            raise MalformedRequestError("not served")
        return loaded(header.api_key, header.version)

    def joined(self, session: Session) -> bool:
        return True

    def left(self, session: Session) -> None: ...


class Rig:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._requests = REQUESTS_PER_STORE
        self._store: LocalLogStore | None = None

    def _renew(self) -> None:
        if self._store is not None:
            self._check_bystander()
            self._store.close()
        self._requests = 0
        ids = iter(range(1, 1 << 30))
        self._store = LocalLogStore.open(
            "data",
            fs=MemoryFileSystem(),
            clock=ManualClock(),
            config=LIMITS,
            new_id=lambda: uuid.UUID(int=next(ids)),
        )
        for name in ("t", BYSTANDER):
            self._store.create_topic(TopicSpec(name, 2))
            self._store.append(name, 0, KEPT).result(5)
        bridge = InlineBridge(self._store, self._loop)
        self._serving = Serving(bridge, CONFIG, "h", 1, draining=True)  # type: ignore[arg-type]

    def _check_bystander(self) -> None:
        assert self._store is not None
        position = FetchPosition(BYSTANDER, 0, 0, MIB)
        with self._store.fetch([position], bytes_max=MIB, cold_ok=True) as found:
            data = bytes(found.partitions[0].data)
        require(data[16:] == KEPT[16:], "what another client stored is still there")

    def send(self, data: bytes) -> list[bytes]:
        """The frames that come back; raises ClosedError."""
        if self._requests >= REQUESTS_PER_STORE:
            self._renew()
        self._requests += 1
        connection = Connection(
            memoryview(bytearray(1024)),
            frame_bytes_max=CONFIG.request_bytes_max,
            requests_max=100,
            bytes_max=MIB,
            may_overlap=_may_overlap,
        )
        session = WatchedSession(Directory(), lambda host: Client(self._serving, host), connection)
        transport = Transport()

        async def run() -> None:
            session.connection_made(transport)  # type: ignore[arg-type]
            rest = data
            while rest and not transport.closing:
                buffer = session.get_buffer(-1)
                count = min(len(buffer), len(rest))
                buffer[:count] = rest[:count]
                rest = rest[count:]
                session.buffer_updated(count)
                while session._tasks:
                    await asyncio.wait(session._tasks)
            session.connection_lost(None)

        self._loop.run_until_complete(run())
        if session.bug is not None:
            raise session.bug
        frames = frames_of(bytes(transport.sent))
        if session.refused is not None:
            raise ClosedError(session.refused)
        return frames


def frames_of(data: bytes) -> list[bytes]:
    found = []
    while data:
        (size,) = struct.unpack_from(">i", data)
        require(0 <= size <= len(data) - 4, "answers are whole frames")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


# --- requests that may well be right --------------------------------------------------------


@cache
def sample_body(api_key: int, version: int) -> bytes:
    schema = load_request_schema(api_key, version)
    out = Output()
    entity_writer(schema)(out, _sample(schema))
    return b"".join(out.finish())


def _sample(cls: type[Any]) -> dict[str, Any]:
    values = {}
    for field in dataclasses.fields(cls):
        kind, is_array, _ = inner_type(field)
        if dataclasses.is_dataclass(kind):
            value: Any = _sample(kind)  # type: ignore[arg-type]
        else:
            value = _primitive(field.name, field.metadata["kafka_type"])
        if not ("tag" in field.metadata and dataclasses.is_dataclass(kind)):
            values[field.name] = [value] if is_array else value
    return values


def _primitive(name: str, kafka_type: str) -> Any:
    if name in ("session_epoch", "producer_id", "producer_epoch"):
        return -1
    if name == "acks":
        return 1
    return {
        "string": "t",
        "bytes": b"",
        "records": KEPT,
        "uuid": uuid.UUID(int=2),
        "bool": False,
        "float64": 1.0,
    }.get(kafka_type, 0 if name in ("partition", "partition_index", "index", "fetch_offset") else 1)


def frame(api_key: int, version: int, body: bytes) -> bytes:
    tags = b"\0" if loaded(api_key, version).is_flexible else b""
    head = struct.pack(">hhih", api_key, version, 7, 1) + b"c" + tags
    return struct.pack(">i", len(head) + len(body)) + head + body
