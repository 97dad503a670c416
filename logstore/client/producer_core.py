"""What a producer has to send, in what order, and what becomes of failures: no I/O, no threads.

A partition's batches go through

    filling -> ready -> in flight -> done
                 ^          |
                 +- retry <-+   a failure that may pass: once nothing of the partition is in
                                flight any more, all that failed go to the front in their old order

Invariants
- The records of a partition are sent in the order in which they were added, and sent again in it.
- An idempotent batch keeps producer id, epoch and sequence until it is known whether it is
  stored. After a batch was given up the sequence has a gap and the partition goes on under a new
  producer id; but first what was sent under the old one is tried again under it: some may be
  stored already, and the log says OutOfOrderSequence of the others.
- Without idempotence at most one batch of a partition is in flight, so a retry cannot overtake.
- `buffered_bytes` counts every batch that is not done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from logstore.api import Acks, Appended, ProducerIdentity
from logstore.errors import (
    DuplicateSequenceError,
    LogStoreError,
    OutOfOrderSequenceError,
    RequestTimeoutError,
)
from logstore.pending import Pending
from logstore.record import BatchBuilder

SEQUENCES = 1 << 31
IN_FLIGHT_IDEMPOTENT = 5  # batches of one producer and partition that a log remembers


@dataclass(frozen=True, slots=True)
class ProducerSettings:
    """Times in seconds."""

    acks: Acks = Acks.ALL
    compression: str = "none"
    batch_bytes: int = 256 << 10
    linger: float = 0.002
    delivery_timeout: float = 120.0  # after its linger
    retry_backoff: float = 0.05
    retry_backoff_max: float = 1.0
    idempotent: bool = True
    is_transactional: bool = False

    @property
    def in_flight_max(self) -> int:
        return IN_FLIGHT_IDEMPOTENT if self.idempotent else 1


class Batch:
    """Records of one partition on their way. `pending` ends when they are stored or given up."""

    __slots__ = (
        "builder",
        "charge",
        "data",
        "deadline",
        "identity",
        "linger_until",
        "number",
        "pending",
        "queue",
        "record_count",
        "sequence",
        "tries",
    )

    def __init__(self, queue: PartitionQueue, builder: BatchBuilder, now: float) -> None:
        settings = queue.settings
        self.queue = queue
        self.number = queue.next_number()
        self.builder: BatchBuilder | None = builder
        self.data: bytearray | None = None  # once built: what is sent, and sent again
        self.record_count = 0
        self.charge = 0  # bytes it counts for in the buffer
        self.identity: ProducerIdentity | None = None
        self.sequence = 0
        self.tries = 0
        self.linger_until = now + settings.linger
        self.deadline = self.linger_until + settings.delivery_timeout
        self.pending: Pending[Appended] = Pending()


@dataclass(slots=True, eq=False)
class PartitionQueue:
    """One partition's batches. Owned by the producer, used under its lock."""

    topic: str
    partition: int
    settings: ProducerSettings
    batch_bytes: int
    expedite: Callable[[Batch], None]  # have a batch sent without lingering
    filling: Batch | None = None
    ready: deque[Batch] = field(default_factory=deque)
    in_flight: dict[Batch, None] = field(default_factory=dict)
    failed: list[Batch] = field(default_factory=list)
    wait_until: float = 0.0  # back-off after a failure
    identity: ProducerIdentity | None = None
    needs_identity: bool = True
    next_sequence: int = 0
    opened: int = 0

    def next_number(self) -> int:
        """Batches are numbered in the order of their records."""
        self.opened += 1
        return self.opened

    @property
    def is_idle(self) -> bool:
        return not (self.filling or self.ready or self.in_flight or self.failed)

    @property
    def is_renewal_due(self) -> bool:
        """Whether a producer id has to be got before anything is sent."""
        return self._awaits_identity and not self.in_flight

    @property
    def _is_too_far_ahead(self) -> bool:
        """Whether the log would not remember the oldest batch in flight any more if the next one
        were stored too. So it bounds what is in flight, and what is stored beside a retry."""
        following = self.ready[0] if self.ready else self.filling
        if not self.in_flight or following is None:
            return False
        oldest = next(iter(self.in_flight))  # they are taken in order
        return following.number - oldest.number >= self.settings.in_flight_max

    @property
    def _awaits_identity(self) -> bool:
        """Whether the next batch cannot be sent under the producer id there is. If it was not
        stored under an earlier one, nor were those behind it."""
        if not (self.settings.idempotent and self.needs_identity):
            return False
        return not self.ready or self.ready[0].identity is None

    def open_batch(self, now: float) -> Batch:
        builder = BatchBuilder(
            compression=self.settings.compression, batch_bytes_max=self.batch_bytes
        )
        self.filling = Batch(self, builder, now)
        return self.filling

    def seal(self) -> Batch | None:
        """No more records into the filling batch; returns it."""
        batch, self.filling = self.filling, None
        if batch is not None and batch.builder is not None:
            batch.record_count = batch.builder.record_count
            self.ready.append(batch)
        return batch

    def due(self, now: float) -> float | None:
        """When there is something to do for the partition next; None: not before an event."""
        if self.failed or self._is_too_far_ahead:
            return None
        if self._awaits_identity and self.in_flight:
            return None
        if self.ready:
            return max(self.wait_until, now)
        if self.filling is not None:
            return max(self.filling.linger_until, self.wait_until)
        return None

    def take(self, now: float) -> Batch | None:
        """The batch to send now, which is then in flight; None if there is none."""
        due = self.due(now)
        if due is None or due > now or self.is_renewal_due:
            return None
        if not self.ready:
            self.seal()
        batch = self.ready.popleft()
        self.in_flight[batch] = None
        if self.settings.idempotent and batch.identity is None:
            batch.identity, batch.sequence = self.identity, self.next_sequence
            self.next_sequence = (self.next_sequence + batch.record_count) % SEQUENCES
        return batch

    @property
    def expires_at(self) -> float | None:
        """When the oldest batch that waits to be sent is out of time; None: not before an event."""
        if self.in_flight or self.failed:
            return None
        oldest = self.ready[0] if self.ready else self.filling
        return None if oldest is None else oldest.deadline

    def expired(self, now: float) -> Iterator[Batch]:
        """Batches that wait to be sent and are out of time, oldest first; they are taken out."""
        if self.in_flight or self.failed:
            return
        if self.filling is not None and self.filling.deadline <= now:
            self.seal()
        while self.ready and self.ready[0].deadline <= now:
            batch = self.ready.popleft()
            self.gave_up(batch)
            yield batch

    def succeeded(self, batch: Batch) -> None:
        del self.in_flight[batch]
        self.wait_until = 0.0
        self._requeue()

    def failure(self, batch: Batch, error: LogStoreError, now: float) -> LogStoreError | None:
        """The sending failed: None if it will be tried again, else what to tell the user."""
        del self.in_flight[batch]
        if batch.identity is not None and isinstance(error, DuplicateSequenceError):
            verdict: LogStoreError | None = error  # stored, but nobody knows where any more
        elif error.retriable or self._is_gap_explained(batch, error):
            verdict = None
            if isinstance(error, OutOfOrderSequenceError) and self.needs_identity:
                batch.identity = None  # not stored, and never will be under this identity
            if now < batch.deadline:
                self._schedule(batch, now)
                self.failed.append(batch)
            else:
                verdict = RequestTimeoutError(
                    f"{self.topic}-{self.partition}: not stored within "
                    f"{self.settings.delivery_timeout} s; last error: {error}",
                    topic=self.topic,
                    partition=self.partition,
                )
        else:
            verdict = error
        if verdict is not None:
            self.gave_up(batch)
        self._requeue()
        return verdict

    def gave_up(self, batch: Batch) -> None:
        """The batch will not be stored: its sequence numbers stay a gap."""
        if batch.identity is not None and batch.identity == self.identity:
            self.needs_identity = True

    def renew(self, identity: ProducerIdentity) -> None:
        """Go on as another producer; nothing is in flight, and nothing that waits is stored."""
        self.identity = identity
        self.needs_identity = False
        self.next_sequence = 0
        for batch in self.ready:
            batch.identity = None

    def drop_unsent(self) -> list[Batch]:
        """Give up what is not on its way; the batches, oldest first."""
        self.seal()
        dropped = list(self.ready)
        self.ready.clear()
        for batch in dropped:
            self.gave_up(batch)
        return dropped

    def _is_gap_explained(self, batch: Batch, error: LogStoreError) -> bool:
        """What was sent behind a batch that failed, or whose answer is not here yet, finds a gap.
        It is right again after that one, or, if that one was given up, under a new producer id."""
        return isinstance(error, OutOfOrderSequenceError) and (
            bool(self.failed)
            or self.needs_identity
            or any(other.number < batch.number for other in self.in_flight)
        )

    def _schedule(self, batch: Batch, now: float) -> None:
        batch.tries += 1
        settings = self.settings
        backoff = min(
            settings.retry_backoff * 2 ** min(batch.tries - 1, 10), settings.retry_backoff_max
        )
        self.wait_until = max(self.wait_until, now + backoff)

    def _requeue(self) -> None:
        """When nothing is in flight, what failed goes before what waits, in its old order."""
        if self.failed and not self.in_flight:
            self.failed.sort(key=lambda batch: batch.number)
            self.ready.extendleft(reversed(self.failed))
            self.failed = []
