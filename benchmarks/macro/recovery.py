"""How long a large store takes to open after SIGKILL during appends, and after a clean close.

`python -m benchmarks.macro.recovery [--gigabytes 5] [--partitions 4]`

A process fills the store through the engine and goes on appending until it is killed; a fresh
process then opens it and says how long `LocalLogStore.open` took and what it had to look at. The
same once more after a clean close. The files are in the page cache, as after a real kill.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore.store import LocalLogStore

GIGABYTE = 10**9
UNCLEAN_SECONDS_MAX = 2.0
CLEAN_SECONDS_MAX = 0.5
RECORDS = 1000  # of 1,000 bytes in a batch
ROOM_FACTOR = 1.3  # of free disk, in bytes of the store
GOES_ON_SECONDS = 1.0  # of appends beside the kill
TOPIC = "t"


def batch() -> bytes:
    return bytes(encode_batch([b"v" * 1000] * RECORDS, timestamps=1_700_000_000_000))


def fill(path: str, gigabytes: float, partitions: int) -> None:
    """Make the store, then append (durable, acknowledged) until the end of this process."""
    store = LocalLogStore.open(path)
    store.create_topic(TopicSpec(TOPIC, partitions))
    data = batch()
    for number in range(int(gigabytes * GIGABYTE / len(data))):
        pending = store.append(TOPIC, number % partitions, data)
        if number % 64 == 0:
            pending.result(60)
    store.run_flush()
    print("full", flush=True)
    small = bytes(encode_batch([b"v" * 100], timestamps=1))
    number = 0
    while True:
        number += 1
        store.append(TOPIC, number % partitions, small if number % 8 else data)
        if number % 16 == 0:
            store.run_flush()


def open_once(path: str) -> None:
    """Open, check, close cleanly; the figures as JSON."""
    start = time.perf_counter()
    store = LocalLogStore.open(path)
    took = time.perf_counter() - start
    (topic,) = store.describe_topics([TOPIC])
    logs = [store._table.log(TOPIC, item.partition) for item in topic.partitions]
    figures = {
        "seconds": took,
        "bytes": sum(item.size_bytes for item in topic.partitions),
        "records": sum(item.high_watermark for item in topic.partitions),
        "scanned": sum(log.recovery_report.bytes_scanned for log in logs),
        "unclean": any(log.recovery_report.was_unclean for log in logs),
    }
    store.append(TOPIC, 0, batch()).result(60)
    store.close()
    print(json.dumps(figures))


def child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.macro.recovery", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def opened(path: str) -> dict[str, float]:
    process = child("--open", path)
    text, _ = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"opening failed with {process.returncode}")
    figures: dict[str, float] = json.loads(text)
    return figures


def kill_while_appending(path: str, gigabytes: float, partitions: int) -> None:
    process = child("--fill", path, "--gigabytes", str(gigabytes), "--partitions", str(partitions))
    assert process.stdout is not None
    if process.stdout.readline().strip() != "full":
        raise RuntimeError("the store could not be filled")
    time.sleep(GOES_ON_SECONDS)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.stdout.close()


def report(what: str, figures: dict[str, float], limit: float) -> int:
    print(
        f"{what}: {figures['seconds']:.3f} s to open {figures['bytes'] / GIGABYTE:.2f} GB "
        f"({figures['records']:,.0f} records); {figures['scanned'] / 1e6:.1f} MB looked at "
        f"(limit {limit} s)",
        flush=True,
    )
    return int(figures["seconds"] > limit)


def main(arguments: list[str] | None = None) -> int:
    """0 if both openings keep their limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--directory", help="on the file system to measure", default=None)
    parser.add_argument("--fill", help=argparse.SUPPRESS)
    parser.add_argument("--open", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.fill:
        fill(options.fill, options.gigabytes, options.partitions)
    if options.open:
        open_once(options.open)
        return 0
    with tempfile.TemporaryDirectory(prefix="logstore-bench-", dir=options.directory) as directory:
        gigabytes = options.gigabytes
        room = shutil.disk_usage(directory).free / ROOM_FACTOR / GIGABYTE
        if room < gigabytes:
            gigabytes = room / 2
            print(f"only {room:.1f} GB of disk may be used: the store has {gigabytes:.1f} GB")
        path = str(Path(directory) / "store")
        kill_while_appending(path, gigabytes, options.partitions)
        unclean = opened(path)
        clean = opened(path)
    status = report("after SIGKILL", unclean, UNCLEAN_SECONDS_MAX)
    status |= report("after a clean close", clean, CLEAN_SECONDS_MAX)
    if not unclean["unclean"] or clean["unclean"]:
        print("the first opening must find an unclean end, the second a clean one")
        status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
