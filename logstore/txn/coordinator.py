"""All transactions of a store: their state in memory and in a journal, their ends in the logs.

    enrol          a partition, or the offsets of a group, joins the producer's transaction; written
                   to the journal before the data is to its log, so never synced after it
    end(commit)    1 every enrolled partition is flushed, whatever its durability
                   2 PREPARE_COMMIT is on disk: from here on it is committed, whatever happens
                   3 a marker is on disk in every enrolled partition: readers see it
                   4 COMPLETE_COMMIT is written; if it is lost, 3 and 4 are done again

Invariants
- Decisions of one transactional id are written in the order they were made in (under `_lock`).
- Who holds an older epoch changes nothing: not the state, and not the logs, since the markers carry
  the raised epoch.
- While a transaction is being ended by a thread (`_ending`), no other touches it, and nobody is
  still writing what it had enrolled itself (`_writers`): of clients of version ONE the epoch tells
  no transaction from the next, so that the log would take it.

A marker goes to every enrolled partition, also to one that holds no record of the transaction: a
batch that was held up on its way would open it again.

Thread-safe. `_lock` is held over an append to the journal, never over a sync or a
callback of one; who is told that a flush is wanted may come back here, so it is re-entrant.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

from logstore.api import ProducerIdentity, TopicPartition, TransactionVersion
from logstore.clock import Clock
from logstore.config import TransactionConfig
from logstore.errors import (
    ConcurrentTransactionsError,
    CorruptDataError,
    DiskFullError,
    InvalidRequestError,
    InvalidTransactionTimeoutError,
    LogStoreError,
    ProducerFencedError,
    StorageFailedError,
    UnknownPartitionError,
    UnknownTopicError,
    UnknownTransactionalIdError,
)
from logstore.log import PartitionLog
from logstore.pending import Pending
from logstore.record import Marker, encode_marker
from logstore.txn.orphans import abort_orphans
from logstore.txn.partitions import Partitions
from logstore.txn.transaction import Transaction
from logstore.txn.transaction_records import decode_key, decode_value, encode_key, encode_value

KeyValue = tuple[bytes, bytes | None]
TRANSACTIONAL_ID_LENGTH_MAX = 255
RETRY_SECONDS = 1.0  # before an end that failed is tried again unasked


class Journal(Protocol):
    def append(self, records: Sequence[KeyValue], entity: str) -> Pending[None]: ...

    def replay(self) -> Iterator[tuple[bytes, bytes | None, int]]: ...


class OffsetsOfTransactions(Protocol):
    """The groups: offsets that were committed in a transaction wait for its end."""

    def end_transaction(self, producer_id: int, *, commit: bool) -> None: ...


class TransactionCoordinator:
    """Made when a store is opened, before its groups are; `recover` first."""

    def __init__(
        self,
        config: TransactionConfig,
        clock: Clock,
        partitions: Partitions,
        journal: Callable[[], Journal],
    ) -> None:
        """`journal` makes the internal topic when it is first needed."""
        self._config = config
        self._clock = clock
        self._partitions = partitions
        self._open_journal = journal
        self._journal: Journal | None = None
        self._lock = threading.RLock()
        self._by_id: dict[str, Transaction] = {}
        self._by_producer: dict[int, str] = {}
        self._active: dict[str, Transaction] = {}  # those of _by_id that are open or being ended
        self._due: dict[str, float] = {}  # monotonic: no jump of the wall clock moves a timeout
        self._ending: set[str] = set()
        self._writers: dict[str, int] = {}
        self._written = threading.Condition(self._lock)
        self._unsure: set[str] = set()  # decided, but not known to be on disk
        self._groups: OffsetsOfTransactions | None = None
        self._pause_until = 0.0  # nothing is tried again before that
        self.recovery_notes: list[str] = []

    def attach_groups(self, groups: OffsetsOfTransactions) -> None:
        self._groups = groups

    # --- producers --------------------------------------------------------------------------

    def init_producer(
        self,
        transactional_id: str,
        timeout_ms: int,
        expected: ProducerIdentity | None = None,
    ) -> ProducerIdentity:
        """Take the id over: its last producer is fenced, and what that left open is aborted. With
        `expected` only for that one, which goes on; asked again it is told the same.

        Blocks for syncs. Raises ConcurrentTransactionsError while another thread ends the id's
        transaction, InvalidRequestError, InvalidTransactionTimeoutError, ProducerFencedError.
        """
        check_transactional_id(transactional_id)
        self._check_timeout(timeout_ms)
        with self._lock:
            self._refuse_if_ending(transactional_id)
            known = self._by_id.get(transactional_id)
            if known is not None and expected is not None:
                _refuse_if_replaced(known, expected)
                if known.is_told_again(expected):
                    return known.identity
        if known is not None and (known.is_ongoing or known.is_prepared):
            commit = known.is_prepared and known.is_commit
            self._end(transactional_id, commit=commit, check=partial(_must_be_of, known.identity))
            with self._lock:
                known = self._by_id.get(transactional_id)
        needs_id = known is None or known.is_exhausted
        fresh_id = self._partitions.allocate_producer_id() if needs_id else -1
        with self._lock:
            self._refuse_if_ending(transactional_id)
            if expected is not None and self._by_id.get(transactional_id) is not known:
                raise _busy(transactional_id)  # another producer was faster
            known = self._by_id.get(transactional_id)
            now_ms = self._clock.now_ms()
            if known is None:
                taken = Transaction(transactional_id, fresh_id, 0, timeout_ms, updated_ms=now_ms)
            elif known.is_ongoing or known.is_prepared or (known.is_exhausted and not needs_id):
                raise _busy(transactional_id)  # another producer was faster
            else:
                producer_id = fresh_id if known.is_exhausted else known.producer_id
                taken = known.succeed(
                    now_ms, timeout_ms=timeout_ms, producer_id=producer_id, former=expected
                )
            written = self._set(taken)
        written.result()
        return taken.identity

    def enrol(
        self,
        producer: ProducerIdentity,
        parts: Sequence[TopicPartition],
        *,
        version: TransactionVersion = TransactionVersion.TWO,
    ) -> None:
        """`producer` is about to write to `parts` in its transaction, which begins if none is open.

        Raises UnknownTransactionalIdError, ProducerFencedError, ConcurrentTransactionsError,
        DiskFullError, StorageFailedError.
        """
        with self._lock:
            transaction = self._of(producer)
            enrolled = transaction.enrol(parts, self._clock.now_ms(), version)
            if enrolled is not transaction:
                written = self._set(enrolled)
                if written.error is not None:
                    self._put(transaction)
                    raise written.error

    @contextmanager
    def writing(self, producer: ProducerIdentity, part: TopicPartition) -> Iterator[None]:
        """`producer`, of version ONE, writes to `part`: its transaction does not end meanwhile.

        Raises what `enrol` does, InvalidTransactionStateError if it has not enrolled that.
        """
        with self._lock:
            transaction = self._of(producer)
            transaction.check_enrolled(part)
            key = transaction.transactional_id
            self._writers[key] = self._writers.get(key, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._writers[key] -= 1
                if not self._writers[key]:
                    del self._writers[key]
                    self._written.notify_all()

    def _of(self, producer: ProducerIdentity) -> Transaction:
        """Under the lock: that of the producer, which may write in it."""
        transactional_id = self._by_producer.get(producer.producer_id)
        if transactional_id is None:
            raise UnknownTransactionalIdError(
                f"producer {producer.producer_id} has no transactional id: it must be "
                "initialized with one before it writes in a transaction",
                producer_id=producer.producer_id,
            )
        transaction = self._by_id[transactional_id]
        transaction.check_identity(producer)
        self._refuse_if_ending(transactional_id)
        return transaction

    def check_producer(self, transactional_id: str, producer: ProducerIdentity) -> None:
        """Raises UnknownTransactionalIdError, ProducerFencedError."""
        with self._lock:
            self._get(transactional_id).check_identity(producer)

    def all(self) -> list[Transaction]:
        """The present, or last, one of each transactional id, sorted."""
        with self._lock:
            return [self._by_id[key] for key in sorted(self._by_id)]

    def get(self, transactional_id: str) -> Transaction:
        """Raises UnknownTransactionalIdError."""
        with self._lock:
            return self._get(transactional_id)

    # --- the end of a transaction -----------------------------------------------------------

    def end(
        self,
        transactional_id: str,
        producer: ProducerIdentity,
        *,
        commit: bool,
        version: TransactionVersion = TransactionVersion.TWO,
    ) -> ProducerIdentity:
        """Commit or abort; how the producer goes on. Asked again it gives the same answer.

        Blocks for syncs. When it raises a retriable error, ask again: a decision that was made
        stands. Raises ProducerFencedError, UnknownTransactionalIdError,
        InvalidTransactionStateError (a commit, or an abort of version ONE, and nothing is open),
        ConcurrentTransactionsError, DiskFullError, StorageFailedError (of a partition that cannot
        be flushed: nothing is decided, abort).
        """

        def check(transaction: Transaction) -> None:
            if not transaction.is_decided(producer, commit=commit):
                transaction.check_identity(producer)

        with self._lock:
            transaction = self._get(transactional_id)
            if transaction.is_answered(producer, commit=commit):
                return transaction.identity
        return self._end(transactional_id, commit=commit, check=check, version=version)

    def _end(
        self,
        transactional_id: str,
        *,
        commit: bool,
        check: Callable[[Transaction], None],
        version: TransactionVersion = TransactionVersion.TWO,
    ) -> ProducerIdentity:
        with self._lock:
            self._refuse_if_ending(transactional_id)
            transaction = self._get(transactional_id)
            check(transaction)
            if not transaction.is_prepared:  # raises where nothing is open
                transaction.decide(0, commit=commit, version=version)
            self._ending.add(transactional_id)
        try:
            with self._lock:
                while transactional_id in self._writers:
                    self._written.wait()
            if not transaction.is_prepared:
                transaction = self._decide(transaction, commit=commit, version=version)
            elif transactional_id in self._unsure:
                self._write_decision(transaction)
            self._mark(transaction)
            if self._groups is not None:
                self._groups.end_transaction(transaction.producer_id, commit=transaction.is_commit)
            return self._complete(transaction).identity
        finally:
            with self._lock:
                self._ending.discard(transactional_id)

    def _decide(
        self,
        transaction: Transaction,
        *,
        commit: bool,
        version: TransactionVersion = TransactionVersion.TWO,
    ) -> Transaction:
        if commit:
            for log in self._logs(transaction):
                with suppress(UnknownTopicError):  # deleted meanwhile
                    log.flush()
        decided = transaction.decide(self._clock.now_ms(), commit=commit, version=version)
        try:
            self._write_decision(decided)
        except DiskFullError:  # nothing was written
            with self._lock:
                self._put(transaction)
                self._unsure.discard(transaction.transactional_id)
            raise
        return decided

    def _write_decision(self, decided: Transaction) -> None:
        """On disk when it returns; if it raises, it may be or not, and nothing acts on it before it
        was written anew (a journal that failed takes nothing: then not before the next opening).
        """
        with self._lock:
            self._unsure.add(decided.transactional_id)
            written = self._set(decided)
        written.result()
        self._unsure.discard(decided.transactional_id)

    def _mark(self, transaction: Transaction) -> None:
        """Markers in every partition that is there still, on disk when it returns."""
        marker = encode_marker(
            Marker.COMMIT if transaction.is_commit else Marker.ABORT,
            producer_id=transaction.producer_id,
            producer_epoch=transaction.epoch,
            timestamp_ms=self._clock.now_ms(),
        )
        marked: list[PartitionLog] = []
        failure: LogStoreError | None = None
        for log in self._logs(transaction):
            try:
                if not log.is_marked(transaction.producer_id, transaction.epoch):  # tried before
                    log.append(marker, validated=True)
                marked.append(log)
            except ProducerFencedError:
                continue  # a later epoch is there: it was marked before
            except LogStoreError as error:
                failure = _unless_excused(error, transaction) or failure
        for log in marked:  # in one round; the high watermark of some says nothing of the disk
            try:
                log.flush()
            except LogStoreError as error:
                failure = _unless_excused(error, transaction) or failure
        if failure is not None:
            raise failure

    def _complete(self, transaction: Transaction) -> Transaction:
        """The state of who goes on; with a new producer id when the epochs are used up."""
        completed = transaction.complete(self._clock.now_ms())
        is_one = completed.version is TransactionVersion.ONE
        if completed.is_exhausted and not is_one:  # who is of ONE would not know
            completed = completed.succeed(
                self._clock.now_ms(),
                timeout_ms=completed.timeout_ms,
                producer_id=self._partitions.allocate_producer_id(),
            )
        with self._lock:
            written = self._set(completed)  # if that is lost, the markers are written again
        if is_one:  # and would end the next transaction, whose epoch is the same
            written.result()
        return completed

    def _logs(self, transaction: Transaction) -> Iterator[PartitionLog]:
        for part in sorted(transaction.partitions):
            try:
                yield self._partitions.log(part.topic, part.partition)
            except (UnknownTopicError, UnknownPartitionError):
                continue  # deleted meanwhile

    # --- time -------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When (Clock.monotonic) `run_due` has something to do; an estimate."""
        with self._lock:
            due = [self._due[key] for key in self._active if key not in self._ending]
        if not due:
            return None
        return max(min(due), self._clock.monotonic(), self._pause_until)

    def run_due(self) -> None:
        """Blocks: abort what has outlived its timeout, go on with ends that a full disk held up."""
        now = self._clock.monotonic()
        with self._lock:
            if now < self._pause_until:
                return
            due = [
                item
                for key, item in self._active.items()
                if key not in self._ending and self._due[key] <= now
            ]
        for item in due:
            commit = item.is_prepared and item.is_commit
            try:
                self._end(item.transactional_id, commit=commit, check=partial(_must_be, item))
            except LogStoreError:  # the producer is told when it asks; else the next time
                self._pause_until = self._clock.monotonic() + RETRY_SECONDS

    def expire(self) -> None:
        """Forget transactional ids that nobody has used for the retention time."""
        limit = self._clock.now_ms() - self._config.transactional_id_retention_ms
        with self._lock:
            for key, transaction in list(self._by_id.items()):
                is_busy = transaction.is_ongoing or transaction.is_prepared or key in self._ending
                if is_busy or transaction.updated_ms > limit:
                    continue
                if self._write([(encode_key(key), None)], key).error is None:
                    self._forget(key)

    # --- opening, by one thread -------------------------------------------------------------

    def recover(self, *, is_exact: bool) -> None:
        """Read the journal and go on from there: what was decided is completed.

        `is_exact`: nothing written before the end of the last process was lost. If something may
        be, an open transaction may lack what its producer was told is stored (in a topic with
        durability=page_cache), or be forgotten altogether: all are aborted, all producers fenced.
        Where a single partition lost what it had told, so are those that wrote to it.
        """
        self._journal = self._open_journal()
        for raw_key, value, _ in self._journal.replay():
            key = decode_key(raw_key)
            if key is not None:
                self._forget(key)
                if value is not None:
                    self._put(decode_value(key, value))
        for transaction in list(self._by_id.values()):
            has_lost = not is_exact or any(log.has_lost for log in self._logs(transaction))
            if transaction.is_prepared or (transaction.is_ongoing and has_lost):
                self._recover_one(transaction)
        if not is_exact:
            self._fence_all()
        self.recovery_notes += abort_orphans(self._partitions, self._clock.now_ms(), self._find)

    def _recover_one(self, transaction: Transaction) -> None:
        """A decision that cannot be carried out now, as in a partition that cannot be opened, keeps
        nothing else from being served: it is tried again by `run_due`."""
        key = transaction.transactional_id
        commit = transaction.is_prepared and transaction.is_commit
        outcome = "committed" if commit else "aborted"
        try:
            self._end(key, commit=commit, check=lambda _: None)
        except LogStoreError as error:
            if key in self._unsure or not self._by_id[key].is_prepared:
                raise
            outcome = f"not yet {outcome} everywhere ({error})"
        self.recovery_notes.append(
            f"transaction of {key!r} was {outcome}: it was {transaction.state.name} when the store "
            "ended"
        )

    def _fence_all(self) -> None:
        written = []
        now_ms = self._clock.now_ms()
        for transaction in list(self._by_id.values()):
            if transaction.is_prepared:  # nobody can go on before that is complete
                continue
            producer_id = transaction.producer_id
            if transaction.is_exhausted:
                producer_id = self._partitions.allocate_producer_id()
            fenced = transaction.succeed(
                now_ms, timeout_ms=transaction.timeout_ms, producer_id=producer_id
            )
            written.append(self._set(fenced))
        for pending in written:
            pending.result()

    # --- state ------------------------------------------------------------------------------

    def _find(self, producer_id: int) -> Transaction | None:
        return self._by_id.get(self._by_producer.get(producer_id, ""))

    def _get(self, transactional_id: str) -> Transaction:
        transaction = self._by_id.get(transactional_id)
        if transaction is None:
            raise UnknownTransactionalIdError(
                f"no producer was initialized with transactional id {transactional_id!r}",
                transactional_id=transactional_id,
            )
        return transaction

    def _put(self, transaction: Transaction) -> None:
        key = transaction.transactional_id
        old, due = self._by_id.get(key), self._due.get(key)
        self._forget(key)
        self._by_id[key] = transaction
        self._by_producer[transaction.producer_id] = key
        if transaction.is_prepared:
            self._active[key], self._due[key] = transaction, 0.0
        elif transaction.is_ongoing:
            self._active[key] = transaction
            if due is None or old is None or not old.is_ongoing:  # it begins, or is opened again
                due = self._times_out(transaction)
            self._due[key] = due

    def _times_out(self, transaction: Transaction) -> float:
        left_ms = transaction.left_ms(self._clock.now_ms())
        return self._clock.monotonic() + left_ms / 1000

    def _forget(self, key: str) -> None:
        old = self._by_id.pop(key, None)
        self._active.pop(key, None)
        self._due.pop(key, None)
        if old is not None:
            del self._by_producer[old.producer_id]

    def _set(self, transaction: Transaction) -> Pending[None]:
        """Under the lock: in memory, and on its way to the disk."""
        self._put(transaction)
        key = transaction.transactional_id
        return self._write([(encode_key(key), encode_value(transaction))], key)

    def _write(self, records: Sequence[KeyValue], key: str) -> Pending[None]:
        if self._journal is None:
            self._journal = self._open_journal()
        return self._journal.append(records, key)

    def _refuse_if_ending(self, transactional_id: str) -> None:
        if transactional_id in self._ending:
            raise _busy(transactional_id)

    def _check_timeout(self, timeout_ms: int) -> None:
        limit = self._config.transaction_timeout_ms_max
        if not 0 < timeout_ms <= limit:
            raise InvalidTransactionTimeoutError(
                f"a transaction timeout is from 1 to {limit} ms "
                f"(transaction_timeout_ms_max), not {timeout_ms}",
                timeout_ms=timeout_ms,
                limit=limit,
            )


