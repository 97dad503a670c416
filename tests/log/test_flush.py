from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from logstore.api import TopicSpec
from logstore.clock import SystemClock
from logstore.config import StoreConfig
from logstore.fs import RealFileSystem
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem, RecordingFileSystem
from tests.log.support import Partition


def batch(value: bytes = b"v") -> bytearray:
    return encode_batch([value], timestamps=1)


def test_a_driver_is_told_once_that_a_flush_is_wanted() -> None:
    partition = Partition()
    calls: list[str] = []
    partition.flusher.set_notify(lambda: calls.append("flush"))
    partition.flusher.set_on_deadline(lambda: calls.append("deadline"))
    partition.log.append(batch(), acks_all=False)
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


def test_waiting_threads_share_syncs(tmp_path: Path) -> None:
    """64 threads, a sync of 5 ms: far fewer syncs than appends, no thread left waiting."""
    slow = RecordingFileSystem(RealFileSystem(), sync_delay_s=0.005)
    store = LocalLogStore.open(str(tmp_path / "s"), fs=slow, clock=SystemClock())
    store.create_topic(TopicSpec("t"))
    slow.clear()
    rounds = 5

    def work() -> None:
        for _ in range(rounds):
            store.append("t", 0, batch()).result(30)

    threads = [threading.Thread(target=work) for _ in range(64)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - start
    appends = 64 * rounds
    syncs = sum(call.name == "sync" and call.path.endswith(".log") for call in slow.calls)
    assert syncs <= appends / 8
    assert took < appends * 0.005 / 4  # one after the other would take four times as long
    store.close()


def test_a_waiter_without_a_driver_leads_the_round_itself() -> None:
    store = LocalLogStore.open("store", fs=MemoryFileSystem(), new_id=uuid.uuid4)
    store.create_topic(TopicSpec("t"))
    assert store.append("t", 0, batch()).result(0.5).base_offset == 0
    store.close()
