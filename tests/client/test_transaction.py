"""The states of a transactional producer, without one."""

from __future__ import annotations

from typing import Any, cast

import pytest

from logstore.api import ProducerIdentity
from logstore.client.producer_core import PartitionQueue, ProducerSettings
from logstore.client.transaction import TransactionSession
from logstore.errors import (
    ConcurrentTransactionsError,
    InvalidTransactionStateError,
    LogStoreError,
    ProducerFencedError,
    RequestTimeoutError,
)
from logstore.testing import ManualClock


class Ids:
    """A store that gives identities, after failures."""

    def __init__(self, *failures: LogStoreError) -> None:
        self.failures = list(failures)

    def init_producer(self, *_: Any, **__: Any) -> ProducerIdentity:
        if self.failures:
            raise self.failures.pop(0)
        return ProducerIdentity(7, 0)


def session(*failures: LogStoreError) -> TransactionSession:
    return TransactionSession(
        cast("Any", Ids(*failures)),
        "x",
        timeout_ms=1000,
        retry_seconds=5,
        clock=ManualClock(),
    )


def test_what_may_pass_is_tried_again() -> None:
    assert session(ConcurrentTransactionsError("busy")).identity == (7, 0)
    with pytest.raises(ProducerFencedError):
        session(ConcurrentTransactionsError("busy"), ProducerFencedError("gone"))


def test_the_states() -> None:
    made = session()
    with pytest.raises(InvalidTransactionStateError, match="begin_transaction"):
        made.check_open()
    made.begin()
    made.check_open()
    made.ended(ProducerIdentity(7, 1))
    made.begin()
    made.fail(RequestTimeoutError("too late"))
    for check in (made.check_open, made.begin):
        with pytest.raises(InvalidTransactionStateError, match="too late"):
            check()
    made.check_abortable()
    made.ended(ProducerIdentity(7, 2))
    made.begin()
    made.fail(ProducerFencedError("taken over"))
    assert not made.is_abortable
    for check in (made.check_open, made.begin, made.check_abortable):
        with pytest.raises(ProducerFencedError, match="taken over"):
            check()


def test_a_partition_joins_once_under_an_identity() -> None:
    made = session()
    queue = PartitionQueue("t", 0, ProducerSettings(), 4096, lambda batch: None)
    made.begin()
    assert made.join([queue]) == []
    assert (queue.identity, queue.next_sequence) == (made.identity, 0)
    batch = queue.open_batch(0.0)
    assert batch.builder is not None
    batch.builder.try_append(None, b"v", 0)
    assert made.join([queue]) == [batch]  # it gave one up, so it asks again
    assert queue.is_idle
