"""A transaction over three partitions and the offsets of a group, with the machine stopped at every
call to the file system: whatever survives, all of it counts or none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from logstore.api import (
    FetchedPartition,
    OffsetToCommit,
    ProducerIdentity,
    TopicPartition,
    TopicSpec,
)
from logstore.errors import LogStoreError, ProducerFencedError
from logstore.record import decode_records, encode_batch, iter_batches, parse_header
from logstore.store import LocalLogStore
from logstore.testing import MachineStoppedError, ManualClock, MemoryFileSystem

PARTS = (("a", 0), ("a", 1), ("b", 0))
LIMIT = 1 << 20
Crash = Callable[[MemoryFileSystem], None]


def open_store(fs: MemoryFileSystem) -> LocalLogStore:
    return LocalLogStore.open("store", fs=fs, clock=ManualClock())


def put(
    store: LocalLogStore, part: tuple[str, int], producer: ProducerIdentity, value: bytes, at: int
) -> None:
    batch = encode_batch(
        [value],
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        base_sequence=at,
        is_transactional=True,
    )
    store.append(*part, batch).result(5)


def values(items: list[FetchedPartition]) -> list[bytes | None]:
    return [
        record.value
        for item in items
        for batch in iter_batches(item.data)
        if not parse_header(batch).is_control
        for record in decode_records(batch, decompressed_bytes_max=LIMIT)
    ]


def read(
    store: LocalLogStore, part: tuple[str, int], *, read_committed: bool = True
) -> list[bytes | None]:
    reader = store.open_reader(
        bytes_max=LIMIT, partition_bytes_max=LIMIT, read_committed=read_committed
    )
    reader.set_position(*part, 0)
    found: list[bytes | None] = []
    while items := reader.poll(0):
        found += values(items)
    reader.close()
    return found


def seen(store: LocalLogStore) -> list[bool]:
    """Of each thing that the transaction did, whether it counts."""
    offsets = store.committed_offsets("g", [TopicPartition("a", 0)])
    return [*(b"x" in read(store, part) for part in PARTS), offsets[0].offset == 1]


class Scenario:
    """One transaction before the one that is watched, so that there is something to lose."""

    def __init__(self, fs: MemoryFileSystem) -> None:
        self.fs = fs
        store = open_store(fs)
        store.create_topic(TopicSpec("a", 2))
        store.create_topic(TopicSpec("b", 1, {"durability": "page_cache"}))
        self.producer = store.init_producer("t")
        for part in PARTS:
            put(store, part, self.producer, b"before", 0)
        self.producer = store.end_transaction("t", self.producer, commit=True)
        store.close()
        self.is_asked = self.is_answered = False

    def run(self, store: LocalLogStore, *, commit: bool) -> None:
        """The partition that is not synced at once is the last: nobody else's sync is its own."""
        offset = OffsetToCommit("a", 0, 1)
        store.commit_offsets_in_transaction("t", self.producer, "g", [offset])
        for part in PARTS:
            put(store, part, self.producer, b"x", 0)
        self.is_asked = True
        self.following = store.end_transaction("t", self.producer, commit=commit)
        self.is_answered = True

    def check(self, *, commit: bool) -> None:
        store = open_store(self.fs)
        for part in PARTS:
            assert b"before" in read(store, part)
        if not self.is_asked:
            self.producer = store.init_producer("t")
        try:  # an open transaction outlives a killed server; its producer asks again
            self.producer = store.end_transaction("t", self.producer, commit=commit)
        except LogStoreError:
            self.producer = store.init_producer("t")
        counts = seen(store)
        assert all(counts) or not any(counts), counts
        assert self.is_asked or not any(counts)
        if self.is_answered:
            assert counts == [commit] * 4
        for part in PARTS:  # nothing is left open, and the producer can go on
            put(store, part, self.producer, b"after", 0)
        self.producer = store.end_transaction("t", self.producer, commit=True)
        for part in PARTS:
            assert read(store, part)[-1] == b"after"
            log = store._table.log(*part)
            assert log.last_stable_offset == log.log_end_offset
        assert seen(store) == counts  # what was decided, or lost, is not changed by the next one
        store.close()


