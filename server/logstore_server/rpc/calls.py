"""From the bytes of a call to a handler's method and back: what all services share.

A service is a class with `descriptor` (of the generated module) and one coroutine method for each
rpc, named in snake_case. Registration walks the descriptor, so a method without a handler cannot
be served by accident.

- unary:  `async def name(self, request, context) -> answer` with a message, or its bytes
- stream: `async def name(self, context) -> None`, reading and writing bytes on the context

Handlers raise LogStoreErrors; every other exception is a bug, logged and told as INTERNAL.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from logstore.api import ServedLogStore
from logstore.errors import (
    InvalidRequestError,
    LogStoreError,
    RequestTooLargeError,
    TooManyRequestsError,
    UnavailableError,
)
from logstore_server.bridge import StoreBridge
from logstore_server.config import RpcConfig
from logstore_server.rpc.errors import abort

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
M = TypeVar("M", bound=Message)

_log = logging.getLogger(__name__)

# What is left of a call's deadline when a wait ends, for the answer to arrive in time.
ANSWER_MARGIN_S = 0.02


class Service(Protocol):
    descriptor: ServiceDescriptor

    def __init__(self, serving: Serving) -> None: ...


@dataclass(slots=True)
class Serving:
    """What the handlers of one listener share. Owned by the event loop."""

    bridge: StoreBridge
    config: RpcConfig
    draining: bool = False
    streams: int = 0
    _on_drain: set[Callable[[], None]] = field(default_factory=set)

    @property
    def store(self) -> ServedLogStore:
        return self.bridge.store

    def start_draining(self) -> None:
        """End every wait: long polls answer, streams finish what they have taken."""
        self.draining = True
        for callback in list(self._on_drain):
            callback()

    def on_drain(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called when draining starts; returns how to forget it."""
        self._on_drain.add(callback)
        return lambda: self._on_drain.discard(callback)

    def wait_s(self, context: Context, max_wait_ms: int) -> float:
        """How long a long poll may take: as asked, as allowed, and within the deadline."""
        if max_wait_ms < 0:
            raise InvalidRequestError(f"max_wait_ms={max_wait_ms} is negative")
        wait = min(max_wait_ms, self.config.wait_ms_max) / 1000
        remaining = context.time_remaining()
        if remaining is not None:
            wait = min(wait, remaining - ANSWER_MARGIN_S)
        return 0.0 if self.draining else max(0.0, wait)


def draining_error() -> UnavailableError:
    """Ends a stream of which all that was taken has been answered; `draining` says so."""
    return UnavailableError(
        "the server is shutting down; connect to it again, or to another one", draining=True
    )


def parse(message_class: type[M], data: bytes | memoryview) -> M:
    """The message in `data`; raises InvalidRequestError if it is none."""
    try:
        return message_class.FromString(bytes(data))
    except DecodeError as error:
        name = message_class.DESCRIPTOR.full_name
        raise InvalidRequestError(f"the request is not a {name}: {error}") from None


def service_handler(service: Service, serving: Serving) -> grpc.GenericRpcHandler[Any, Any]:
    """All methods of the service, for the gRPC server."""
    handlers = {}
    for method in service.descriptor.methods:
        function = getattr(service, snake_case(method.name))
        if method.client_streaming and method.server_streaming:
            handlers[method.name] = grpc.stream_stream_rpc_method_handler(
                _stream(function, serving)
            )
        else:
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(
                _unary(function, method, serving)
            )
    return grpc.method_handlers_generic_handler(service.descriptor.full_name, handlers)


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _unary(
    function: Callable[[Any, Context], Awaitable[Message | bytes]],
    method: MethodDescriptor,
    serving: Serving,
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    request_class = message_factory.GetMessageClass(method.input_type)

    async def handle(data: bytes, context: Context) -> bytes:
        try:
            answer = await function(parse(request_class, data), context)
            encoded = answer if isinstance(answer, bytes) else answer.SerializeToString()
            if len(encoded) <= serving.config.message_bytes_max:
                return encoded
            failure: LogStoreError = RequestTooLargeError(
                f"the answer takes {len(encoded)} bytes, the limit is "
                f"{serving.config.message_bytes_max}; ask for less at a time"
            )
        except LogStoreError as error:
            failure = error
        except Exception as error:
            failure = _bug(method.full_name, error)
        return await abort(context, failure)

    return handle


def _stream(
    function: Callable[[Context], Awaitable[None]], serving: Serving
) -> Callable[[Any, Context], Awaitable[None]]:
    async def handle(_requests: object, context: Context) -> None:
        if serving.draining:
            await abort(context, draining_error())
        if serving.streams >= serving.config.streams_max:
            limit = serving.config.streams_max
            await abort(context, TooManyRequestsError(f"{limit} streams are open, the limit"))
        serving.streams += 1
        try:
            await function(context)
            return
        except LogStoreError as error:
            failure = error
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if context.cancelled() or context.done():  # a write to a client that has gone
                return
            failure = _bug(function.__qualname__, error)
        finally:
            serving.streams -= 1
        await abort(context, failure)

    return handle


def _bug(where: str, error: Exception) -> LogStoreError:
    _log.error("%s failed", where, exc_info=error)
    return LogStoreError(f"internal error ({type(error).__name__}); the server's log has more")


def client_host(context: Context) -> str:
    """The host part of gRPC's peer: "ipv4:127.0.0.1:5000", "ipv6:%5B::1%5D:5000", "unix:"."""
    _, _, address = context.peer().partition(":")
    host, _, _ = address.rpartition(":")
    return host.replace("%5B", "").replace("%5D", "")
