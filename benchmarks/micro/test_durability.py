"""What durability costs: one append beside a bare sync, many producers beside the page cache.

The store is driven by a thread, as logstore.open() does. Turns of what is compared follow each
other; bounds are on medians of one run.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from logstore.api import TopicSpec
from logstore.client.driver import DriverThread
from logstore.clock import SystemClock
from logstore.fs import FileSystem, RealFileSystem
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import RecordingFileSystem

BATCH = bytes(encode_batch([b"v" * 100], timestamps=1))
PRODUCERS = 64
TURNS = 7
LONE_APPENDS = 2_000
COST_MAX = 1.5  # of a lone durable append, in bare pwrite + fdatasync
SYNCS_PER_APPEND_MAX = 1 / 8
RATE_MIN = 0.5  # of many durable producers, in the page cache's
SLOW_SYNC_SECONDS = 0.005
SLOW_GAIN_MIN = 10  # of 64 producers over one, where a sync takes that long


@contextmanager
def driven_store(path: Path, fs: FileSystem | None = None) -> Iterator[LocalLogStore]:
    clock = SystemClock()
    store = LocalLogStore.open(str(path), fs=fs or RealFileSystem(), clock=clock)
    for durability in ("fsync", "page_cache"):
        store.create_topic(TopicSpec(durability, 1, {"durability": durability}))
    driver = DriverThread(store, clock)
    yield store
    driver.stop()
    store.close()


def append(store: LocalLogStore, topic: str = "fsync") -> None:
    store.append(topic, 0, BATCH).result(60)


def rate(store: LocalLogStore, topic: str, producers: int, appends: int) -> float:
    """Acknowledged appends a second of threads that each wait for every one of theirs."""
    ready = threading.Barrier(producers + 1)

    def produce() -> None:
        ready.wait()
        for _ in range(appends):
            append(store, topic)

    threads = [threading.Thread(target=produce) for _ in range(producers)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return producers * appends / (time.perf_counter() - start)


def test_a_lone_append_beside_a_bare_sync(tmp_path: Path) -> None:
    """Both write the same bytes into preallocated space, turn by turn."""
    fd = os.open(tmp_path / "bare", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, 1 << 20)
    bare, engine = [], []
    with driven_store(tmp_path / "store") as store:
        for turn in range(LONE_APPENDS):
            start = time.perf_counter()
            os.pwrite(fd, BATCH, turn * len(BATCH))
            os.fdatasync(fd)
            middle = time.perf_counter()
            append(store)
            bare.append(middle - start)
            engine.append(time.perf_counter() - middle)
    os.close(fd)
    cost = statistics.median(engine) / statistics.median(bare)
    print(
        f"\na durable append of {len(BATCH)} bytes: {statistics.median(engine) * 1e6:.0f} us, bare "
        f"pwrite + fdatasync {statistics.median(bare) * 1e6:.0f} us: {cost:.2f} times "
        f"(medians of {LONE_APPENDS}; limit {COST_MAX})"
    )
    assert cost <= COST_MAX


def test_many_producers_share_syncs(tmp_path: Path) -> None:
    appends = 200
    rates: dict[str, list[float]] = {"page_cache": [], "fsync": []}
    with driven_store(tmp_path / "store") as store:
        for topic in rates:
            rate(store, topic, PRODUCERS, appends // 4)  # warm
        syncs = 0
        for _ in range(TURNS):
            rates["page_cache"].append(rate(store, "page_cache", PRODUCERS, 3 * appends))
            store.run_flush()
            before = store._flusher.syncs
            rates["fsync"].append(rate(store, "fsync", PRODUCERS, appends))
            syncs += store._flusher.syncs - before
    page_cache, durable = (statistics.median(rates[name]) for name in ("page_cache", "fsync"))
    acknowledged = TURNS * PRODUCERS * appends
    pairs = zip(rates["fsync"], rates["page_cache"], strict=True)
    ratio = statistics.median(durable / cached for durable, cached in pairs)
    print(
        f"\n{PRODUCERS} threads: {durable:,.0f} durable appends/s, page cache {page_cache:,.0f}/s, "
        f"ratio {ratio:.2f} (median of {TURNS}; limit {RATE_MIN}); one sync per "
        f"{acknowledged / syncs:.1f} appends (limit {1 / SYNCS_PER_APPEND_MAX:.0f})"
    )
    assert syncs <= acknowledged * SYNCS_PER_APPEND_MAX
    assert ratio >= RATE_MIN


def test_many_producers_where_a_sync_is_slow(tmp_path: Path) -> None:
    slow = RecordingFileSystem(RealFileSystem(), sync_delay_s=SLOW_SYNC_SECONDS)
    with driven_store(tmp_path / "store", slow) as store:
        alone, many = [], []
        for _ in range(3):
            alone.append(rate(store, "fsync", 1, 60))
            many.append(rate(store, "fsync", PRODUCERS, 40))
    gain = statistics.median(many) / statistics.median(alone)
    print(
        f"\na sync of {SLOW_SYNC_SECONDS * 1e3:.0f} ms: {statistics.median(alone):.0f} appends/s "
        f"of one thread, {statistics.median(many):,.0f} of {PRODUCERS}: {gain:.1f} times "
        f"(limit {SLOW_GAIN_MIN})"
    )
    assert gain >= SLOW_GAIN_MIN
