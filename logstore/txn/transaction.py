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
- But it does not rise, and the markers have the epoch of the records, where a client of version ONE
  ends what it enrolled itself. A timeout, or a new producer, ends that as any other.
- From PREPARE_* on the outcome is fixed: only `complete` follows.
- `partitions` is what the transaction wrote to; it is empty in EMPTY and COMPLETE_*.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from logstore.api import ProducerIdentity, TopicPartition, TransactionVersion
from logstore.errors import (
    ConcurrentTransactionsError,
    InvalidTransactionStateError,
    ProducerFencedError,
    UnknownTransactionalIdError,
)

EPOCH_MAX = (1 << 15) - 1  # int16
EPOCHS_USED = 2  # by one transaction of version TWO


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
    """`version`: of the transaction that is open, or was the last. `former`: who asked for, or lost
    the answer that told of, the producer that is now; not kept over a restart."""

    transactional_id: str
    producer_id: int
    epoch: int
    timeout_ms: int
    state: TransactionState = TransactionState.EMPTY
    partitions: frozenset[TopicPartition] = frozenset()
    started_ms: int = -1
    updated_ms: int = -1
    version: TransactionVersion = TransactionVersion.TWO
    former: ProducerIdentity | None = field(default=None, compare=False)

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
    def _raise(self) -> int:
        """Of the epoch, by the decision and once more when it is complete."""
        return 0 if self.version is TransactionVersion.ONE else 1

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
        own = self.epoch - self._raise if self.is_prepared else self.epoch
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
        ) and identity == (self.producer_id, self.epoch - EPOCHS_USED * self._raise)

    def is_decided(self, identity: ProducerIdentity, *, commit: bool) -> bool:
        """Whether that end was asked for before, and is not done yet."""
        return (
            self.is_prepared
            and self.is_commit is commit
            and identity == (self.producer_id, self.epoch - self._raise)
        )

    def may_go_on(self, expected: ProducerIdentity) -> bool:
        """Whether `expected` may become the producer again (KIP-360): it is, or it was and nobody
        has written since."""
        return expected == self.identity or self.is_told_again(expected)

    def is_told_again(self, expected: ProducerIdentity) -> bool:
        """It asks for what it was answered before: how it goes on."""
        is_idle = not self.is_ongoing and not self.is_prepared
        return is_idle and self.former is not None and expected == self.former

    # --- changes ----------------------------------------------------------------------------

    def enrol(
        self,
        parts: Iterable[TopicPartition],
        now_ms: int,
        version: TransactionVersion = TransactionVersion.TWO,
    ) -> Transaction:
        """It writes to `parts`, and begins with the first. Itself if it does already."""
        if self.is_prepared:
            raise ConcurrentTransactionsError(
                f"the last transaction of {self.transactional_id!r} is being ended; try again",
                transactional_id=self.transactional_id,
            )
        added = frozenset(parts)
        if not self.is_ongoing:
            return replace(
                self,
                state=TransactionState.ONGOING,
                partitions=added,
                started_ms=now_ms,
                updated_ms=now_ms,
                version=version,
                former=None,
            )
        version = max(version, self.version)
        if added <= self.partitions and version is self.version:
            return self
        return replace(self, partitions=self.partitions | added, updated_ms=now_ms, version=version)

    def check_enrolled(self, part: TopicPartition) -> None:
        """Raises InvalidTransactionStateError."""
        if not self.is_ongoing or part not in self.partitions:
            raise InvalidTransactionStateError(
                f"{part.topic}-{part.partition} was not added to the transaction of "
                f"{self.transactional_id!r}",
                transactional_id=self.transactional_id,
                topic=part.topic,
                partition=part.partition,
            )

    def decide(
        self,
        now_ms: int,
        *,
        commit: bool,
        version: TransactionVersion = TransactionVersion.TWO,
    ) -> Transaction:
        """`version`: of the client that asks; TWO if none does, which fences the one that is. An
        abort needs nothing that is open then: it fences what is still on its way (KIP-890)."""
        version = max(version, self.version) if self.is_ongoing else version
        needs_open = commit or version is TransactionVersion.ONE
        if self.is_prepared or (needs_open and not self.is_ongoing):
            raise InvalidTransactionStateError(
                f"{self.transactional_id!r} has no open transaction; it is {self.state.name}",
                transactional_id=self.transactional_id,
                state=self.state.name,
            )
        state = TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT
        decided = replace(self, state=state, updated_ms=now_ms, version=version)
        return replace(decided, epoch=self.epoch + decided._raise)

    def complete(self, now_ms: int) -> Transaction:
        """All markers are on disk."""
        state = (
            TransactionState.COMPLETE_COMMIT if self.is_commit else TransactionState.COMPLETE_ABORT
        )
        return replace(
            self,
            state=state,
            epoch=self.epoch + self._raise,
            partitions=frozenset(),
            started_ms=-1,
            updated_ms=now_ms,
        )

    @property
    def is_exhausted(self) -> bool:
        """Another transaction, and a new producer after it, need a new producer id."""
        return self.epoch > EPOCH_MAX - EPOCHS_USED - 1

    def succeed(
        self,
        now_ms: int,
        *,
        timeout_ms: int,
        producer_id: int,
        former: ProducerIdentity | None = None,
    ) -> Transaction:
        """A new producer takes the id over; with another producer id its epoch begins at 0.
        `former` is it itself, which goes on."""
        is_same = producer_id == self.producer_id
        return Transaction(
            self.transactional_id,
            producer_id,
            self.epoch + 1 if is_same else 0,
            timeout_ms,
            updated_ms=now_ms,
            former=former,
        )
