from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from logstore.api import TopicSpec
from logstore.clock import SystemClock
from logstore.config import StoreConfig
from logstore.errors import LogStoreError
from logstore.log import Flush
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem, RecordingFileSystem
from logstore.testing.recording_fs import Call
from tests.log.support import Partition


def batch(value: bytes = b"v") -> bytearray:
    return encode_batch([value], timestamps=1)


def test_a_driver_is_told_once_that_a_flush_is_wanted() -> None:
    partition = Partition()
    calls: list[str] = []
    partition.flusher.set_notify(lambda: calls.append("flush"))
    partition.flusher.set_on_deadline(lambda: calls.append("deadline"))
    partition.log.append(batch(), flush=Flush.LATER)
    assert calls == ["deadline"]
    assert not partition.flusher.wanted()
    partition.clock.advance(0.1)
    assert partition.flusher.wanted()
    partition.append(b"a")
    partition.append(b"b")
    assert calls == ["deadline", "flush"]
    assert partition.flusher.run_round() == 1
    assert partition.flusher.run_round() == 0
    assert partition.flusher.next_deadline() is None


def test_a_driver_that_looks_in_time_is_not_told_of_every_append() -> None:
    partition = Partition()
    calls: list[float] = []
    partition.flusher.set_on_deadline(lambda: calls.append(partition.clock.monotonic()))
    assert partition.flusher.next_look() is None
    look: float | None = None
    for _ in range(5):  # each is flushed by whoever waits for it
        partition.log.append(batch(), flush=Flush.LED)
        assert partition.flusher.run_round() == 1
        look = partition.flusher.next_look()
    assert look is not None
    assert len(calls) == 1
    partition.clock.advance(look - partition.clock.monotonic())
    partition.log.append(batch(), flush=Flush.LED)  # the driver has not looked yet, but will now
    assert len(calls) == 1
    looked = partition.flusher.next_look()
    assert looked == partition.flusher.next_deadline() == pytest.approx(look + 0.1)
    partition.flusher.run_round()
    partition.clock.advance(0.1)
    assert partition.flusher.next_look() is None, "nothing came since"
    partition.log.append(batch(), flush=Flush.LED)
    assert len(calls) == 2


def test_a_sooner_deadline_is_told_though_a_later_one_was() -> None:
    partition, calls = Partition(), []
    partition.flusher.set_on_deadline(lambda: calls.append("deadline"))
    for within_ms in (100, 200, 50):
        partition.flusher.mark_dirty(partition.log._writer, urgent=False, within_ms=within_ms)
    assert calls == ["deadline"] * 2
    assert partition.flusher.next_look() == pytest.approx(partition.clock.monotonic() + 0.05)


def test_many_dirty_partitions_are_synced_by_one_call() -> None:
    recording = RecordingFileSystem(MemoryFileSystem())
    store = LocalLogStore.open("store", fs=recording, config=StoreConfig(syncfs_threshold=16))
    store.create_topic(TopicSpec("t", 100))
    for _ in range(2):  # the first syncfs of a store proves nothing: see flush.py
        pending = [store.append("t", number, batch()) for number in range(100)]
        recording.clear()
        store.run_flush()
        assert all(item.done for item in pending)
    syncs = [call.name for call in recording.calls if call.name.startswith("sync")]
    assert syncs == ["sync_file_system"]
    store.close()


def test_an_error_of_one_file_is_not_the_others(tmp_path: Path) -> None:
    memory = MemoryFileSystem()
    with ThreadPoolExecutor(4) as executor:
        config = StoreConfig(syncfs_threshold=16)
        store = LocalLogStore.open("store", fs=memory, executor=executor, config=config)
        store.create_topic(TopicSpec("t", 3))
        memory.inject("sync", path_contains="t-1/")
        pending = [store.append("t", number, batch()) for number in range(3)]
        store.run_flush()
        assert [item.error is None for item in pending] == [True, False, True]
        store.close()


def test_a_failed_syncfs_fails_only_the_files_that_failed() -> None:
    memory = MemoryFileSystem()
    store = LocalLogStore.open("store", fs=memory, config=StoreConfig(syncfs_threshold=2))
    store.create_topic(TopicSpec("t", 4))
    memory.inject("write_back", path_contains="t-2/")
    pending = [store.append("t", number, batch()) for number in range(4)]
    store.run_flush()
    assert [item.error is None for item in pending] == [True, True, False, True]
    assert memory.statistics["write_back EIO"] == 1
    assert memory.statistics["sync_reported"] == 1  # by the file, after the syncfs
    store.close()


class Gate(RecordingFileSystem):
    """A sync of the log takes until every thread has an append that is not served."""

    def __init__(self, threads: int, appends: int) -> None:
        super().__init__(MemoryFileSystem())
        self.store: LocalLogStore | None = None
        self._threads = threads
        self._appends = appends
        self._appended = 0
        self._changed = threading.Condition()

    def appended(self) -> None:
        with self._changed:
            self._appended += 1
            self._changed.notify_all()

    def run_sync(self, call: Call, action: Callable[[], None]) -> None:
        if self.store is not None and call.name == "sync" and call.path.endswith(".log"):
            (topic,) = self.store.describe_topics(["t"])
            wanted = min(topic.partitions[0].high_watermark + self._threads, self._appends)
            with self._changed:
                assert self._changed.wait_for(lambda: self._appended >= wanted, 60)
        super().run_sync(call, action)


def test_waiting_threads_share_syncs() -> None:
    """While a sync takes, 64 threads append; the next one serves all that the first does not. So
    they need two for each 64 appends, and no thread is left waiting."""
    threads, appends = 64, 64 * 5
    gate = Gate(threads, appends)
    store = LocalLogStore.open("store", fs=gate, clock=SystemClock(), new_id=uuid.uuid4)
    store.create_topic(TopicSpec("t"))
    gate.clear()
    gate.store = store

    def work(_: int) -> None:
        for _ in range(appends // threads):
            pending = store.append("t", 0, batch())
            gate.appended()
            pending.result(60)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))  # raises what a thread raised
    gate.store = None
    assert 0 < gate.names_for(".log").count("sync") <= 2 * appends // threads
    store.close()


def test_a_waiter_without_a_driver_leads_the_round_itself() -> None:
    store = LocalLogStore.open("store", fs=MemoryFileSystem(), new_id=uuid.uuid4)
    store.create_topic(TopicSpec("t"))
    assert store.append("t", 0, batch()).result(0.5).base_offset == 0
    store.close()


def test_a_waiter_that_raises_costs_no_snapshot() -> None:
    part = Partition(segment_bytes=str(16 << 10))
    for sequence in range(8):
        part.append(bytes(3000), producer_id=9, producer_epoch=0, base_sequence=sequence)

    def explode(_: LogStoreError | None) -> None:
        raise RuntimeError("a bug")

    part.log.on_high_watermark(8, explode)
    with pytest.raises(RuntimeError):
        part.flusher.run_round()
    assert part.log.segment_count == 2
    assert len(part.files(".snapshot")) == 1
