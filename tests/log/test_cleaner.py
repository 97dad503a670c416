from __future__ import annotations

import errno
import threading
from collections.abc import Generator

import pytest

from logstore.api import TopicSpec
from logstore.config import StoreConfig
from logstore.errors import CorruptDataError
from logstore.log import Cleaner
from logstore.log.cleaner import STEP_BYTES
from logstore.log.format import CLEANED_FILE
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import ManualClock, MemoryFileSystem
from tests.log.compacted import SECRET, CompactedPartition

FIRST = f"{0:020d}.log"
COMPACTED = {
    "cleanup_policy": "compact",
    "segment_bytes": str(16 << 10),
    "min_cleanable_dirty_ratio": "0.1",
}


def dirty(segments: int, *, clean_segments: int = 0) -> CompactedPartition:
    partition = CompactedPartition()
    if clean_segments:
        for number in range(8 * clean_segments):
            partition.send((b"k%d" % number, bytes(2000)))
        partition.flusher.run_round()
        partition.clean()
    partition.fill(segments)
    return partition


def finish(cleaner: Cleaner) -> int:
    steps = 1
    while cleaner.step():
        steps += 1
    return steps


def test_the_dirtiest_partition_comes_first() -> None:
    some, all_ = dirty(1, clean_segments=3), dirty(2)
    not_compacted = CompactedPartition(cleanup_policy="delete")
    not_compacted.fill(3)
    cleaner = Cleaner(lambda: [not_compacted.log, some.log, all_.log], secret=SECRET)
    assert not cleaner.step(), "nothing is looked for unasked"
    cleaner.begin()
    while cleaner.cleaned == 0:
        cleaner.step()
    assert all_.log.cleaner.dirty_ratio() == 0
    finish(cleaner)
    assert some.log.cleaner.dirty_ratio() == 0
    assert cleaner.cleaned == 2
    assert not cleaner.is_busy
    assert len(not_compacted.records()) > 20


def test_a_step_reads_no_more_than_its_share() -> None:
    partition = CompactedPartition(segment_bytes=str(4 << 20))
    for number in range(110):
        partition.send((b"k%d" % (number % 7), bytes(100_000)))
    partition.flusher.run_round()
    cleaner = Cleaner(lambda: [partition.log], secret=SECRET)
    cleaner.begin()
    read_bytes_max = 0
    steps = 0
    while cleaner.is_busy:
        partition.fs.clear()
        cleaner.step()
        steps += 1
        reads = [call.detail for call in partition.fs.calls if call.name == "read"]
        read_bytes = sum(d[1] for d in reads if isinstance(d, tuple))
        read_bytes_max = max(read_bytes_max, read_bytes)
    # Batches and blocks in windows of a MiB, and what was written once more for its checksums.
    assert read_bytes_max <= 6 * STEP_BYTES
    assert steps >= 2 * (7 << 20) // STEP_BYTES


def test_a_cleaning_that_fails_does_not_hold_up_the_others() -> None:
    bad, good = dirty(2), dirty(1, clean_segments=3)
    bad.damage(FIRST, 100, b"\xff")
    cleaner = Cleaner(lambda: [bad.log, good.log], secret=SECRET)
    cleaner.begin()
    with pytest.raises(CorruptDataError):
        finish(cleaner)
    finish(cleaner)
    assert good.log.cleaner.dirty_ratio() == 0
    cleaner.begin()
    assert not cleaner.is_busy


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_cleaned_offset_that_cannot_be_read_holds_up_no_other_partition(error: int) -> None:
    bad, good = dirty(2, clean_segments=3), dirty(1)
    bad.close_and_open()
    cleaner = Cleaner(lambda: [bad.log, good.log], secret=SECRET)
    bad.memory.inject("open", error, path_contains=CLEANED_FILE)
    cleaner.begin()
    finish(cleaner)
    assert cleaner.cleaned == 1
    assert good.log.cleaner.dirty_ratio() == 0
    cleaner.begin()  # it can be read by now
    finish(cleaner)
    assert cleaner.cleaned == 2


