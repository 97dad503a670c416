"""Streaming produce and consume through a live server, against a bare gRPC stream.

`python -m benchmarks.macro.grpc_stream [--mebibytes 128] [--repeats 7]`

Moves batches of 100-byte records, 1 MiB each and one to a message, from this process to a server
process and back, once through logstore (`RemoteLogStore.append` and `open_reader`: stored, checked,
read from the log) and once through a stream that does nothing else (benchmarks.macro.grpc_bare),
sync and asyncio; the faster of those is the yardstick. The runs of one repeat follow each other,
the figures are medians over the repeats, and the ratios are of these.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.macro import grpc_bare
from logstore import api
from logstore.record import encode_batch
from logstore.remote import RemoteLogStore, connect_store

MIB = 1 << 20
VALUE_BYTES = 100
TARGET = 0.6


@contextmanager
def server(*arguments: str) -> Iterator[str]:
    """A server in a process of its own: its first line names its port, or ends in it."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"(\d+)$", process.stdout.readline().strip())
        assert found, f"{arguments} did not start"
        yield f"127.0.0.1:{found[1]}"
    finally:
        process.terminate()
        process.wait(30)


def one_batch() -> bytes:
    """As near to 1 MiB as whole records come."""
    size = len(encode_batch([bytes(VALUE_BYTES)] * 1000))
    records = (MIB - 2048) * 1000 // size
    return bytes(encode_batch([bytes(VALUE_BYTES)] * records, timestamps=1_700_000_000_000))


def produce(store: RemoteLogStore, topic: str, batch: bytes, count: int) -> None:
    room = threading.Semaphore(grpc_bare.IN_FLIGHT_MAX)
    last = None
    for _ in range(count):
        room.acquire()
        last = store.append(topic, 0, batch)
        last.add_done_callback(lambda _: room.release())
    assert last is not None
    last.result(60)


def consume(store: RemoteLogStore, topic: str, size: int) -> None:
    reader = store.open_reader(bytes_max=16 * MIB, partition_bytes_max=MIB)
    reader.set_position(topic, 0, 0)
    while size > 0:
        size -= sum(item.data.nbytes for item in reader.poll(10))
    reader.close()


def seconds(function: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    result = function(*arguments)
    if asyncio.iscoroutine(result):
        asyncio.run(result)
    return time.perf_counter() - started


class Run:
    def __init__(self, mebibytes: int) -> None:
        self.batch = one_batch()
        self.count = mebibytes
        self.rates: dict[str, list[float]] = {}

    def measure(self, name: str, function: Callable[..., object], *arguments: object) -> None:
        rate = len(self.batch) * self.count / seconds(function, *arguments) / 1e6
        self.rates.setdefault(name, []).append(rate)

    def repeat(self, number: int, addresses: dict[str, str], store: RemoteLogStore) -> None:
        size = len(self.batch)
        for kind in ("sync", "aio"):
            for direction in ("up", "down"):
                client = getattr(grpc_bare, f"{direction}_{kind}")
                data = self.batch if direction == "up" else size
                self.measure(f"bare {kind} {direction}", client, addresses[kind], data, self.count)
        # All is written before any is read, so that no disk is busy with it then.
        topics = {name: f"bench-{name}-{number}" for name in ("page_cache", "fsync")}
        for durability, topic in topics.items():
            store.create_topic(api.TopicSpec(topic, configs={"durability": durability}))
            self.measure(f"{durability} produce", produce, store, topic, self.batch, self.count)
        for durability, topic in topics.items():
            self.measure(f"{durability} consume", consume, store, topic, size * self.count)
            store.delete_topic(topic)

    def report(self) -> dict[str, float]:
        medians = {name: statistics.median(rates) for name, rates in self.rates.items()}
        for name, rate in medians.items():
            spread = f"{min(self.rates[name]):.0f} to {max(self.rates[name]):.0f}"
            records = rate * 1e6 / (VALUE_BYTES + 9) / 1e6
            print(f"{name:22} {rate:7.0f} MB/s  {records:6.2f} M records/s  ({spread})")
        ratios = {}
        for direction, verb in (("up", "produce"), ("down", "consume")):
            bare = max(medians[f"bare {kind} {direction}"] for kind in ("sync", "aio"))
            for durability in ("page_cache", "fsync"):
                name = f"{durability} {verb}"
                ratios[name] = medians[name] / bare
                print(f"{name:22} {ratios[name]:.2f} of the bare stream (target {TARGET})")
        return ratios


def main(arguments: list[str] | None = None) -> int:
    """0 if every ratio with durability=page_cache reaches the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args(arguments)
    run = Run(options.mebibytes)
    bare = "benchmarks.macro.grpc_bare"
    with (
        tempfile.TemporaryDirectory(prefix="logstore-bench-") as directory,
        server("-m", bare, "sync") as sync,
        server("-m", bare, "aio") as aio,
        server("-m", "logstore_server", "serve", directory, "--port", "0", "--no-kafka") as address,
    ):
        store = connect_store(address)
        for number in range(options.repeats + 1):
            run.repeat(number, {"sync": sync, "aio": aio}, store)
            if number == 0:  # connections, windows and the memory of the machine are warm now
                run.rates.clear()
        store.close()
    ratios = run.report()
    return int(min(ratios["page_cache produce"], ratios["page_cache consume"]) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
