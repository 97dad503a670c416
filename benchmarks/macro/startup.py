"""How long a server takes to its first answer on an empty directory, and what it holds when idle.

The time runs from the start of the process to the answer of a client that is connected already
and tries again every few milliseconds: the interpreter and all imports are in it.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc

from logstore.v1 import store_service_pb2 as pb
from logstore.v1 import store_service_pb2_grpc as pb_grpc

STARTS = 7
IDLE_SECONDS = 2.0
SECONDS_MAX = 0.5
MEGABYTES_MAX = 80


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def first_answer(port: int) -> None:
    """Ask until a server answers."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.002)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.StoreServiceStub(channel)
        stub.DescribeStore(pb.DescribeStoreRequest(), wait_for_ready=True, timeout=10)


def resident_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def one_start() -> tuple[float, float]:
    """(seconds to the first answer, megabytes when idle)."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "logstore_server",
                "serve",
                directory,
                "--port",
                str(port),
                "--kafka-port",
                "0",
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            first_answer(port)
            took = time.perf_counter() - start
            time.sleep(IDLE_SECONDS)
            return took, resident_megabytes(server.pid)
        finally:
            server.terminate()
            server.wait(30)


def main() -> int:
    runs = [one_start() for _ in range(STARTS)]
    seconds = statistics.median(took for took, _ in runs)
    megabytes = statistics.median(held for _, held in runs)
    print(
        f"server: {seconds:.2f} s from start to first answer, {megabytes:.0f} MB when idle "
        f"(medians of {STARTS}; limits {SECONDS_MAX} s, {MEGABYTES_MAX} MB)"
    )
    return 0 if seconds <= SECONDS_MAX and megabytes <= MEGABYTES_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
