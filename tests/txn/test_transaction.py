"""Every state against every event."""

from __future__ import annotations

from dataclasses import replace

import pytest

from logstore.api import ProducerIdentity, TopicPartition
from logstore.errors import (
    ConcurrentTransactionsError,
    InvalidTransactionStateError,
    ProducerFencedError,
    UnknownTransactionalIdError,
)
from logstore.txn.transaction import EPOCH_MAX, Transaction, TransactionState

PART, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)
EMPTY = Transaction("x", producer_id=7, epoch=3, timeout_ms=1000)
ONGOING = EMPTY.enrol([PART], 50)
COMMITTING = ONGOING.decide(60, commit=True)
ABORTING = ONGOING.decide(60, commit=False)
COMMITTED = COMMITTING.complete(70)
ABORTED = ABORTING.complete(70)
ALL = {item.state: item for item in (EMPTY, ONGOING, COMMITTING, ABORTING, COMMITTED, ABORTED)}


def test_the_examples_are_all_states() -> None:
    assert set(ALL) == set(TransactionState)
    assert [item.epoch for item in (EMPTY, ONGOING, COMMITTING, COMMITTED)] == [3, 3, 4, 5]
    assert [bool(item.partitions) for item in (EMPTY, ONGOING, COMMITTING, COMMITTED)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert COMMITTING.is_commit
    assert not ABORTING.is_commit


@pytest.mark.parametrize("before", [EMPTY, COMMITTED, ABORTED])
def test_the_first_partition_begins_a_transaction(before: Transaction) -> None:
    begun = before.enrol([PART], 99)
    assert begun.is_ongoing
    assert (begun.partitions, begun.started_ms, begun.epoch) == (
        frozenset({PART}),
        99,
        before.epoch,
    )


def test_enrolling() -> None:
    assert ONGOING.enrol([PART], 99) is ONGOING
    more = ONGOING.enrol([OTHER], 99)
    assert (more.partitions, more.started_ms) == (frozenset({PART, OTHER}), 50)
    for item in (COMMITTING, ABORTING):
        with pytest.raises(ConcurrentTransactionsError):
            item.enrol([PART], 99)


@pytest.mark.parametrize("state", sorted(set(ALL) - {TransactionState.ONGOING}))
def test_only_an_open_one_is_committed_and_none_is_decided_twice(state: TransactionState) -> None:
    with pytest.raises(InvalidTransactionStateError, match=state.name):
        ALL[state].decide(99, commit=True)
    if ALL[state].is_prepared:
        with pytest.raises(InvalidTransactionStateError, match=state.name):
            ALL[state].decide(99, commit=False)
    else:
        aborting = ALL[state].decide(99, commit=False)
        assert aborting.is_prepared
        assert aborting.epoch == ALL[state].epoch + 1


def test_a_repeated_question_is_recognized() -> None:
    asked = ProducerIdentity(7, 3)
    assert COMMITTED.is_answered(asked, commit=True)
    assert ABORTED.is_answered(asked, commit=False)
    assert not COMMITTED.is_answered(asked, commit=False)
    assert not COMMITTED.is_answered(ProducerIdentity(7, 4), commit=True)
    assert not COMMITTING.is_answered(asked, commit=True)
    assert COMMITTING.is_decided(asked, commit=True)
    assert not COMMITTING.is_decided(asked, commit=False)
    assert not COMMITTING.is_decided(ProducerIdentity(7, 4), commit=True)
    assert not COMMITTED.is_decided(asked, commit=True)


def test_who_it_is() -> None:
    EMPTY.check_identity(ProducerIdentity(7, 3))
    with pytest.raises(ProducerFencedError):
        EMPTY.check_identity(ProducerIdentity(7, 2))
    for stranger in (ProducerIdentity(8, 3), ProducerIdentity(7, 4)):
        with pytest.raises(UnknownTransactionalIdError):
            EMPTY.check_identity(stranger)


def test_what_is_left_of_its_timeout() -> None:
    assert [ONGOING.left_ms(now_ms) for now_ms in (0, 50, 1049, 1050, 9999)] == [
        1000,
        1000,
        1,
        0,
        0,
    ]


def test_a_new_producer() -> None:
    taken = COMMITTED.succeed(80, timeout_ms=5, producer_id=7)
    assert (taken.identity, taken.timeout_ms, taken.state) == ((7, 6), 5, TransactionState.EMPTY)
    other = COMMITTED.succeed(80, timeout_ms=5, producer_id=9)
    assert other.identity == (9, 0)


def test_no_epoch_leaves_int16() -> None:
    item = replace(EMPTY, epoch=EPOCH_MAX - 20)
    while not item.is_exhausted:
        item = item.enrol([PART], 1).decide(1, commit=True).complete(1)
    assert item.succeed(1, timeout_ms=1, producer_id=7).epoch <= EPOCH_MAX
    assert item.epoch > EPOCH_MAX - 4
