# mypy: disable-error-code="type-arg,call-arg,attr-defined"
"""The yardstick: a gRPC stream that does nothing but move bytes, in processes of its own.

`python -m benchmarks.macro.grpc_bare sync|aio` serves and prints its port. Messages of the method
Up are counted and each answered by one byte; Down sends as many messages as it is asked for.
`up` and `down` are clients, the sync and the asyncio one.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
IN_FLIGHT_MAX = 16  # messages sent and not answered, as in the runs that it is compared with
_ASK = struct.Struct(">II")  # messages, bytes of each


# --- servers ----------------------------------------------------------------------------------


def _handlers(up: Callable, down: Callable) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        "bare",
        {
            "Up": grpc.stream_stream_rpc_method_handler(up),
            "Down": grpc.stream_stream_rpc_method_handler(down),
        },
    )


def serve_sync() -> None:
    def up(requests: Iterator[bytes], _context: object) -> Iterator[bytes]:
        for _ in requests:
            yield b"+"

    def down(requests: Iterator[bytes], _context: object) -> Iterator[bytes]:
        count, size = _ASK.unpack(next(requests))
        message = bytes(size)
        for _ in range(count):
            yield message

    server = grpc.server(ThreadPoolExecutor(4), options=OPTIONS)
    server.add_generic_rpc_handlers([_handlers(up, down)])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


async def serve_aio() -> None:
    async def up(_requests: object, context: grpc.aio.ServicerContext) -> None:
        while await context.read() is not grpc.aio.EOF:
            await context.write(b"+")

    async def down(_requests: object, context: grpc.aio.ServicerContext) -> None:
        count, size = _ASK.unpack(await context.read())
        message = bytes(size)
        for _ in range(count):
            await context.write(message)

    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers([_handlers(up, down)])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


# --- clients ----------------------------------------------------------------------------------


def up_sync(address: str, message: bytes, count: int) -> None:
    room = threading.Semaphore(IN_FLIGHT_MAX)

    def messages() -> Iterator[bytes]:
        for _ in range(count):
            room.acquire()
            yield message

    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        for _ in channel.stream_stream("/bare/Up")(messages()):
            room.release()


def down_sync(address: str, size: int, count: int) -> None:
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        received = channel.stream_stream("/bare/Down")(iter([_ASK.pack(count, size)]))
        assert sum(len(message) for message in received) == size * count


async def up_aio(address: str, message: bytes, count: int) -> None:
    room = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def messages() -> AsyncIterator[bytes]:
        for _ in range(count):
            await room.acquire()
            yield message

    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        async for _ in channel.stream_stream("/bare/Up")(messages()):
            room.release()


async def down_aio(address: str, size: int, count: int) -> None:
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        call = channel.stream_stream("/bare/Down")(iter([_ASK.pack(count, size)]))
        total = 0
        async for message in call:
            total += len(message)
        assert total == size * count


if __name__ == "__main__":
    if sys.argv[1] == "sync":
        serve_sync()
    else:
        asyncio.run(serve_aio())
