"""What a transaction costs beside the same appends without one: embedded, durable, in turn, in one
run. Prints medians of the ratios of time, and the flush rounds and syncs of each.

A transaction takes two rounds more than its appends do: for its decision and for its markers. The
record that it is complete waits for nobody. So one round of appends makes three at most.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from logstore.api import ProducerIdentity, TopicSpec
from logstore.record import encode_batch
from logstore.store import LocalLogStore

BATCH_RECORDS_MAX = 1000
VALUE = b"v" * 100
TURNS = 9
ROUNDS_MAX = 3


class Cost(NamedTuple):
    seconds: float
    rounds: int
    syncs: int


class Writer:
    """Writes so many records over the partitions of a topic, again and again."""

    def __init__(self, store: LocalLogStore, topic: str, *, records: int, partitions: int) -> None:
        self._store = store
        self._topic = topic
        self._partitions = partitions
        self._counts: list[tuple[int, int]] = []  # partition, records of a batch
        for partition in range(partitions):
            left = records // partitions + (partition < records % partitions)
            while left > 0:
                self._counts.append((partition, min(left, BATCH_RECORDS_MAX)))
                left -= self._counts[-1][1]
        store.create_topic(TopicSpec(topic, partitions))

    def batches(self, producer: ProducerIdentity | None) -> list[tuple[int, bytearray]]:
        made = []
        sequences = [0] * self._partitions
        for partition, count in self._counts:
            if producer is None:
                batch = encode_batch([VALUE] * count)
            else:
                batch = encode_batch(
                    [VALUE] * count,
                    producer_id=producer.producer_id,
                    producer_epoch=producer.producer_epoch,
                    base_sequence=sequences[partition],
                    is_transactional=True,
                )
                sequences[partition] += count
            made.append((partition, batch))
        return made

    def append(self, batches: list[tuple[int, bytearray]]) -> None:
        """Durable when it returns."""
        pending = [self._store.append(self._topic, *item) for item in batches]
        for answer in pending:
            answer.result()


def cost_of_plain(store: LocalLogStore, writer: Writer) -> Cost:
    batches = writer.batches(None)
    rounds, syncs, began = store._flusher.rounds, store._flusher.syncs, time.perf_counter()
    writer.append(batches)
    took = time.perf_counter() - began
    return Cost(took, store._flusher.rounds - rounds, store._flusher.syncs - syncs)


def cost_of_transaction(
    store: LocalLogStore, writer: Writer, producer: ProducerIdentity
) -> tuple[Cost, ProducerIdentity]:
    batches = writer.batches(producer)
    rounds, syncs, began = store._flusher.rounds, store._flusher.syncs, time.perf_counter()
    writer.append(batches)
    following = store.end_transaction("bench", producer, commit=True)
    took = time.perf_counter() - began
    return Cost(took, store._flusher.rounds - rounds, store._flusher.syncs - syncs), following


@pytest.mark.parametrize("partitions", [1, 10])
@pytest.mark.parametrize("records", [1, 100, 10_000])
def test_a_transaction_beside_the_same_appends(
    tmp_path: Path, records: int, partitions: int
) -> None:
    store = LocalLogStore.open(str(tmp_path / "store"))
    producer = store.init_producer("bench")
    bare = Writer(store, "plain", records=records, partitions=partitions)
    writer = Writer(store, "transactions", records=records, partitions=partitions)
    plain: list[Cost] = []
    ended: list[Cost] = []
    for _ in range(TURNS):
        store.run_flush()  # of the record that completed the last one
        plain.append(cost_of_plain(store, bare))
        cost, producer = cost_of_transaction(store, writer, producer)
        ended.append(cost)
    store.close()
    ratio = statistics.median(
        cost.seconds / base.seconds for cost, base in zip(ended, plain, strict=True)
    )
    print(
        f"\n{records} records to {min(records, partitions)} partitions: "
        f"{_middle(plain)} without, {_middle(ended)} in a transaction: {ratio:.2f} times"
    )
    assert max(cost.rounds for cost in ended) <= ROUNDS_MAX


def _middle(costs: list[Cost]) -> str:
    took = statistics.median(cost.seconds for cost in costs)
    rounds = statistics.median(cost.rounds for cost in costs)
    syncs = statistics.median(cost.syncs for cost in costs)
    return f"{1000 * took:.2f} ms ({rounds:g} rounds, {syncs:g} syncs)"
