"""Transactions of a store: fencing, timeouts, retries, full disks, and many threads at once."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from logstore.api import OffsetToCommit, ProducerIdentity, TopicPartition, TopicSpec
from logstore.config import StoreConfig, TransactionConfig
from logstore.errors import (
    ConcurrentTransactionsError,
    CorruptDataError,
    DiskFullError,
    InvalidRequestError,
    InvalidTransactionStateError,
    InvalidTransactionTimeoutError,
    LogStoreError,
    ProducerFencedError,
    StorageFailedError,
    UnknownTransactionalIdError,
    UnstableOffsetCommitError,
)
from logstore.log import Flusher, SegmentCache
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import ManualClock, MemoryFileSystem
from logstore.txn.transaction import EPOCH_MAX
from tests.txn.test_crashes import put, read


class Running:
    def __init__(self, **config: int) -> None:
        self.fs = MemoryFileSystem()
        self.clock = ManualClock()
        self.config = StoreConfig(transaction=TransactionConfig(**config))
        self.open()
        self.store.create_topic(TopicSpec("t", 2))

    def open(self) -> None:
        self.store = LocalLogStore.open("store", fs=self.fs, clock=self.clock, config=self.config)

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def put(self, producer: ProducerIdentity, value: bytes, at: int = 0, part: int = 0) -> None:
        put(self.store, ("t", part), producer, value, at)

    def end(self, producer: ProducerIdentity, *, commit: bool = True) -> ProducerIdentity:
        return self.store.end_transaction("x", producer, commit=commit)

    def committed(self) -> list[bytes | None]:
        return read(self.store, ("t", 0))


@pytest.fixture
def run() -> Running:
    return Running()


def test_a_new_producer_of_the_id_fences_the_old_one(run: Running) -> None:
    old = run.store.init_producer("x")
    run.put(old, b"old")
    new = run.store.init_producer("x")
    assert new.producer_id == old.producer_id
    assert new.producer_epoch > old.producer_epoch
    for attempt in (
        lambda: run.put(old, b"zombie", 1),
        lambda: run.end(old),
        lambda: run.store.commit_offsets_in_transaction("x", old, "g", [OffsetToCommit("t", 0, 1)]),
    ):
        with pytest.raises(ProducerFencedError):
            attempt()
    run.put(new, b"new")
    run.end(new)
    assert run.committed() == [b"new"]


def test_what_does_not_fit_is_refused_and_changes_nothing(run: Running) -> None:
    stranger = run.store.init_producer()
    with pytest.raises(UnknownTransactionalIdError):
        run.put(stranger, b"v")
    producer = run.store.init_producer("x")
    with pytest.raises(UnknownTransactionalIdError):
        run.put(producer._replace(producer_epoch=9), b"v")
    with pytest.raises(UnknownTransactionalIdError):
        run.store.end_transaction("y", producer, commit=True)
    with pytest.raises(InvalidTransactionStateError, match="EMPTY"):
        run.end(producer)
    for bad in ("", "é" * 128, "\ud800"):
        with pytest.raises(InvalidRequestError):
            run.store.init_producer(bad)
    for bad_timeout in (0, -1, 15 * 60 * 1000 + 1):
        with pytest.raises(InvalidTransactionTimeoutError):
            run.store.init_producer("x", transaction_timeout_ms=bad_timeout)
    assert run.store._table.log("t", 0).log_end_offset == 0


def test_the_same_end_asked_twice_has_one_answer(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.put(producer, b"v")
    following = run.end(producer)
    end = run.store._table.log("t", 0).log_end_offset
    assert run.end(producer) == following
    with pytest.raises(ProducerFencedError):  # the other end was never decided
        run.end(producer, commit=False)
    run.reopen()
    assert run.end(producer) == following
    assert run.store._table.log("t", 0).log_end_offset == end


def test_an_open_transaction_outlives_a_restart(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.put(producer, b"1")
    run.reopen()
    run.put(producer, b"2", 1)
    run.put(producer, b"2", 1)  # and duplicates are known
    assert run.committed() == []
    run.end(producer)
    assert run.committed() == [b"1", b"2"]


def test_a_timeout_aborts_and_fences(run: Running) -> None:
    producer = run.store.init_producer("x", transaction_timeout_ms=1000)
    run.put(producer, b"late")
    run.clock.advance(0.999)
    run.store.run_maintenance()
    assert run.store._table.log("t", 0).last_stable_offset == 0
    deadline = run.store.next_deadline()
    assert deadline is not None
    assert deadline <= run.clock.monotonic() + 0.001
    run.clock.advance(0.001)
    run.store.run_maintenance()
    assert run.store._table.log("t", 0).last_stable_offset == 2
    with pytest.raises(ProducerFencedError, match="timeout of 1000 ms"):
        run.end(producer)
    assert run.committed() == []


def test_offsets_count_with_the_transaction_or_never(run: Running) -> None:
    part = TopicPartition("t", 0)
    run.store.append("t", 0, encode_batch([b"v"] * 9)).result(5)
    producer = run.store.init_producer("x")
    for commit, offset, expected in ((False, 5, -1), (True, 6, 6), (False, 7, 6)):
        run.store.commit_offsets_in_transaction(
            "x", producer, "g", [OffsetToCommit("t", 0, offset)]
        )
        before = run.store.committed_offsets("g")
        for _ in range(2):
            with pytest.raises(UnstableOffsetCommitError):  # nobody may start there
                run.store.committed_offsets("g", [part])
            assert run.store.committed_offsets("g", [TopicPartition("t", 1)])
            run.reopen()  # with it open
        assert run.store.committed_offsets("g") == before
        producer = run.end(producer, commit=commit)
        assert run.store.committed_offsets("g", [part])[0].offset == expected
        run.reopen()
        assert run.store.committed_offsets("g", [part])[0].offset == expected


def test_a_later_commit_outside_is_not_undone_by_the_transaction(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.store.append("t", 0, encode_batch([b"v"] * 9)).result(5)
    run.store.commit_offsets_in_transaction("x", producer, "g", [OffsetToCommit("t", 0, 5)])
    run.store.commit_offsets("g", [OffsetToCommit("t", 0, 8)]).result(5)
    run.end(producer)
    for _ in range(2):
        assert run.store.committed_offsets("g")[0].offset == 8
        run.reopen()


def test_used_up_epochs_bring_a_new_producer_id() -> None:
    run = Running()
    producer = run.store.init_producer("x")
    coordinator = run.store._transactions
    coordinator._set(replace(coordinator._by_id["x"], epoch=EPOCH_MAX - 4)).result()
    producer = ProducerIdentity(producer.producer_id, EPOCH_MAX - 4)
    seen = {producer.producer_id}
    for number in range(3):
        run.put(producer, b"%d" % number)
        producer = run.end(producer)
        seen.add(producer.producer_id)
    assert len(seen) == 2
    assert producer.producer_epoch < 5
    assert run.committed() == [b"0", b"1", b"2"]


def test_a_full_disk_holds_an_end_up_and_loses_nothing(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.put(producer, b"v")
    run.fs.inject("allocate", 28, path_contains="t-0", times=None)
    run.fs.inject("write", 28, path_contains="t-0", times=None)
    with pytest.raises(DiskFullError):
        run.end(producer)
    with pytest.raises(ConcurrentTransactionsError):  # it is decided: no more may be written
        run.put(producer._replace(producer_epoch=1), b"w", 1)
    run.fs.heal()
    run.clock.advance(2)
    run.store.run_maintenance()
    assert run.committed() == [b"v"]
    assert run.end(producer).producer_epoch == 2


def test_a_partition_that_cannot_be_flushed_is_not_committed(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.store.alter_topic("t", set_configs={"durability": "page_cache"})
    run.put(producer, b"v")
    run.put(producer, b"w", part=1)
    run.fs.inject("sync", path_contains="t-0")
    with pytest.raises(StorageFailedError):
        run.end(producer)
    following = run.end(producer, commit=False)
    run.reopen()
    assert read(run.store, ("t", 0)) == read(run.store, ("t", 1)) == []
    run.put(following, b"again")
    run.end(following)
    assert run.committed() == [b"again"]


def test_a_topic_that_is_gone_holds_nothing_up(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.store.create_topic(TopicSpec("u", 1))
    put(run.store, ("u", 0), producer, b"v", 0)
    run.put(producer, b"v")
    run.store.delete_topic("u")
    run.end(producer)
    assert run.committed() == [b"v"]


def test_unused_ids_are_forgotten() -> None:
    run = Running(transactional_id_retention_ms=1000)
    producer = run.store.init_producer("x")
    other = run.store.init_producer("y")
    put(run.store, ("t", 1), other, b"open", 0)
    run.clock.advance(40)
    run.store.run_maintenance()
    with pytest.raises(UnknownTransactionalIdError):
        run.put(producer, b"v")
    run.reopen()
    run.store.end_transaction("y", other, commit=True)
    assert run.store.init_producer("x").producer_id != producer.producer_id


def test_nobody_writes_to_a_transaction_while_it_ends(run: Running) -> None:
    """Threads that write, end and take over one id: every value is committed once, or never, and
    what was answered with a commit is there."""
    run.store.create_topic(TopicSpec("w", 2))
    answered: list[bytes] = []
    problems: list[Exception] = []

    def work(number: int) -> None:
        for turn in range(6):
            value = b"%d-%d" % (number, turn)
            try:
                producer = run.store.init_producer("x")
                for part in (0, 1):
                    put(run.store, ("w", part), producer, value, 0)
                run.end(producer)
                answered.append(value)
            except (ProducerFencedError, ConcurrentTransactionsError):
                continue
            except InvalidTransactionStateError:
                continue  # another took the id over between the two writes and the end
            except LogStoreError as error:
                problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not problems
    run.store.init_producer("x")  # aborts what was left open
    first, second = read(run.store, ("w", 0)), read(run.store, ("w", 1))
    assert sorted(map(str, first)) == sorted(map(str, second))
    assert len(set(first)) == len(first)
    assert set(answered) <= set(first)
    assert answered


def test_a_decision_that_may_not_be_on_disk_is_not_acted_on(run: Running) -> None:
    """Markers after a PREPARE_COMMIT that was lost would be of a transaction that a restart takes
    for open, and aborts where they are missing."""
    producer = run.store.init_producer("x")
    run.put(producer, b"v")
    run.fs.inject("sync", path_contains="__transaction_state")
    for _ in range(3):
        with pytest.raises(StorageFailedError):
            run.end(producer)
        run.clock.advance(2)
        run.store.run_maintenance()
    assert run.committed() == []
    assert run.store._table.log("t", 0).log_end_offset == 1


def test_an_abort_of_nothing_fences_what_is_on_its_way(run: Running) -> None:
    """A batch that its producer gave up may reach the store after the abort that was to end it: it
    must not begin the producer's next transaction."""
    producer = run.store.init_producer("x")
    following = run.end(producer, commit=False)
    assert run.end(producer, commit=False) == following
    with pytest.raises(ProducerFencedError):
        run.put(producer, b"late")
    run.put(following, b"next")
    run.end(following)
    assert run.committed() == [b"next"]


