"""The verbs of api.TransactionCoordination, for clients of both versions; the state, and the order
of flushes, are the coordinator's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from logstore.api import (
    MemberCommit,
    ProducerIdentity,
    ProducerInfo,
    TopicPartition,
    TransactionInfo,
    TransactionStatus,
    TransactionVersion,
)
from logstore.errors import LogStoreError
from logstore.group import GroupCoordinator, check_group_id
from logstore.pending import Pending
from logstore.txn.coordinator import TransactionCoordinator
from logstore.txn.partitions import Partitions
from logstore.txn.transaction import Transaction, TransactionState

_STATUS = {state: TransactionStatus[state.name] for state in TransactionState}


class Coordination:
    """See api.TransactionCoordination."""

    def __init__(
        self,
        transactions: TransactionCoordinator,
        partitions: Partitions,
        groups: GroupCoordinator,
        offsets_part: Callable[[str], TopicPartition],
        check_open: Callable[[], None],
        announce_deadline: Callable[[], None],
    ) -> None:
        """`offsets_part`: where the offsets of a group are kept."""
        self._transactions = transactions
        self._partitions = partitions
        self._groups = groups
        self._offsets_part = offsets_part
        self._check_open = check_open
        self._announce_deadline = announce_deadline

    def init_producer(
        self,
        transactional_id: str,
        *,
        transaction_timeout_ms: int,
        expected: ProducerIdentity | None = None,
    ) -> ProducerIdentity:
        self._check_open()
        identity = self._transactions.init_producer(
            transactional_id, transaction_timeout_ms, expected
        )
        self._announce_deadline()
        return identity

    def add_partitions(
        self, transactional_id: str, producer: ProducerIdentity, parts: Sequence[TopicPartition]
    ) -> None:
        self._check_open()
        for part in parts:
            self._partitions.log_for_users(part.topic, part.partition)
        self._enrol(transactional_id, producer, parts)

    def add_offsets(self, transactional_id: str, producer: ProducerIdentity, group_id: str) -> None:
        self._check_open()
        check_group_id(group_id)
        self._enrol(transactional_id, producer, [self._offsets_part(group_id)])

    def commit_offsets(
        self,
        transactional_id: str,
        producer: ProducerIdentity,
        commit: MemberCommit,
        *,
        version: TransactionVersion,
    ) -> Pending[list[LogStoreError | None]]:
        try:
            self._check_open()
            check_group_id(commit.group_id)
            self._transactions.check_producer(transactional_id, producer)
            part = self._offsets_part(commit.group_id)
            during: AbstractContextManager[None] = nullcontext()
            if version is TransactionVersion.ONE:
                during = self._transactions.writing(producer, part)
            else:
                self._transactions.enrol(producer, [part])
            with during:
                return self._groups.commit_each(commit, producer)
        except LogStoreError as error:
            return Pending.failed(error)

    def _enrol(
        self, transactional_id: str, producer: ProducerIdentity, parts: Sequence[TopicPartition]
    ) -> None:
        self._transactions.check_producer(transactional_id, producer)
        if parts:
            self._transactions.enrol(producer, parts, version=TransactionVersion.ONE)
            self._announce_deadline()

    def end(
        self,
        transactional_id: str,
        producer: ProducerIdentity,
        *,
        commit: bool,
        version: TransactionVersion,
    ) -> ProducerIdentity:
        self._check_open()
        try:
            return self._transactions.end(
                transactional_id, producer, commit=commit, version=version
            )
        except LogStoreError:  # what was decided is gone on with before long
            self._announce_deadline()
            raise

    def list_transactions(self) -> list[TransactionInfo]:
        self._check_open()
        return [_info(transaction) for transaction in self._transactions.all()]

    def describe(self, transactional_id: str) -> TransactionInfo:
        self._check_open()
        return _info(self._transactions.get(transactional_id))

    def describe_producers(self, part: TopicPartition) -> list[ProducerInfo]:
        self._check_open()
        found = self._partitions.log(part.topic, part.partition).producers()
        return [
            ProducerInfo(
                ProducerIdentity(producer_id, entry.epoch),
                entry.batches[-1].last_sequence if entry.batches else -1,
                entry.batches[-1].timestamp_ms if entry.batches else -1,
                entry.open_since,
            )
            for producer_id, entry in sorted(found.entries.items())
        ]


def _info(transaction: Transaction) -> TransactionInfo:
    return TransactionInfo(
        transaction.transactional_id,
        _STATUS[transaction.state],
        transaction.identity,
        transaction.timeout_ms,
        transaction.started_ms,
        tuple(sorted(transaction.partitions)),
    )