def check_transactional_id(transactional_id: str) -> None:
    """Raises InvalidRequestError."""
    try:
        size = len(transactional_id.encode("utf-8"))
    except UnicodeEncodeError:
        size = -1
    if not 0 < size <= TRANSACTIONAL_ID_LENGTH_MAX:
        raise InvalidRequestError(
            f"a transactional id is Unicode text of 1 to {TRANSACTIONAL_ID_LENGTH_MAX} bytes"
        )


def _unless_excused(error: LogStoreError, transaction: Transaction) -> LogStoreError | None:
    """A partition that failed takes no marker before it is recovered. An abort need not wait for
    that: what is open in it without a transaction is aborted then. One that is gone needs none."""
    if isinstance(error, UnknownTopicError):
        return None
    is_lasting = isinstance(error, StorageFailedError | CorruptDataError)
    return None if is_lasting and not transaction.is_commit else error


def _busy(transactional_id: str) -> ConcurrentTransactionsError:
    return ConcurrentTransactionsError(
        f"the transaction of {transactional_id!r} is being ended; try again",
        transactional_id=transactional_id,
    )


def _refuse_if_replaced(known: Transaction, expected: ProducerIdentity) -> None:
    if not known.may_go_on(expected):
        raise ProducerFencedError(
            f"transactional id {known.transactional_id!r} is producer {known.producer_id}, epoch "
            f"{known.epoch}; {expected.producer_id}, epoch {expected.producer_epoch}, is over",
            transactional_id=known.transactional_id,
            epoch=known.epoch,
        )


def _must_be_of(producer: ProducerIdentity, now: Transaction) -> None:
    if now.identity != producer:
        raise _busy(now.transactional_id)


def _must_be(then: Transaction, now: Transaction) -> None:
    """Another thread may have ended it, and begun the next, since it was found to be due."""
    if now != then:
        raise _busy(then.transactional_id)