def test_what_was_aborted_in_a_failed_partition_is_not_part_of_the_next_transaction(
    run: Running,
) -> None:
    producer = run.store.init_producer("x")
    run.put(producer, b"aborted")
    run.fs.inject("sync", path_contains="t-0")
    with pytest.raises(StorageFailedError):
        run.store.append("t", 0, encode_batch([b"plain"])).result(5)
    following = run.end(producer, commit=False)
    with pytest.raises(StorageFailedError):
        run.put(following, b"next")
    run.reopen()
    run.put(following, b"next")
    run.end(following)
    assert b"aborted" not in run.committed()
    assert b"next" in run.committed()


def test_an_end_that_is_held_up_does_not_fill_the_other_partitions(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.put(producer, b"v")
    run.put(producer, b"w", part=1)
    run.fs.inject("write", 5, path_contains="t-0/", times=None)
    with pytest.raises(StorageFailedError):
        run.end(producer)
    for _ in range(5):
        run.clock.advance(2)
        run.store.run_maintenance()
    assert run.store._table.log("t", 1).log_end_offset == 2
    run.fs.heal()
    run.reopen()
    assert run.committed() == [b"v"]
    assert read(run.store, ("t", 1)) == [b"w"]


def test_who_drives_the_store_is_told_of_an_end_that_is_held_up(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.put(producer, b"v")
    told: list[float | None] = []
    run.store.attach_driver(
        on_flush=lambda: None, on_deadline=lambda: told.append(run.store.next_deadline())
    )
    run.store.run_maintenance()
    run.fs.inject("allocate", 28, path_contains="t-0/", times=None)
    run.fs.inject("write", 28, path_contains="t-0/", times=None)
    with pytest.raises(DiskFullError):
        run.end(producer)
    assert told
    assert told[-1] is not None
    assert told[-1] <= run.clock.monotonic() + 1


def test_a_later_commit_outside_is_not_undone_after_a_restart(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.store.append("t", 0, encode_batch([b"v"] * 9)).result(5)
    for early, late in ((5, 8), (7, 6)):
        run.store.commit_offsets("g", [OffsetToCommit("t", 0, early)]).result(5)
        run.store.commit_offsets_in_transaction("x", producer, "g", [OffsetToCommit("t", 0, 1)])
        run.store.commit_offsets("g", [OffsetToCommit("t", 0, late)]).result(5)
        run.reopen()
        producer = run.end(producer)
        for _ in range(2):
            assert run.store.committed_offsets("g")[0].offset == late
            run.reopen()


def damage(run: Running) -> bytes:
    """The identity of t-0, so that it cannot be opened; what it was."""
    file = run.fs.open("store/t-0/partition.metadata")
    before = file.read(file.size(), 0)
    file.write([b"?" * len(before)], 0)
    file.close()
    return before


def mend(run: Running, content: bytes) -> None:
    file = run.fs.open("store/t-0/partition.metadata")
    file.write([content], 0)
    file.close()


def test_a_commit_waits_for_a_partition_that_cannot_be_opened(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.put(producer, b"v")
    run.put(producer, b"w", part=1)
    coordinator = run.store._transactions
    coordinator._decide(coordinator._by_id["x"], commit=True)
    for crash in (run.fs.kill, run.fs.power_loss):
        crash()
        content = damage(run)
        run.open()
        assert read(run.store, ("t", 1)) == [b"w"]
        with pytest.raises(CorruptDataError):
            run.end(producer)
        run.clock.advance(2)
        run.store.run_maintenance()
        assert run.store._table.log("t", 1).log_end_offset == 2
        mend(run, content)
    run.reopen()
    assert run.committed() == [b"v"]
    assert read(run.store, ("t", 1)) == [b"w"]


def test_an_abort_does_not_wait_for_a_partition_that_cannot_be_opened(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.put(producer, b"v")
    run.put(producer, b"w", part=1)
    run.fs.kill()
    content = damage(run)
    run.open()
    with pytest.raises(CorruptDataError):  # what it holds may be lost
        run.end(producer)
    producer = run.end(producer, commit=False)
    run.put(producer, b"next", part=1)
    run.end(producer)
    mend(run, content)
    run.reopen()
    assert run.committed() == []
    assert run.store._table.log("t", 0).last_stable_offset == 2
    assert read(run.store, ("t", 1)) == [b"next"]


def test_the_smallest_limit_of_a_batch_lets_a_transaction_end(run: Running) -> None:
    producer = run.store.init_producer("x")
    run.put(producer, b"v")
    run.store.alter_topic("t", set_configs={"max_message_bytes": "61"})
    run.end(producer)
    assert run.committed() == [b"v"]


def test_a_callback_of_a_flush_may_write_in_a_transaction_while_another_thread_waits_for_the_flush(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appends run a flush round where dirty segments crowd the cache; never under a lock."""
    first, second = run.store.init_producer("x"), run.store.init_producer("y")
    monkeypatch.setattr(SegmentCache, "is_crowded", True)
    in_callback, is_waited_for = threading.Event(), threading.Event()
    run_round = Flusher.run_round

    def watched(flusher: Flusher) -> int:
        if in_callback.is_set():
            is_waited_for.set()
        return run_round(flusher)

    def write(_: object) -> None:
        in_callback.set()
        assert is_waited_for.wait(10)
        batch = encode_batch(
            [b"v"],
            producer_id=first.producer_id,
            producer_epoch=first.producer_epoch,
            base_sequence=0,
            is_transactional=True,
        )
        run.store.append("t", 0, batch)

    def lead() -> None:
        run.store.append("t", 1, encode_batch([b"plain"])).add_done_callback(write)
        run.store.run_flush()

    monkeypatch.setattr(Flusher, "run_round", watched)
    leader = threading.Thread(target=lead, daemon=True)
    leader.start()
    assert in_callback.wait(10)
    other = threading.Thread(target=put, args=(run.store, ("t", 1), second, b"w", 0), daemon=True)
    other.start()
    for thread in (leader, other):
        thread.join(10)
        assert not thread.is_alive()
    run.end(first)
    run.store.end_transaction("y", second, commit=True)
    assert run.committed() == [b"v"]


def test_what_a_failed_partition_lost_is_not_committed_without_it(run: Running) -> None:
    """A topic with durability=page_cache answers before any sync; if that fails, and the bytes are
    gone when the store is opened again, the rest of the transaction must not be committed."""
    run.store.alter_topic("t", set_configs={"durability": "page_cache"})
    producer = run.store.init_producer("x")
    run.put(producer, b"v")
    run.put(producer, b"w", part=1)
    run.fs.inject("sync", path_contains="t-0/")
    run.store.run_flush()
    run.fs.kill()
    run.fs.drop_caches()
    run.open()
    try:
        run.end(producer)
    except LogStoreError:
        run.end(run.store.init_producer("x"), commit=False)
    assert run.committed() == [b"v"] or read(run.store, ("t", 1)) == []


@pytest.mark.parametrize("jump_ms", [-86_400_000, 86_400_000])
@pytest.mark.parametrize("while_closed", [True, False])
def test_a_wall_clock_that_jumps_moves_no_timeout(
    run: Running, jump_ms: int, while_closed: bool
) -> None:
    producer = run.store.init_producer("x", transaction_timeout_ms=10_000)
    run.put(producer, b"v")
    if while_closed:
        run.store.close()
    run.clock.set_now_ms(run.clock.now_ms() + jump_ms)
    if while_closed:
        run.open()
    log = run.store._table.log("t", 0)
    run.clock.advance(9)
    run.store.run_maintenance()
    is_long_past = while_closed and jump_ms > 0  # nobody can tell a jump from a long stop
    assert log.last_stable_offset == (2 if is_long_past else 0)
    run.clock.advance(1)
    deadline = run.store.next_deadline()
    assert deadline is not None
    assert deadline <= run.clock.monotonic()
    run.store.run_maintenance()
    assert log.last_stable_offset == 2
