"""The transaction of one transactional id: a pure state machine of frozen values.

    EMPTY --enrol--> ONGOING --decide(commit)--> PREPARE_COMMIT --complete--> COMPLETE_COMMIT
      |                 |  ^____________________enrol (the next one)_______________|
      |                 '--decide(abort)---> PREPARE_ABORT --complete--> COMPLETE_ABORT
      |--succeed (a new producer takes over the id; also from COMPLETE_*)--> EMPTY
      '--decide(abort; also from COMPLETE_*)--> PREPARE_ABORT, with no partitions

Invariants
- The epoch never falls for one producer id. It rises when the end of a transaction is decided
  (KIP-890) and when a new producer takes over: whoever holds an older one is fenced.
- It rises once more when the end is complete, so that no record has the epoch of the markers. After
  a power loss an end may be done again when records of the next transaction are in the log and its
  beginning is not known: the log then refuses the marker, which would end that one.
- From PREPARE_* on the outcome is fixed: only `complete` follows.
- `partitions` is what the transaction wrote to; it is empty in EMPTY and COMPLETE_*.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from logstore.api import ProducerIdentity, TopicPartition
from logstore.errors import (
    ConcurrentTransactionsError,
    InvalidTransactionStateError,
    ProducerFencedError,
    UnknownTransactionalIdError,
)

EPOCH_MAX = (1 << 15) - 1  # int16
EPOCHS_USED = 2  # by one transaction


class TransactionState(enum.IntEnum):
    """Kafka's numbers (TransactionState)."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5


_PREPARED = (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)


@dataclass(frozen=True, slots=True)
class Transaction:
    transactional_id: str
    producer_id: int
    epoch: int
    timeout_ms: int
    state: TransactionState = TransactionState.EMPTY
    partitions: frozenset[TopicPartition] = frozenset()
    started_ms: int = -1
    updated_ms: int = -1

    @property
    def identity(self) -> ProducerIdentity:
        return ProducerIdentity(self.producer_id, self.epoch)

    @property
    def is_ongoing(self) -> bool:
        return self.state is TransactionState.ONGOING

    @property
    def is_prepared(self) -> bool:
        return self.state in _PREPARED

    @property
    def is_commit(self) -> bool:
        """Of a decided one: the outcome."""
        return self.state in (TransactionState.PREPARE_COMMIT, TransactionState.COMPLETE_COMMIT)

    def left_ms(self, now_ms: int) -> int:
        """Of an open one's timeout."""
        return self.timeout_ms - min(max(0, now_ms - self.started_ms), self.timeout_ms)

    def is_part(self, part: TopicPartition, epoch: int) -> bool:
        """Whether what a partition holds open in that producer epoch belongs to this transaction.
        If it is older: the partition had failed, and its end did not wait to mark it."""
        own = self.epoch - 1 if self.is_prepared else self.epoch
        return part in self.partitions and epoch == own

    # --- checks -----------------------------------------------------------------------------

    def check_identity(self, identity: ProducerIdentity) -> None:
        """Raises ProducerFencedError for who was superseded, UnknownTransactionalIdError for a
        producer that was never this one."""
        if identity.producer_id != self.producer_id or identity.producer_epoch > self.epoch:
            raise UnknownTransactionalIdError(
                f"transactional id {self.transactional_id!r} is producer {self.producer_id}, epoch "
                f"{self.epoch}; not {identity.producer_id}, epoch {identity.producer_epoch}",
                transactional_id=self.transactional_id,
            )
        if identity.producer_epoch < self.epoch:
            raise ProducerFencedError(
                f"transactional id {self.transactional_id!r}: epoch {identity.producer_epoch} is "
                f"over, {self.epoch} is in use; another producer took the id over, or the "
                f"transaction outlived its timeout of {self.timeout_ms} ms and was aborted",
                transactional_id=self.transactional_id,
                epoch=self.epoch,
            )

    def is_answered(self, identity: ProducerIdentity, *, commit: bool) -> bool:
        """Whether that end was asked for before, and is done: the answer was lost."""
        return self.state is (
            TransactionState.COMPLETE_COMMIT if commit else TransactionState.COMPLETE_ABORT
        ) and identity == (self.producer_id, self.epoch - EPOCHS_USED)

    def is_decided(self, identity: ProducerIdentity, *, commit: bool) -> bool:
        """Whether that end was asked for before, and is not done yet."""
        return (
            self.is_prepared
            and self.is_commit is commit
            and identity == (self.producer_id, self.epoch - 1)
        )

    # --- changes ----------------------------------------------------------------------------

    def enrol(self, part: TopicPartition, now_ms: int) -> Transaction:
        """The transaction writes to `part`; it begins with the first. Itself if it does already."""
        if self.is_prepared:
            raise ConcurrentTransactionsError(
                f"the last transaction of {self.transactional_id!r} is being ended; try again",
                transactional_id=self.transactional_id,
            )
        if not self.is_ongoing:
            return replace(
                self,
                state=TransactionState.ONGOING,
                partitions=frozenset((part,)),
                started_ms=now_ms,
                updated_ms=now_ms,
            )
        if part in self.partitions:
            return self
        return replace(self, partitions=self.partitions | {part}, updated_ms=now_ms)

    def decide(self, now_ms: int, *, commit: bool) -> Transaction:
        """An abort needs nothing that is open: it fences what is still on its way (KIP-890)."""
        if self.is_prepared or (commit and not self.is_ongoing):
            raise InvalidTransactionStateError(
                f"{self.transactional_id!r} has no open transaction; it is {self.state.name}",
                transactional_id=self.transactional_id,
                state=self.state.name,
            )
        state = TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT
        return replace(self, state=state, epoch=self.epoch + 1, updated_ms=now_ms)

    def complete(self, now_ms: int) -> Transaction:
        """All markers are on disk."""
        state = (
            TransactionState.COMPLETE_COMMIT if self.is_commit else TransactionState.COMPLETE_ABORT
        )
        return replace(
            self,
            state=state,
            epoch=self.epoch + 1,
            partitions=frozenset(),
            started_ms=-1,
            updated_ms=now_ms,
        )

    @property
    def is_exhausted(self) -> bool:
        """Another transaction, and a new producer after it, need a new producer id."""
        return self.epoch > EPOCH_MAX - EPOCHS_USED - 1

    def succeed(self, now_ms: int, *, timeout_ms: int, producer_id: int) -> Transaction:
        """A new producer takes the id over; with another producer id its epoch begins at 0."""
        is_same = producer_id == self.producer_id
        return Transaction(
            self.transactional_id,
            producer_id,
            self.epoch + 1 if is_same else 0,
            timeout_ms,
            updated_ms=now_ms,
        )
