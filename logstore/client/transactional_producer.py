"""A producer whose records are seen together or never: transactions over many partitions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from logstore.api import TRANSACTION_TIMEOUT_MS, LogStore, OffsetToCommit
from logstore.client.consumer import GroupOffsets
from logstore.client.producer import Producer
from logstore.client.transaction import TransactionSession
from logstore.clock import SystemClock
from logstore.errors import InvalidRequestError, InvalidTransactionStateError, LogStoreError


class TransactionalProducer(Producer):
    """A Producer that sends in transactions (KIP-98); `options` are those of Producer.

        with producer.transaction():
            for record in consumer.poll():
                producer.send("out", work(record.value))
            producer.send_offsets(consumer.group_offsets())

    `transactional_id` names it over its restarts: making it fences the last producer of that id
    and aborts what that left open. A transaction that is open for longer than
    `transaction_timeout` seconds is aborted by the store, and this producer fenced. Readers see
    the records once they are committed. Thread-safe, with one transaction at a time.
    """

    _session: TransactionSession

    def __init__(
        self,
        store: LogStore,
        transactional_id: str,
        *,
        transaction_timeout: float = TRANSACTION_TIMEOUT_MS / 1000,
        **options: Any,
    ) -> None:
        """Raises as LogStore.init_producer does, and InvalidRequestError for options that do not
        go with transactions."""
        if options.get("acks", "all") not in ("all", -1) or not options.get("idempotent", True):
            raise InvalidRequestError("transactions need acks='all' and idempotent=True")
        self._session = TransactionSession(
            store,
            transactional_id,
            timeout_ms=round(transaction_timeout * 1000),
            retry_seconds=options.get("delivery_timeout", 120.0),
            clock=options.get("clock") or SystemClock(),
        )
        super().__init__(store, **options)

    def begin_transaction(self) -> None:
        """What is sent from here on is seen by readers when it is committed, or never.

        Raises InvalidTransactionStateError if one is open, ProducerFencedError.
        """
        session = self._session
        with self._lock:
            session.begin()
            for state in self._topics.values():
                for queue in state.queues:
                    queue.renew(session.identity)

    def send_offsets(self, offsets: GroupOffsets) -> None:
        """Commit how far a group has read with the transaction: see Consumer.group_offsets.

        Durable when it returns, and counts when the transaction is committed. Raises as
        Consumer.commit does, ProducerFencedError, InvalidTransactionStateError.
        """
        session = self._session
        with self._lock:
            session.check_open()
            session.has_work = True
        if offsets.offsets:
            session.run(
                lambda: self._store.commit_offsets_in_transaction(
                    session.transactional_id,
                    session.identity,
                    offsets.group_id,
                    [OffsetToCommit(*part, offset) for part, offset in offsets.offsets.items()],
                    member_id=offsets.member_id,
                    member_epoch=offsets.member_epoch,
                )
            )

    def commit_transaction(self, timeout: float | None = None) -> None:
        """Send what is left, wait for it, and commit: durable and to be seen when it returns.

        Raises InvalidTransactionStateError if a record was given up (abort then),
        ProducerFencedError, RequestTimeoutError when not all is stored within `timeout` seconds.
        """
        session = self._session
        with self._lock:
            session.check_open()
            session.begin_end()
        try:
            self.flush(timeout)
            with self._lock:
                session.check_whole()
            self._end(session, commit=True)
        finally:
            with self._lock:
                session.reopen()

    def abort_transaction(self) -> None:
        """What was sent since begin_transaction will never be seen; what was not on its way yet
        is given up. Raises InvalidTransactionStateError if none is open, ProducerFencedError."""
        session = self._session
        with self._lock:
            session.check_abortable()
            session.begin_end()
            dropped = [batch for queue in self._active.values() for batch in queue.drop_unsent()]
        try:
            for batch in dropped:
                self._finish(batch, InvalidTransactionStateError("the transaction was aborted"))
            self.flush()
            self._end(session, commit=False)
        finally:
            with self._lock:
                session.reopen()

    def _end(self, session: TransactionSession, *, commit: bool) -> None:
        identity = session.identity
        if session.has_work:
            identity = session.run(
                lambda: self._store.end_transaction(
                    session.transactional_id, session.identity, commit=commit
                )
            )
        with self._lock:
            session.ended(identity)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[TransactionalProducer]:
        """A transaction for a with block: committed at its end, aborted if it raises."""
        self.begin_transaction()
        try:
            yield self
        except BaseException:
            with contextlib.suppress(LogStoreError):  # the block's own error is the one to see
                self.abort_transaction()
            raise
        try:
            self.commit_transaction()
        except InvalidTransactionStateError:
            with contextlib.suppress(LogStoreError):
                self.abort_transaction()
            raise

    def close(self, timeout: float | None = None) -> None:
        """Abort what is open, stop. Idempotent. See Producer.close."""
        if not self.closed and self._session.is_abortable:
            with contextlib.suppress(LogStoreError):  # the store aborts it after its timeout
                self.abort_transaction()
        super().close(timeout)
