"""The state of a transactional producer: what it may do now, and who it is.

    READY --begin--> OPEN --begin_end--> ENDING --ended--> READY
                      |  ^_______reopen____|  |
                      | fail: a record was given up
                      v                       v
                   FAILED --ended (an abort)--> READY          FENCED: for good, from anywhere

Invariants
- Each transaction has an identity of its own (the epoch rises with each): partitions begin it at
  sequence 0, and nothing of an earlier one is on its way any more.
- A transaction is committed only if every record of it was stored.

Used under the producer's lock, but for `run`, which calls the store.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from logstore.api import LogStore, ProducerIdentity
from logstore.client.producer_core import Batch, PartitionQueue
from logstore.clock import Clock
from logstore.errors import (
    InvalidTransactionStateError,
    LogStoreError,
    ProducerFencedError,
    UnknownTransactionalIdError,
)

T = TypeVar("T")
RETRY_SECONDS = 0.02


class _State(enum.Enum):
    READY = "no transaction is open: begin_transaction() first"
    OPEN = "a transaction is open"
    ENDING = "the transaction is being ended"
    FAILED = "a record of the transaction was given up: abort_transaction()"
    FENCED = "another producer has taken the transactional id over: make a new producer"


class TransactionSession:
    def __init__(
        self,
        store: LogStore,
        transactional_id: str,
        *,
        timeout_ms: int,
        retry_seconds: float,
        clock: Clock,
    ) -> None:
        """Takes the id over: its last producer is fenced."""
        self.transactional_id = transactional_id
        self.has_work = False  # something was sent since the transaction began
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._state = _State.READY
        self._failure: LogStoreError | None = None
        self.identity: ProducerIdentity = self.run(
            lambda: store.init_producer(transactional_id, transaction_timeout_ms=timeout_ms)
        )

    def check_open(self) -> None:
        """Raises InvalidTransactionStateError, or why the transaction failed."""
        if self._state is not _State.OPEN:
            raise self._refusal()

    def begin(self) -> None:
        if self._state is not _State.READY:
            raise self._refusal()
        self._state = _State.OPEN
        self.has_work = False
        self._failure = None

    def begin_end(self) -> None:
        """From here on nothing can be sent in it: that would be too late, and part of the next."""
        if self._state is _State.OPEN:
            self._state = _State.ENDING

    def check_whole(self) -> None:
        """Raises why a transaction that is being ended cannot be committed."""
        if self._state is not _State.ENDING:
            raise self._refusal()

    def reopen(self) -> None:
        """It could not be ended now; the same may be asked for again."""
        if self._state is _State.ENDING:
            self._state = _State.OPEN

    @property
    def is_abortable(self) -> bool:
        return self._state in (_State.OPEN, _State.FAILED)

    def check_abortable(self) -> None:
        if not self.is_abortable:
            raise self._refusal()

    def fail(self, error: LogStoreError) -> None:
        """A record was given up, or the store refused the producer."""
        self._failure = self._failure or error
        if isinstance(error, ProducerFencedError | UnknownTransactionalIdError):
            self._state, self._failure = _State.FENCED, error
        elif self._state in (_State.OPEN, _State.ENDING):
            self._state = _State.FAILED

    def ended(self, identity: ProducerIdentity) -> None:
        self.identity = identity
        self._state = _State.READY

    def join(self, queues: Iterable[PartitionQueue]) -> list[Batch]:
        """Partitions that are new to the transaction begin it at sequence 0. One that gave a batch
        up cannot go on under this identity: its batches, which are not to be sent any more."""
        doomed: list[Batch] = []
        for queue in queues:
            is_open = self._state in (_State.OPEN, _State.ENDING)
            if is_open and queue.identity != self.identity:
                queue.renew(self.identity)
            else:
                doomed += queue.drop_unsent()
        return doomed

    def run(self, call: Callable[[], T]) -> T:
        """`call`, again after what may pass; a fenced producer is one from then on."""
        deadline = self._clock.monotonic() + self._retry_seconds
        while True:
            try:
                return call()
            except LogStoreError as error:
                if not error.retriable or self._clock.monotonic() >= deadline:
                    if isinstance(error, ProducerFencedError | UnknownTransactionalIdError):
                        self.fail(error)
                    raise
                time.sleep(RETRY_SECONDS)

    def _refusal(self) -> LogStoreError:
        message = f"transactional id {self.transactional_id!r}: {self._state.value}"
        if self._failure is not None:
            message = f"{message} ({self._failure})"
        kind = ProducerFencedError if self._state is _State.FENCED else InvalidTransactionStateError
        return kind(message, transactional_id=self.transactional_id)
