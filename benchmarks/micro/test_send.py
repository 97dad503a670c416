"""What producing costs: `send` the caller, a call; `send_many` until all is stored, a record.

    pytest benchmarks/micro/test_send.py --benchmark-enable

Against a store that answers every append at once and keeps nothing (the producer's own cost), and
against an embedded store (fsync'd log, the producer's thread and the disk at work beside the
caller). 100-byte values; linger and batch size as by default. The buffer takes all of a round, so
that no `send` waits for the store.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import logstore
from logstore.api import Appended, PartitionInfo, ProducerIdentity, TopicInfo
from logstore.client import Producer
from logstore.config import TOPIC_CONFIGS
from logstore.pending import Pending
from logstore.record import is_compiled

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

CALLS = 100_000
SEND_SECONDS_MAX = 3e-6
VALUE = b"%0100d" % 7
KEYS = [b"customer-%d" % (number % 1000) for number in range(CALLS)]
VALUES = [VALUE] * CALLS
PARTITIONS = 6


class Swallow:
    """Takes batches, keeps nothing."""

    def describe_topics(self, names: Any, *, include_internal: bool = False) -> list[TopicInfo]:
        partitions = tuple(PartitionInfo(n, "", 0, 0, 0, 0, 0) for n in range(PARTITIONS))
        configs = {key.name: key.default for key in TOPIC_CONFIGS.values()}
        return [TopicInfo(name, uuid.UUID(int=1), False, configs, {}, partitions) for name in names]

    def init_producer(self) -> ProducerIdentity:
        return ProducerIdentity(1, 0)

    def append(self, topic: str, partition: int, batch: Any, *, acks: Any) -> Pending[Appended]:
        return Pending.completed(Appended(0, 0, -1, 0, False))


@pytest.fixture(params=["swallowed", "embedded"])
def producer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Producer]:
    options: dict[str, Any] = {"buffer_bytes_max": 256 << 20}
    if request.param == "swallowed":
        with Producer(Swallow(), **options) as made:  # type: ignore[arg-type]
            yield made
    else:
        with logstore.open(tmp_path / "data") as store:
            store.create_topic("t", partitions=PARTITIONS)
            yield store.producer(**options)


def measure(benchmark: BenchmarkFixture, producer: Producer, work: Any, name: str) -> float:
    """Seconds a record, best of the rounds; between rounds everything is stored."""
    producer.send("t", VALUE).result()
    benchmark.pedantic(work, setup=lambda: producer.flush(), rounds=12, warmup_rounds=1)
    producer.flush()
    if benchmark.stats is None:  # benchmarks are disabled
        return 0.0
    where = "embedded" if "embedded" in (benchmark.name or "") else "swallowed"
    best, median = benchmark.stats.stats.min, benchmark.stats.stats.median
    print(
        f"\n{name} ({where}): {best / CALLS * 1e6:.2f} us a record, best of 12 (median "
        f"{median / CALLS * 1e6:.2f}), {CALLS / best / 1e6:.2f} M records/s"
    )
    return float(best / CALLS)


@pytest.mark.parametrize("keyed", [False, True], ids=["keyless", "keyed"])
def test_send(benchmark: BenchmarkFixture, producer: Producer, keyed: bool) -> None:
    def send_keyless() -> None:
        send = producer.send
        for value in VALUES:
            send("t", value)

    def send_keyed() -> None:
        send = producer.send
        for key in KEYS:
            send("t", VALUE, key)

    name = "send, with keys" if keyed else "send"
    seconds = measure(benchmark, producer, send_keyed if keyed else send_keyless, name)
    if is_compiled():
        assert seconds <= SEND_SECONDS_MAX


@pytest.mark.parametrize("keyed", [False, True], ids=["keyless", "keyed"])
def test_send_many(benchmark: BenchmarkFixture, producer: Producer, keyed: bool) -> None:
    keys = KEYS if keyed else None
    name = "send_many, with keys" if keyed else "send_many"

    def send_and_store() -> None:
        producer.send_many("t", VALUES, keys)
        producer.flush()

    measure(benchmark, producer, send_and_store, name)
