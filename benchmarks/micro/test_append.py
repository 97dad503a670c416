"""The engine's append path beside a bare pwrite of the same bytes, in turn, in one run.

Prints medians of the ratios: 1.0 is the speed of pwrite itself. The target for 1 MiB batches of
100-byte records with durability=page_cache is 0.6.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest

from logstore.api import TopicSpec
from logstore.config import StoreConfig
from logstore.fs import RealFileSystem
from logstore.record import encode_batch
from logstore.store import LocalLogStore

BATCH_BYTES = 1 << 20
BATCHES = 128  # in one go: 128 MiB, within a segment
TURNS = 7


def batch_of(value_bytes: int) -> bytes:
    count = BATCH_BYTES // (value_bytes + 10)
    return bytes(encode_batch([b"v" * value_bytes] * count, timestamps=1))


def pwrite_all(path: Path, batch: bytes) -> float:
    """Into preallocated space, as the engine does; the time of the writes alone."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, len(batch) * BATCHES)
    view = memoryview(batch)

    position = 0
    start = time.perf_counter()
    for _ in range(BATCHES):
        position += os.pwritev(fd, [view[:16], view[16:]], position)
    took = time.perf_counter() - start
    os.close(fd)
    path.unlink()
    return took


def fresh_topic(store: LocalLogStore, turn: str) -> str:
    store.create_topic(TopicSpec(turn, 1, {"durability": "page_cache"}))
    return turn


def engine_all(store: LocalLogStore, topic: str, batch: bytes) -> None:
    for _ in range(BATCHES):
        store.append(topic, 0, batch)


def engine_unchecked(store: LocalLogStore, topic: str, batch: bytes) -> None:
    log = store._table.log(topic, 0)
    for _ in range(BATCHES):
        log.append(batch, validated=True)


@pytest.mark.parametrize("value_bytes", [100, 1000])
def test_append_beside_a_bare_pwrite(tmp_path: Path, value_bytes: int) -> None:
    batch = batch_of(value_bytes)
    store = LocalLogStore.open(str(tmp_path / "store"))
    ratios: list[float] = []
    bare: list[float] = []
    engine: list[float] = []
    unchecked: list[float] = []
    for turn in range(TURNS):
        bare.append(pwrite_all(tmp_path / "bare", batch))
        for times, work in ((engine, engine_all), (unchecked, engine_unchecked)):
            topic = fresh_topic(store, f"t{turn}")
            start = time.perf_counter()
            work(store, topic, batch)
            times.append(time.perf_counter() - start)
            store.delete_topic(topic)
        ratios.append(bare[-1] / engine[-1])
    store.close()
    size = len(batch) * BATCHES / 1e9
    ratio = statistics.median(ratios)
    print(
        f"\nappend of 1 MiB batches, {value_bytes}-byte values, page_cache, GB/s: "
        f"pwrite {size / statistics.median(bare):.2f}, "
        f"engine {size / statistics.median(engine):.2f}, "
        f"engine without checking {size / statistics.median(unchecked):.2f}; "
        f"engine / pwrite, median of {TURNS}: {ratio:.2f}"
    )
    assert ratio >= 0.6


def bare_sync(directory: Path, count: int, batch: bytes) -> float:
    """Seconds to make one write into each of `count` files durable; without the writes. By a sync
    of each file or by one of the file system, whichever is faster."""
    directory.mkdir()
    fds = [os.open(directory / str(number), os.O_RDWR | os.O_CREAT) for number in range(count)]
    for fd in fds:
        os.posix_fallocate(fd, 0, 1 << 16)

    def sync_each() -> None:
        for fd in fds:
            os.fdatasync(fd)

    def sync_all() -> None:
        RealFileSystem().sync_file_system(str(directory))

    medians = []
    for sync in (sync_each, sync_all):
        times = []
        for turn in range(9):
            for fd in fds:
                os.pwrite(fd, batch, turn * len(batch))
            start = time.perf_counter()
            sync()
            times.append(time.perf_counter() - start)
        medians.append(statistics.median(times))
    for fd in fds:
        os.close(fd)
    return min(medians)


def test_latency_by_dirty_partitions(tmp_path: Path) -> None:
    """An acknowledged append while 1 to 1,000 partitions have something to sync, beside the bare
    sync of as many files: what grows is the file system's part."""
    batch = bytes(encode_batch([b"v" * 100], timestamps=1))
    config = StoreConfig(open_segments_max=2000)
    store = LocalLogStore.open(str(tmp_path / "store"), config=config)
    store.create_topic(TopicSpec("t", 1000))
    engine, bare = {}, {}
    for dirty in (1, 10, 100, 1000):
        times = []
        for _ in range(9):
            pending = [store.append("t", number, batch) for number in range(dirty)]
            start = time.perf_counter()
            pending[-1].result(30)
            times.append(time.perf_counter() - start)
            assert all(item.done for item in pending)
        engine[dirty] = statistics.median(times)
        bare[dirty] = bare_sync(tmp_path / f"bare-{dirty}", dirty, batch)
    store.close()
    print(
        "\nacknowledged append, ms (and times a bare sync of as many files), by dirty partitions: "
        + ", ".join(
            f"{dirty}: {took * 1000:.2f} ({took / bare[dirty]:.1f})"
            for dirty, took in engine.items()
        )
        + f"; for 1,000 of them {engine[1000] / engine[1]:.0f} times that for one"
    )
    assert all(took < 4 * bare[dirty] for dirty, took in engine.items())
    assert engine[100] < 30 * engine[1]
