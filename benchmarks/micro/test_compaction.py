"""Compaction: how fast it is, and what appends of another topic notice of it, in one run.

Prints records and bytes a second of one cleaning, then the median and the 99th percentile of the
time of an append without and beside cleanings in a second thread, as `logstore.open` runs them.
"""

from __future__ import annotations

import statistics
import threading
import time
from pathlib import Path

from logstore.api import TopicSpec
from logstore.client.driver import MAINTENANCE_SHARE
from logstore.log.cleaner import STEP_BYTES
from logstore.record import encode_batch
from logstore.store import LocalLogStore

BATCHES = 300
RECORDS = 1000  # of a batch, 100 bytes each
KEYS = 100_000
APPEND_SECONDS = 2.0
COMPACTED = {"cleanup_policy": "compact", "segment_bytes": str(16 << 20)}


def fill(store: LocalLogStore, topic: str) -> int:
    """Bytes that were appended."""
    store.create_topic(TopicSpec(topic, 1, COMPACTED | {"durability": "page_cache"}))
    number = size = 0
    for _ in range(BATCHES):
        keys: list[bytes | None] = []
        for _ in range(RECORDS):
            keys.append(b"key-%d" % (number * 7919 % KEYS))
            number += 1
        batch = encode_batch([b"v" * 100] * RECORDS, keys, timestamps=1)
        store.append(topic, 0, batch)
        size += len(batch)
    store.run_flush()
    return size


def append_times(store: LocalLogStore) -> tuple[float, float]:
    """(median, 99th percentile) of a small append, us."""
    batch = encode_batch([b"v" * 100], timestamps=1)
    times = []
    end = time.perf_counter() + APPEND_SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        store.append("other", 0, batch)
        times.append(time.perf_counter() - start)
    cuts = statistics.quantiles(times, n=100)
    return cuts[49] * 1e6, cuts[98] * 1e6


def test_compaction(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path / "store"))
    store.create_topic(TopicSpec("other", 1, {"durability": "page_cache"}))
    size = fill(store, "first")
    log = store._table.log("first", 0)
    start, cpu = time.perf_counter(), time.process_time()
    for _ in log.cleaner.clean(secret=b"secret"):
        pass
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert log.size_bytes < size * 0.7
    print(
        f"\n{BATCHES * RECORDS / took / 1e3:.0f} k records/s, {size / took / 1e6:.1f} MB/s; "
        f"{BATCHES * RECORDS / cpu / 1e3:.0f} k records for a second of processor time"
    )

    fill(store, "second")
    alone = append_times(store)
    log = store._table.log("second", 0)
    done = threading.Event()

    def maintain() -> None:
        steps = log.cleaner.clean(secret=b"secret")
        while not done.is_set():
            began = time.perf_counter()
            room = STEP_BYTES
            while room > 0:
                handled = next(steps, None)
                if handled is None:  # the same again: nothing is dirty, all is read
                    steps = log.cleaner.clean(secret=b"secret")
                room -= handled or 0
            done.wait((time.perf_counter() - began) * (1 / MAINTENANCE_SHARE - 1))

    thread = threading.Thread(target=maintain)
    thread.start()
    beside = append_times(store)
    done.set()
    thread.join()
    print(
        f"append alone {alone[0]:.0f} us, 99% within {alone[1]:.0f} us; beside a cleaning "
        f"{beside[0]:.0f} us, 99% within {beside[1]:.0f} us"
    )
    store.close()
