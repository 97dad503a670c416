"""Channels to endpoints, one each, and unary calls with deadline, retries and errors mapped.

Retried: UnavailableError of calls that may be made twice, until the deadline. Everything else is
for the caller, who knows more.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import grpc

from logstore.errors import ClientClosedError, UnavailableError
from logstore.remote.config import RemoteConfig
from logstore.remote.errors import error_from_call
from logstore.v1.consume_service_pb2_grpc import ConsumeServiceStub
from logstore.v1.group_service_pb2_grpc import GroupServiceStub
from logstore.v1.produce_service_pb2_grpc import ProduceServiceStub
from logstore.v1.store_service_pb2_grpc import StoreServiceStub
from logstore.v1.topic_service_pb2_grpc import TopicServiceStub
from logstore.v1.transaction_service_pb2_grpc import TransactionServiceStub

A = TypeVar("A", covariant=True)


class Method(Protocol[A]):
    """A method of a stub, bound to its request."""

    def __call__(self, connection: Connection, timeout: float) -> A: ...


class Connection:
    """One channel, its stubs, and its two hot streams as bytes."""

    def __init__(self, endpoint: str, config: RemoteConfig) -> None:
        self.endpoint = endpoint
        self.channel = _open_channel(endpoint, config)
        self.store = StoreServiceStub(self.channel)
        self.topics = TopicServiceStub(self.channel)
        self.produce = ProduceServiceStub(self.channel)
        self.consume = ConsumeServiceStub(self.channel)
        self.groups = GroupServiceStub(self.channel)
        self.transactions = TransactionServiceStub(self.channel)
        # No serializers: see logstore.remote.wire.
        self.produce_stream = self.channel.stream_stream(
            "/logstore.v1.ProduceService/ProduceStream"
        )
        self.consume_stream = self.channel.stream_stream(
            "/logstore.v1.ConsumeService/ConsumeStream"
        )


def _open_channel(endpoint: str, config: RemoteConfig) -> Any:
    """Any: grpc's stubs do not know that serializers may be left out."""
    return grpc.insecure_channel(endpoint, options=channel_options(config))


def channel_options(config: RemoteConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.message_bytes_max),
        ("grpc.max_send_message_length", config.message_bytes_max),
        ("grpc.keepalive_time_ms", config.keepalive_time_ms),
        ("grpc.keepalive_timeout_ms", config.keepalive_timeout_ms),
        # By itself the former ends nothing (seen with gRPC 1.85): a minute would pass.
        ("grpc.http2.ping_timeout_ms", config.keepalive_timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A server that was restarted is found again within this, not within two minutes.
        ("grpc.initial_reconnect_backoff_ms", config.backoff_ms_min),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", config.backoff_ms_max),
        # Stores of one process do not share a connection: each has a window of its own.
        ("grpc.use_local_subchannel_pool", 1),
    ]


class Connections:
    """All connections of one RemoteLogStore. Thread-safe."""

    def __init__(self, config: RemoteConfig, rng: random.Random | None = None) -> None:
        self.config = config
        self._random = rng or random.Random()
        self._lock = threading.Lock()
        self._open: dict[str, Connection] = {}
        self.closed = threading.Event()

    def get(self, endpoint: str) -> Connection:
        with self._lock:
            self.check_open()
            connection = self._open.get(endpoint)
            if connection is None:
                connection = self._open[endpoint] = Connection(endpoint, self.config)
            return connection

    def check_open(self) -> None:
        if self.closed.is_set():
            raise ClientClosedError("the connection to the store is closed")

    def call(
        self,
        endpoint: Callable[[], str],
        method: Method[A],
        *,
        twice: bool,
        deadline: float,
        unreachable: Callable[[str], None] = lambda _: None,
    ) -> A:
        """The answer of `method` at `endpoint()`, which is asked anew for each try.

        `twice`: whether the call may be made again when it is not known what became of it.
        `deadline` in time.monotonic seconds. `unreachable` is told of each endpoint that was not
        reached. Raises LogStoreErrors.
        """
        tries = 0
        while True:
            place = endpoint()
            connection = self.get(place)
            remaining = max(0.001, deadline - time.monotonic())
            try:
                return method(connection, remaining)
            except grpc.RpcError as failure:
                error = error_from_call(failure, place)
            except ValueError:  # gRPC's word for a closed channel
                self.check_open()
                raise
            if isinstance(error, UnavailableError):
                unreachable(place)
            delay = self.backoff_s(tries)
            if (
                not (twice and isinstance(error, UnavailableError))
                or time.monotonic() + delay >= deadline
            ):
                raise error
            tries += 1
            self.closed.wait(delay)
            self.check_open()

    def backoff_s(self, tries: int) -> float:
        """How long to wait after so many tries that failed before this one."""
        config = self.config
        full = float(min(config.backoff_ms_min << min(tries, 30), config.backoff_ms_max))
        return full * (0.5 + self._random.random() / 2) / 1000

    def close(self) -> None:
        self.closed.set()
        with self._lock:
            connections = list(self._open.values())
        for connection in connections:
            connection.channel.close()