def stopped_somewhere(
    seed: int, calls: int, crash: Crash, *, commit: bool, while_opening: bool
) -> bool:
    """Whether the machine was stopped before the scenario was through."""
    fs = MemoryFileSystem(seed)
    scenario = Scenario(fs)
    store = None if while_opening else open_store(fs)
    fs.stop_after(calls)
    try:
        if store is None:
            store = open_store(fs)
        scenario.run(store, commit=commit)
        was_stopped = False
    except MachineStoppedError:
        was_stopped = True
    crash(fs)
    scenario.check(commit=commit)
    return was_stopped


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("crash", [MemoryFileSystem.kill, MemoryFileSystem.power_loss])
def test_stopped_at_every_call(crash: Crash, commit: bool) -> None:
    for calls in count():
        if not stopped_somewhere(calls, calls, crash, commit=commit, while_opening=False):
            break
    assert calls > 20


@pytest.mark.parametrize("seed", range(6))
def test_the_end_of_a_transaction_never_ends_the_next_one(seed: int) -> None:
    """After a power loss an end may have to be done again, when records of the next transaction
    are on disk already and the journal does not know of it."""
    for calls in count():
        fs = MemoryFileSystem(100 * seed + calls)
        scenario = Scenario(fs)
        store = open_store(fs)
        fs.stop_after(calls)
        try:
            scenario.run(store, commit=True)
            following = store.init_producer("t") if seed == 5 else scenario.following
            for part in PARTS:
                put(store, part, following, b"y", 0)
            was_stopped = False
        except MachineStoppedError:
            was_stopped = True
        fs.power_loss()
        store = open_store(fs)
        for part in PARTS:
            assert b"y" not in read(store, part)
            log = store._table.log(*part)
            assert log.last_stable_offset == log.log_end_offset
        assert not scenario.is_answered or seen(store) == [True] * 4
        store.close()
        if not was_stopped:
            break


@pytest.mark.parametrize("seed", range(8))
def test_who_was_told_of_what_a_power_loss_took_is_fenced(seed: int) -> None:
    """Otherwise the rest of the transaction would be committed without it."""
    fs = MemoryFileSystem(seed)
    scenario = Scenario(fs)
    store = open_store(fs)
    put(store, ("b", 0), scenario.producer, b"x", 0)  # durability=page_cache: answered at once
    fs.power_loss()
    store = open_store(fs)
    with pytest.raises(ProducerFencedError):
        put(store, ("a", 0), scenario.producer, b"x", 0)
    with pytest.raises(ProducerFencedError):
        store.end_transaction("t", scenario.producer, commit=True)
    assert not any(seen(store))


def test_stopped_again_while_it_recovers() -> None:
    """What was decided is completed by an opening; that may be stopped too."""
    for calls in count():
        fs = MemoryFileSystem(calls)
        scenario = Scenario(fs)
        store = open_store(fs)
        for part in PARTS:
            put(store, part, scenario.producer, b"x", 0)
        store.commit_offsets_in_transaction(
            "t", scenario.producer, "g", [OffsetToCommit("a", 0, 1)]
        )
        coordinator = store._transactions
        transaction = coordinator._by_id["t"]
        coordinator._decide(transaction, commit=True)
        fs.kill()
        fs.stop_after(calls)
        try:
            open_store(fs)
            was_stopped = False
        except MachineStoppedError:
            was_stopped = True
        fs.power_loss()
        store = open_store(fs)
        assert seen(store) == [True] * 4
        store.close()
        if not was_stopped:
            break
    assert calls > 20


def test_markers_of_page_cache_topics_are_on_disk_before_the_answer() -> None:
    """Their high watermark says nothing of the disk, and the end of the transaction may survive
    without them."""
    for seed in range(30):
        fs = MemoryFileSystem(seed)
        scenario = Scenario(fs)
        store = open_store(fs)
        put(store, ("b", 0), scenario.producer, b"x", 0)
        store.end_transaction("t", scenario.producer, commit=True)
        fs.power_loss()
        assert b"x" in read(open_store(fs), ("b", 0)), seed
