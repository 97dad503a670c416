"""TransactionCoordination: what a listener whose clients speak Kafka's transactions asks.

Two protocols of clients (the levels of Kafka's feature `transaction.version`):

- ONE: a partition, or the offsets of a group, is enrolled by a request before anything is
  written there; all transactions of a session have the producer epoch of `init_producer`.
- TWO (KIP-890; LogStore's verbs): what is written enrols; each transaction has an epoch of its own.

What ONE cannot be protected from is in logstore/txn/README.md.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from logstore.api.coordination import MemberCommit
from logstore.api.topics import TopicPartition
from logstore.errors import LogStoreError
from logstore.pending import Pending


class ProducerIdentity(NamedTuple):
    producer_id: int
    producer_epoch: int


class TransactionVersion(enum.IntEnum):
    ONE = 1
    TWO = 2


class TransactionStatus(enum.StrEnum):
    """Kafka's words."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """`started_ms` -1: none is open. `partitions`, sorted, are those of the open one."""

    transactional_id: str
    status: TransactionStatus
    producer: ProducerIdentity
    timeout_ms: int
    started_ms: int
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class ProducerInfo:
    """A producer as a partition knows it. -1: no sequence, time or open transaction is known."""

    producer: ProducerIdentity
    last_sequence: int
    last_timestamp_ms: int
    transaction_start_offset: int


class TransactionCoordination(Protocol):
    """Thread-safe. `init_producer` and `end` block for syncs; nothing else does."""

    def init_producer(
        self,
        transactional_id: str,
        *,
        transaction_timeout_ms: int,
        expected: ProducerIdentity | None = None,
    ) -> ProducerIdentity:
        """As LogStore.init_producer. With `expected` (KIP-360) the producer that goes on after an
        error: ProducerFencedError if another has taken the id over since."""
        ...

    def add_partitions(
        self, transactional_id: str, producer: ProducerIdentity, parts: Sequence[TopicPartition]
    ) -> None:
        """Enrol all, or none when it raises: UnknownTransactionalIdError, ProducerFencedError,
        ConcurrentTransactionsError, UnknownTopicError, UnknownPartitionError."""
        ...

    def add_offsets(self, transactional_id: str, producer: ProducerIdentity, group_id: str) -> None:
        """The same for the offsets of a group."""
        ...

    def commit_offsets(
        self,
        transactional_id: str,
        producer: ProducerIdentity,
        commit: MemberCommit,
        *,
        version: TransactionVersion,
    ) -> Pending[list[LogStoreError | None]]:
        """As GroupCoordination.commit, but the offsets count when the transaction is committed, or
        never. A commit by nobody is not held against the members that the group has: the epoch of
        the producer fences. With ONE InvalidTransactionStateError where add_offsets is missing.
        Errors of the producer or the whole group come through the Pending."""
        ...

    def end(
        self,
        transactional_id: str,
        producer: ProducerIdentity,
        *,
        commit: bool,
        version: TransactionVersion,
    ) -> ProducerIdentity:
        """As LogStore.end_transaction. With ONE the answer is `producer` itself, and an abort of
        nothing is InvalidTransactionStateError, as a commit is."""
        ...

    def list_transactions(self) -> list[TransactionInfo]:
        """Of all transactional ids, sorted."""
        ...

    def describe(self, transactional_id: str) -> TransactionInfo:
        """Raises UnknownTransactionalIdError."""
        ...

    def describe_producers(self, part: TopicPartition) -> list[ProducerInfo]:
        """Those of which the partition knows. Raises UnknownTopicError, UnknownPartitionError."""
        ...
