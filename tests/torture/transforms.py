"""Consume, transform, produce in transactions: each source record is copied exactly once, in order.

Each partition of the source is copied to the partition of the same number. So at any time what a
reader of committed records finds there is the beginning of the source, as far as the group's
committed offset at least: anything else is a violation. Some transactions are aborted on purpose
after they have sent records of a writer that nobody may ever see.
"""

from __future__ import annotations

import random
from collections import Counter

import logstore
from logstore.client.consumer import Consumer
from logstore.client.transactional_producer import TransactionalProducer
from logstore.errors import LogStoreError
from tests.torture.checker import Stored
from tests.torture.ledger import NUMBER_BITS, UNKNOWN, Violation, make_value, name_of
from tests.torture.traffic import MOVED_ON, Client

GROUP = "transformers"
ABORTED_WRITER = 77_777
ABORTED_SHARE = 0.15
# Why a transaction may end without the transformer's doing, when the server is killed under it or
# its clock jumps.
ENDED = MOVED_ON | {
    "INVALID_TRANSACTION_STATE",
    "PRODUCER_FENCED",
    "UNKNOWN_TRANSACTIONAL_ID",  # it was forgotten: the clock says that it is that long ago
}


class Transformer(Client):
    """One member of the group with a transactional id of its own."""

    def __init__(
        self, address: str, source: str, target: str, number: int, seed: int, *, life: int = 150
    ) -> None:
        super().__init__(f"transformer-{number}", address)
        self.counts: Counter[str] = Counter()  # commits, aborts, and errors by their reason
        self.copied: dict[int, int] = {}  # by partition: the offset up to which it has
        self._source = source
        self._target = target
        self._transactional_id = f"transform-{number}"
        self._random = random.Random(seed + number)
        self._life = life  # transactions until producer and consumer are made anew
        self._poison = number << 32  # the next number of a record that nobody may see

    def work(self) -> None:
        with logstore.connect(self.address, config=self.config) as store:
            while not self.stopping.is_set():
                try:
                    self._live(store)
                except LogStoreError as error:
                    self.met(error)
                    self.counts[error.reason] += 1
                    if not error.retriable and error.reason not in ENDED:
                        raise
                    self.stopping.wait(0.05)

    def _live(self, store: logstore.Store) -> None:
        """Until its life is over, or a transaction fails: positions then start anew."""
        with (
            store.transactional_producer(self._transactional_id, linger_ms=1) as producer,
            store.consumer(
                self._source,
                group=GROUP,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout=5.0,
            ) as consumer,
        ):
            for _ in range(self._life):
                if self.stopping.is_set():
                    return
                self._step(producer, consumer)

    def _step(self, producer: TransactionalProducer, consumer: Consumer) -> None:
        parts = consumer.poll_batch(0.2)
        if not parts:
            return
        is_doomed = self._random.random() < ABORTED_SHARE
        if is_doomed:
            with_poison = self._random.choice(parts)
        try:
            with producer.transaction():
                for part in parts:
                    for record in part.records:
                        producer.send(self._target, record.value, partition=part.partition)
                producer.send_offsets(consumer.group_offsets())
                if is_doomed:
                    self._poison += 1
                    value = make_value(ABORTED_WRITER, self._poison, 50)
                    producer.send(self._target, value, partition=with_poison.partition)
                    producer.flush()
                    raise _OnPurpose
        except _OnPurpose:
            self.counts["aborts"] += 1
            for part in parts:
                consumer.seek(part.topic, part.partition, part.records[0].offset)
        else:
            self.counts["transactions"] += 1
            for part in parts:
                self.copied[part.partition] = part.records[-1].offset + 1


class _OnPurpose(Exception):
    """Ends a transaction that is to be aborted."""


def check_copies(copies: Stored, source: Stored, committed: list[int]) -> list[Violation]:
    """`committed`: of the group, asked first; `copies`: committed records, read before `source`."""
    violations = list(copies.violations)
    for partition, end in enumerate(committed):
        original = source.identities[partition]
        expected = [identity for identity in original if identity != UNKNOWN]
        wanted = sum(1 for identity in original[:end] if identity != UNKNOWN)
        found = [identity for identity in copies.identities[partition] if identity != UNKNOWN]
        where = f"copies-{partition}"
        counts = Counter(found)
        for identity, count in counts.items():
            if identity >> NUMBER_BITS == ABORTED_WRITER:
                violations.append(Violation("aborted record read", f"{where}: {name_of(identity)}"))
            elif count > 1:
                violations.append(
                    Violation("duplicated", f"{where}: {name_of(identity)} is there {count} times")
                )
        missing = [identity for identity in expected[:wanted] if identity not in counts]
        violations.extend(
            Violation("lost", f"{where}: {end} is committed, {name_of(identity)} is not there")
            for identity in missing
        )
        if not missing and len(counts) == len(found):
            at = next(
                (n for n, one in enumerate(found) if expected[n : n + 1] != [one]), len(found)
            )
            if at < len(found):
                kind = "reordered" if found[at] in expected else "phantom"
                violations.append(Violation(kind, f"{where}: record {at} is {name_of(found[at])}"))
    return violations
