"""Clients of both versions at one store: what enrols, whose epoch rises, who is fenced; and version
ONE, whose epoch does not rise, with the machine stopped at every call to the file system."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from logstore.api import (
    GroupHeartbeat,
    MemberCommit,
    OffsetToCommit,
    ProducerIdentity,
    TopicPartition,
    TopicSpec,
    TransactionStatus,
    TransactionVersion,
)
from logstore.config import StoreConfig, TransactionConfig
from logstore.errors import (
    ConcurrentTransactionsError,
    InvalidRequestError,
    InvalidTransactionStateError,
    LogStoreError,
    ProducerFencedError,
    StaleMemberEpochError,
    UnknownMemberError,
    UnknownPartitionError,
    UnknownTopicError,
    UnknownTransactionalIdError,
)
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import MachineStoppedError, ManualClock, MemoryFileSystem
from logstore.txn.transaction import EPOCH_MAX
from tests.txn.test_crashes import read

ONE, TWO = TransactionVersion.ONE, TransactionVersion.TWO
PARTS = (TopicPartition("t", 0), TopicPartition("t", 1), TopicPartition("slow", 0))
Crash = Callable[[MemoryFileSystem], None]


def put(
    store: LocalLogStore,
    part: TopicPartition,
    producer: ProducerIdentity,
    value: bytes,
    at: int,
    version: TransactionVersion = ONE,
) -> None:
    batch = encode_batch(
        [value],
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        base_sequence=at,
        is_transactional=True,
    )
    store.append(*part, batch, transaction_version=version).result(5)


class Running:
    def __init__(self) -> None:
        self.fs = MemoryFileSystem()
        self.clock = ManualClock()
        self.open()
        self.store.create_topic(TopicSpec("t", 2))
        self.store.create_topic(TopicSpec("slow", 1, {"durability": "page_cache"}))

    def open(self) -> None:
        config = StoreConfig(transaction=TransactionConfig())
        self.store = LocalLogStore.open("store", fs=self.fs, clock=self.clock, config=config)

    def init(self, expected: ProducerIdentity | None = None) -> ProducerIdentity:
        return self.store.transactions.init_producer(
            "x", transaction_timeout_ms=1000, expected=expected
        )

    def add(self, producer: ProducerIdentity, *parts: TopicPartition) -> None:
        self.store.transactions.add_partitions("x", producer, parts or PARTS)

    def end(
        self,
        producer: ProducerIdentity,
        *,
        commit: bool = True,
        version: TransactionVersion = ONE,
    ) -> ProducerIdentity:
        return self.store.transactions.end("x", producer, commit=commit, version=version)


@pytest.fixture
def run() -> Running:
    return Running()


def test_all_transactions_of_a_session_have_its_epoch(run: Running) -> None:
    producer = run.init()
    for turn in range(4):
        run.add(producer)
        for part in PARTS:
            put(run.store, part, producer, b"%d" % turn, turn)
        assert run.end(producer, commit=turn % 2 == 0) == producer
    for part in PARTS:
        assert read(run.store, part) == [b"0", b"2"]
        assert read(run.store, part, read_committed=False) == [b"0", b"1", b"2", b"3"]


def test_a_batch_enrols_under_version_two_only(run: Running) -> None:
    producer = run.init()
    with pytest.raises(InvalidTransactionStateError, match="t-0 was not added"):
        put(run.store, PARTS[0], producer, b"v", 0)
    run.add(producer, PARTS[1])
    with pytest.raises(InvalidTransactionStateError, match="t-0 was not added"):
        put(run.store, PARTS[0], producer, b"v", 0)
    put(run.store, PARTS[0], producer, b"v", 0, TWO)
    after = run.end(producer, version=TWO)
    assert after == (producer.producer_id, producer.producer_epoch + 2)
    assert read(run.store, PARTS[0]) == [b"v"]


def test_what_a_batch_has_enrolled_is_ended_under_a_higher_epoch(run: Running) -> None:
    """However it is ended: the batches of that client begin a transaction by themselves."""
    producer = run.init()
    put(run.store, PARTS[0], producer, b"v", 0, TWO)
    run.end(producer, version=ONE)
    with pytest.raises(ProducerFencedError):
        put(run.store, PARTS[0], producer, b"late", 1, TWO)


def test_a_late_batch_of_an_ended_transaction_is_refused(run: Running) -> None:
    """It would hold the last stable offset down for ever."""
    producer = run.init()
    run.add(producer)
    put(run.store, PARTS[0], producer, b"v", 0)
    run.end(producer)
    with pytest.raises(InvalidTransactionStateError):
        put(run.store, PARTS[0], producer, b"late", 1)
    log = run.store._table.log("t", 0)
    assert log.last_stable_offset == log.log_end_offset == 2


def test_a_transaction_is_not_ended_in_the_middle_of_a_write(run: Running) -> None:
    producer = run.init()
    run.add(producer)
    log = run.store._table.log("t", 0)
    is_writing, may_write = threading.Event(), threading.Event()
    append = log.append

    def held_up(*args: object, **named: object) -> object:
        if not named.get("validated"):  # a marker is
            is_writing.set()
            assert may_write.wait(10)
        return append(*args, **named)  # type: ignore[arg-type]

    log.append = held_up  # type: ignore[method-assign,assignment]
    writer = threading.Thread(target=put, args=(run.store, PARTS[0], producer, b"v", 0))
    writer.start()
    assert is_writing.wait(10)
    ended = threading.Event()

    def end() -> None:
        run.end(producer)
        ended.set()

    ender = threading.Thread(target=end)
    ender.start()
    assert not ended.wait(0.05)
    may_write.set()
    for thread in (writer, ender):
        thread.join(10)
    assert ended.is_set()
    assert read(run.store, PARTS[0]) == [b"v"]
    assert log.last_stable_offset == log.log_end_offset


def test_repeated_and_contrary_ends(run: Running) -> None:
    producer = run.init()
    for commit in (True, False):
        with pytest.raises(InvalidTransactionStateError):
            run.end(producer, commit=commit)
    for commit in (True, False):
        run.add(producer)
        assert run.end(producer, commit=commit) == producer
        assert run.end(producer, commit=commit) == producer
        with pytest.raises(InvalidTransactionStateError):
            run.end(producer, commit=not commit)


def test_a_timeout_fences_a_client_of_version_one(run: Running) -> None:
    producer = run.init()
    run.add(producer)
    put(run.store, PARTS[0], producer, b"v", 0)
    run.clock.advance(1.5)
    run.store.run_maintenance()
    assert read(run.store, PARTS[0]) == []
    for attempt in (
        lambda: run.end(producer),
        lambda: run.add(producer),
        lambda: put(run.store, PARTS[0], producer, b"w", 1),
        lambda: run.init(producer),
    ):
        with pytest.raises(ProducerFencedError):
            attempt()
    again = run.init()
    run.add(again)
    put(run.store, PARTS[0], again, b"w", 0)
    run.end(again)
    assert read(run.store, PARTS[0]) == [b"w"]


def test_a_producer_goes_on_after_an_error_unless_it_was_replaced(run: Running) -> None:
    """KIP-360."""
    first = run.init()
    run.add(first)
    second = run.init(first)
    assert second.producer_epoch > first.producer_epoch
    assert run.init(first) == second  # its answer was lost
    third = run.init()
    for old in (first, second):
        with pytest.raises(ProducerFencedError):
            run.init(old)
    assert run.init(ProducerIdentity(third.producer_id, third.producer_epoch)) > third
    unknown = run.store.transactions.init_producer(
        "other", transaction_timeout_ms=1, expected=ProducerIdentity(99, 3)
    )
    assert unknown.producer_epoch == 0


def test_who_goes_on_is_not_told_again_once_it_writes(run: Running) -> None:
    first = run.init()
    second = run.init(first)
    run.add(second)
    with pytest.raises(ProducerFencedError):
        run.init(first)


def test_all_partitions_are_added_or_none(run: Running) -> None:
    producer = run.init()
    for stranger, error in (
        (TopicPartition("nope", 0), UnknownTopicError),
        (TopicPartition("t", 9), UnknownPartitionError),
        (TopicPartition("__consumer_offsets", 0), InvalidRequestError),
    ):
        with pytest.raises(error):
            run.add(producer, PARTS[0], stranger)
    assert run.store.transactions.describe("x").partitions == ()
    with pytest.raises(UnknownTransactionalIdError):
        run.store.transactions.add_partitions("y", producer, PARTS)
    with pytest.raises(UnknownTransactionalIdError):
        run.store.transactions.describe("y")


def test_nothing_is_added_while_it_ends(run: Running) -> None:
    producer = run.init()
    run.add(producer, PARTS[0])
    run.store._transactions._ending.add("x")
    with pytest.raises(ConcurrentTransactionsError):
        run.add(producer, PARTS[1])


def test_what_is_told_of_transactions_and_producers(run: Running) -> None:
    producer = run.init()
    run.store.transactions.add_offsets("x", producer, "g")
    run.add(producer, PARTS[0])
    put(run.store, PARTS[0], producer, b"v", 0)
    (info,) = run.store.transactions.list_transactions()
    assert (info.transactional_id, info.status, info.producer, info.timeout_ms) == (
        "x", TransactionStatus.ONGOING, producer, 1000,
    )  # fmt: skip
    assert info.started_ms == run.clock.now_ms()
    assert [part.topic for part in info.partitions] == ["__consumer_offsets", "t"]
    (known,) = run.store.transactions.describe_producers(PARTS[0])
    assert (known.producer, known.last_sequence, known.transaction_start_offset) == (producer, 0, 0)
    run.end(producer)
    assert run.store.transactions.describe("x").status is TransactionStatus.COMPLETE_COMMIT
    assert run.store.transactions.describe_producers(PARTS[0])[0].transaction_start_offset == -1
    assert run.store.transactions.describe_producers(PARTS[1]) == []


def test_used_up_epochs_do_not_end_a_session_of_version_one(run: Running) -> None:
    producer = run.init()
    while producer.producer_epoch <= EPOCH_MAX - 3:
        if producer.producer_epoch < EPOCH_MAX - 3:
            with run.store._transactions._lock:
                known = run.store._transactions.get("x")
                run.store._transactions._put(replace(known, epoch=EPOCH_MAX - 3))
        producer = run.init()
    for turn in range(3):
        run.add(producer, PARTS[0])
        put(run.store, PARTS[0], producer, b"%d" % turn, turn)
        assert run.end(producer) == producer
    assert run.init().producer_id != producer.producer_id


def commit(
    run: Running, producer: ProducerIdentity, offset: int, version: TransactionVersion, **of: object
) -> list[LogStoreError | None]:
    offsets = (OffsetToCommit("t", 0, offset), OffsetToCommit("nope", 0, offset))
    committed = MemberCommit("g", offsets, **of)  # type: ignore[arg-type]
    verbs = run.store.transactions
    written = verbs.commit_offsets("x", producer, committed, version=version)
    run.store.run_flush()
    return written.result(5)


@pytest.mark.parametrize("version", TransactionVersion)
@pytest.mark.parametrize("is_commit", [True, False])
def test_offsets_count_with_the_transaction(
    run: Running, version: TransactionVersion, is_commit: bool
) -> None:
    producer = run.init()
    if version is ONE:
        with pytest.raises(InvalidTransactionStateError):
            commit(run, producer, 5, version)
        run.store.transactions.add_offsets("x", producer, "g")
    good, bad = commit(run, producer, 5, version)
    assert good is None
    assert isinstance(bad, UnknownTopicError)
    run.end(producer, commit=is_commit, version=version)
    (found,) = run.store.committed_offsets("g", [PARTS[0]])
    assert found.offset == (5 if is_commit else -1)


def test_offsets_of_members_that_are_not_current_are_refused(run: Running) -> None:
    member = run.store.heartbeat_now(GroupHeartbeat("g", subscribed_topics=("t",)))
    producer = run.init()
    epoch = member.member_epoch
    assert commit(run, producer, 3, TWO, member_id=member.member_id, member_epoch=epoch)[0] is None
    assert commit(run, producer, 4, TWO)[0] is None  # by nobody: an old client
    with pytest.raises(StaleMemberEpochError):
        commit(run, producer, 5, TWO, member_id=member.member_id, member_epoch=epoch - 1)
    with pytest.raises(UnknownMemberError):
        commit(run, producer, 5, TWO, member_id="other", member_epoch=epoch)
    run.end(producer, version=TWO)
    assert run.store.committed_offsets("g", [PARTS[0]])[0].offset == 4


def run_two(run: Running, producer: ProducerIdentity) -> tuple[int, int]:
    """Two transactions of one epoch; how many ends were asked for, and answered."""
    asked = answered = 0
    try:
        for turn in (1, 2):
            run.add(producer)
            for part in PARTS:
                put(run.store, part, producer, b"%d" % turn, turn)
            asked = turn
            run.end(producer)
            answered = turn
    except MachineStoppedError:
        pass
    return asked, answered


@pytest.mark.parametrize("crash", [MemoryFileSystem.kill, MemoryFileSystem.power_loss])
@pytest.mark.parametrize("seed", range(3))
def test_stopped_at_every_call(crash: Crash, seed: int) -> None:
    """Each transaction counts in all partitions or in none; the end of the first, done again,
    never ends the second."""
    for calls in count():
        run = Running()
        run.fs = MemoryFileSystem(100 * seed + calls)
        run.open()
        run.store.create_topic(TopicSpec("t", 2))
        run.store.create_topic(TopicSpec("slow", 1, {"durability": "page_cache"}))
        producer = run.init()
        run.add(producer)
        for part in PARTS:
            put(run.store, part, producer, b"0", 0)
        run.end(producer)
        run.fs.stop_after(calls)
        asked, answered = run_two(run, producer)
        crash(run.fs)
        run.open()
        if asked < 2:  # a killed server's client may go on, or gives up
            try:
                run.end(producer, commit=False)
            except LogStoreError:
                run.init()
        else:
            run.init()
        found = [read(run.store, part) for part in PARTS]
        assert found[0] == found[1] == found[2]
        assert len(found[0]) in range(answered + 1, asked + 2)
        for part in PARTS:
            log = run.store._table.log(*part)
            assert log.last_stable_offset == log.log_end_offset
        run.store.close()
        if answered == 2:
            break
    assert calls > 20
