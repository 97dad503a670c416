"""64 producers over gRPC that each wait for every append: durable beside the page cache.

`python -m benchmarks.macro.durable_stream [--appends 100] [--repeats 7]`

Each producer is a ProduceStream with one batch of one small record in flight; client and server
are processes of their own. Turns with durability=fsync and page_cache follow each other; the server
counts the syncs of its flush rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import uvloop

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.v1 import produce_service_pb2 as pb
from logstore.v1 import produce_service_pb2_grpc as pb_grpc
from logstore_server.app import serve
from logstore_server.config import RpcConfig, ServerConfig

PRODUCERS = 64
SYNCS_PER_APPEND_MAX = 1 / 8
RATE_MIN = 0.5
BATCH = bytes(encode_batch([b"v" * 100], timestamps=1))
TOPICS = ("page_cache", "fsync")


def serve_counted(directory: str) -> None:
    """A server that answers each line on its standard input with the syncs so far."""
    store = LocalLogStore.open(directory)
    for topic in TOPICS:
        store.create_topic(TopicSpec(topic, 1, {"durability": topic}))

    def answer(addresses: dict[str, str]) -> None:
        print(addresses["grpc"], flush=True)

        def count() -> None:
            for _ in sys.stdin:
                print(store._flusher.syncs, flush=True)
            os._exit(0)  # the client has gone; what it was told is on disk

        threading.Thread(target=count, daemon=True).start()

    config = ServerConfig(data_dir=directory, rpc=RpcConfig(port=0))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config, store, ready=answer, stop=asyncio.Event()))


class Server:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def syncs(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._line())


@contextmanager
def counted_server(directory: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarks.macro.durable_stream", "--serve", directory]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Server(process)


async def rate(address: str, topic: str, appends: int) -> float:
    """Acknowledged appends a second."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = pb_grpc.ProduceServiceStub(channel)
        requests = [
            pb.ProduceStreamRequest(
                batches=[pb.ProduceStreamBatch(correlation_id=number, topic=topic, batch=BATCH)]
            )
            for number in range(appends)
        ]

        async def produce() -> None:
            stream = stub.ProduceStream()
            for request in requests:
                await stream.write(request)
                answer = await stream.read()
                if answer.results[0].HasField("error"):
                    raise RuntimeError(str(answer.results[0].error))
            await stream.done_writing()

        await asyncio.gather(*(produce() for _ in range(4)))  # the connection is there
        start = time.perf_counter()
        await asyncio.gather(*(produce() for _ in range(PRODUCERS)))
        return PRODUCERS * appends / (time.perf_counter() - start)


def main(arguments: list[str] | None = None) -> int:
    """0 if both limits are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--appends", type=int, default=100, help="of each producer, in each turn")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve_counted(options.serve)
        return 0
    rates: dict[str, list[float]] = {topic: [] for topic in TOPICS}
    syncs = 0
    with (
        tempfile.TemporaryDirectory(prefix="logstore-bench-") as directory,
        counted_server(directory + "/store") as server,
    ):
        for _ in range(options.repeats):
            for topic in TOPICS:
                before = server.syncs()
                rates[topic].append(asyncio.run(rate(server.address, topic, options.appends)))
                if topic == "fsync":
                    syncs += server.syncs() - before
    acknowledged = options.repeats * (PRODUCERS + 4) * options.appends
    page_cache, durable = (statistics.median(rates[topic]) for topic in TOPICS)
    pairs = zip(rates["fsync"], rates["page_cache"], strict=True)
    ratio = statistics.median(fsync / cached for fsync, cached in pairs)
    print(
        f"{PRODUCERS} streams, one small batch in flight each: {durable:,.0f} durable appends/s, "
        f"page cache {page_cache:,.0f}/s, ratio {ratio:.2f} (median of {options.repeats}; limit "
        f"{RATE_MIN}); one sync per {acknowledged / max(1, syncs):.1f} appends (limit "
        f"{1 / SYNCS_PER_APPEND_MAX:.0f})"
    )
    return int(ratio < RATE_MIN or syncs > acknowledged * SYNCS_PER_APPEND_MAX)


if __name__ == "__main__":
    sys.exit(main())