def test_looking_again_does_not_begin_the_cleaning_that_runs_anew() -> None:
    partition = CompactedPartition(segment_bytes=str(1 << 20))
    for number in range(60):
        partition.send((b"k%d" % (number % 7), bytes(100_000)))
    partition.flusher.run_round()
    cleaner = Cleaner(lambda: [partition.log], secret=SECRET)
    steps = 0
    cleaner.begin()
    while cleaner.step():
        cleaner.begin()
        steps += 1
        assert steps < 50
    assert cleaner.cleaned == 1
    assert steps > 5


def test_a_bug_is_not_met_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = dirty(2), dirty(1, clean_segments=3)

    def fail(**_: bytes) -> Generator[int, None, None]:
        yield 1
        raise ZeroDivisionError

    monkeypatch.setattr(bad.log.cleaner, "clean", fail)
    cleaner = Cleaner(lambda: [bad.log, good.log], secret=SECRET)
    cleaner.begin()
    with pytest.raises(ZeroDivisionError):
        cleaner.step()
    finish(cleaner)
    assert good.log.cleaner.dirty_ratio() == 0
    assert cleaner.cleaned == 1


def test_after_close_nothing_is_done_and_nothing_is_left() -> None:
    partition = dirty(3)
    cleaner = Cleaner(lambda: [partition.log], secret=SECRET)
    cleaner.begin()
    steps = partition.log.cleaner.clean(secret=SECRET)
    while not partition.files(".cleaned"):
        next(steps)
    steps.close()
    assert partition.files(".cleaned") == []
    cleaner.close()
    cleaner.begin()
    assert not cleaner.step()
    assert partition.log.cleaner.dirty_ratio() == 1


# --- in a store ---------------------------------------------------------------------------------


def put(store: LocalLogStore, number: int, *, value: bytes = bytes(2000)) -> None:
    batch = encode_batch([value], [b"k%d" % (number % 3)], timestamps=number)
    pending = store.append("t", 0, batch)
    store.run_flush()
    pending.result(0)


def test_maintenance_compacts_a_part_at_a_time_and_is_due_again_at_once() -> None:
    clock = ManualClock()
    config = StoreConfig(retention_check_interval_ms=30_000)
    store = LocalLogStore.open("s", fs=MemoryFileSystem(), clock=clock, config=config)
    store.create_topic(TopicSpec("t", 1, COMPACTED | {"segment_bytes": str(1 << 20)}))
    for number in range(40):
        put(store, number, value=bytes(100_000))
    clock.advance(30)
    calls = 0
    while (due := store.next_deadline()) is not None and due <= clock.monotonic():
        store.tick()
        store.run_maintenance()
        calls += 1
        assert calls < 100
    assert calls > 4
    size = store.describe_topics(["t"])[0].partitions[0].size_bytes
    assert size < 1_500_000
    store.close()


def test_appends_go_on_while_a_step_is_cut_short_anywhere() -> None:
    """A step holds no lock of the partition: at each of its calls another thread can append."""
    partition = dirty(3)
    appended: list[int] = []
    blocked: list[str] = []

    def append() -> None:
        appended.append(partition.send((b"new", b"")))

    run = partition.fs.run

    def run_and_append(call, action):
        # The slot of the state file is written under the lock, as by each flush: 64 bytes, no sync.
        is_slot = call.path == "store/state"
        if threading.current_thread() is threading.main_thread() and not is_slot:
            thread = threading.Thread(target=append)
            thread.start()
            thread.join(10)
            if thread.is_alive():
                blocked.append(f"{call.name} {call.path}")
        return run(call, action)

    partition.fs.run = run_and_append  # type: ignore[method-assign]
    partition.clean()
    assert blocked == []
    assert len(appended) > 50
    assert sorted(appended) == list(range(appended[0], appended[0] + len(appended)))
