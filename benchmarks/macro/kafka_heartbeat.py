"""Kafka's Heartbeat, one request in flight on one connection, against a bare uvloop echo.

`python -m benchmarks.macro.kafka_heartbeat [--seconds 2] [--repeats 5]`

A member of a stable group beats as fast as it is answered, through a blocking socket; the echo is a
server process whose asyncio protocol (on uvloop) writes back what it reads, asked with the same
bytes by the same client. The runs of one repeat follow each other; the figures are medians, and the
ratio is of these. Exits 1 below 5,000 heartbeats a second.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

from benchmarks.macro.startup import free_port

BEATS_MIN = 5_000  # a second
API_HEARTBEAT, API_JOIN_GROUP, API_SYNC_GROUP = 12, 11, 14
SESSION_MS, REBALANCE_MS = 60_000, 60_000


# --- the echo ---------------------------------------------------------------------------------


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


def serve_echo(port: int) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(run())


# --- the client -------------------------------------------------------------------------------


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def frame(api_key: int, version: int, body: bytes) -> bytes:
    head = struct.pack(">hhi", api_key, version, 1) + text("bench")
    return struct.pack(">i", len(head) + len(body)) + head + body


def ask(connection: socket.socket, request: bytes) -> bytes:
    """The answer's body, behind its correlation id."""
    connection.sendall(request)
    (size,) = struct.unpack(">i", receive(connection, 4))
    return receive(connection, size)[4:]


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError("the server closed the connection")
        data += part
    return data


def become_member(connection: socket.socket) -> bytes:
    """The Heartbeat (version 3) of the only member of a stable group."""
    protocol = struct.pack(">i", 1) + text("range") + struct.pack(">i", 0)
    member_id = text("")
    while True:
        times = struct.pack(">ii", SESSION_MS, REBALANCE_MS)
        body = text("g") + times + member_id + struct.pack(">h", -1) + text("consumer") + protocol
        answer = ask(connection, frame(API_JOIN_GROUP, 5, body))
        _, error, generation = struct.unpack_from(">ihi", answer)
        at = 10
        fields = []
        for _ in range(3):  # protocol, leader, member id
            (length,) = struct.unpack_from(">h", answer, at)
            fields.append(answer[at + 2 : at + 2 + length].decode())
            at += 2 + length
        member_id = text(fields[2])
        if error == 0:
            break
    who = text("g") + struct.pack(">i", generation) + member_id + struct.pack(">h", -1)
    ask(connection, frame(API_SYNC_GROUP, 3, who + struct.pack(">i", 0)))
    return frame(API_HEARTBEAT, 3, who)


def rate(connection: socket.socket, request: bytes, answer_bytes: int, seconds: float) -> float:
    """Round trips a second."""
    send, recv = connection.sendall, connection.recv
    count = 0
    start = time.perf_counter()
    until = start + seconds
    while (now := time.perf_counter()) < until:
        for _ in range(100):
            send(request)
            got = len(recv(4096))
            while got < answer_bytes:
                got += len(recv(4096))
        count += 100
    return count / (now - start)


# --- the run ----------------------------------------------------------------------------------


@contextmanager
def process(*arguments: str) -> Iterator[None]:
    started = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        started.terminate()
        started.wait(30)


def connect(port: int) -> socket.socket:
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            time.sleep(0.01)
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--echo", type=int, default=0, help="be the echo, on this port")
    asked = parser.parse_args(arguments)
    if asked.echo:
        serve_echo(asked.echo)
        return 0
    kafka_port, echo_port = free_port(), free_port()
    with (
        tempfile.TemporaryDirectory() as data,
        process(
            *("-m", "logstore_server", "serve", data, "--port", "0"),
            *("--kafka-port", str(kafka_port)),
        ),
        process("-m", "benchmarks.macro.kafka_heartbeat", "--echo", str(echo_port)),
        connect(kafka_port) as member,
        connect(echo_port) as echo,
    ):
        beat = become_member(member)
        told = ask(member, beat)
        assert told == bytes(6), "no throttling, no error"
        answer = 4 + 4 + len(told)
        beats, echoes = [], []
        for _ in range(asked.repeats):
            beats.append(rate(member, beat, answer, asked.seconds))
            echoes.append(rate(echo, beat, len(beat), asked.seconds))
    per_second, bare = statistics.median(beats), statistics.median(echoes)
    print(
        f"Heartbeat: {per_second:,.0f}/s ({min(beats):,.0f} to {max(beats):,.0f}), "
        f"bare uvloop echo {bare:,.0f}/s ({min(echoes):,.0f} to {max(echoes):,.0f}): "
        f"ratio {per_second / bare:.2f} "
        f"(medians of {asked.repeats}; limit {BEATS_MIN:,}/s)"
    )
    return 0 if per_second >= BEATS_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
