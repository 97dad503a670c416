"""`python -m tests.conformance.suites.import_node`: a real broker's directories are taken over.

A Kafka node is filled: every compression, headers, null keys and values, transactions kept and
dropped and one left open, a compacted topic cleaned by Kafka's own cleaner, deleted records,
committed offsets with and without a transaction. What its consumers read is noted, record by
record; the node is stopped, its log directory adopted, and the same client reads from logstore.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from logstore.adopt import Adoption, adopt
from logstore.fs import RealFileSystem
from logstore.store import LocalLogStore
from logstore.verify import verify_store
from logstore_server.config import KafkaConfig
from tests.conformance.suites import sources
from tests.conformance.suites.kafka_node import KafkaNode
from tests.server.in_process import InProcessServer

WAIT_S = 60.0
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
PARTITIONS = 3
CLEANED_KEYS = 10
GROUP = "kept"
LEFT_OPEN = ("txn", 1)  # where a transaction was open: the record and its marker come after
TOPICS = {
    "plain": {"segment.bytes": "1048576", "retention.ms": "-1"},  # its timestamps are old
    "txn": {"retention.ms": "-1"},
    "compacted": {
        "cleanup.policy": "compact",
        "segment.bytes": "1048576",
        "segment.ms": "500",
        "min.cleanable.dirty.ratio": "0.001",
    },
}


class Seen(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[object, ...]


class State(NamedTuple):
    """What a client sees: records by partition, (start, end) of each for readers of committed
    records, and the committed offsets with their metadata."""

    records: Mapping[tuple[str, int], tuple[Seen, ...]]
    bounds: Mapping[tuple[str, int], tuple[int, int]]
    committed: tuple[tuple[str, int, int, str | None], ...]


def parts() -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS)]


def look(address: str) -> State:
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "look",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    records: dict[tuple[str, int], tuple[Seen, ...]] = {}
    bounds: dict[tuple[str, int], tuple[int, int]] = {}
    try:
        for part in parts():
            place = (part.topic, part.partition)
            bounds[place] = consumer.get_watermark_offsets(part, timeout=WAIT_S)
            part.offset = bounds[place][0]
            consumer.assign([part])
            records[place] = tuple(_until_end(consumer))
    finally:
        consumer.close()
    return State(records, bounds, _committed(address))


def _committed(address: str) -> tuple[tuple[str, int, int, str | None], ...]:
    consumer = Consumer({"bootstrap.servers": address, "group.id": GROUP})
    try:
        found = consumer.committed(parts(), timeout=WAIT_S)
        return tuple((one.topic, one.partition, one.offset, one.metadata) for one in found)
    finally:
        consumer.close()


def _until_end(consumer: Consumer) -> list[Seen]:
    found: list[Seen] = []
    while True:
        record = consumer.poll(WAIT_S)
        if record is None:
            raise AssertionError(f"nothing comes after {len(found)} records")
        error = record.error()
        if error is not None:
            if error.code() == -191:  # _PARTITION_EOF
                return found
            raise AssertionError(str(error))
        found.append(
            Seen(
                record.offset() or 0,
                record.timestamp()[1],
                record.key(),
                record.value(),
                tuple(record.headers() or ()),
            )
        )


def fill(address: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    topics = [NewTopic(name, PARTITIONS, 1, config=dict(config)) for name, config in TOPICS.items()]
    for made in admin.create_topics(topics).values():
        made.result(WAIT_S)
    for compression in COMPRESSIONS:
        producer = Producer({"bootstrap.servers": address, "compression.type": compression})
        for number in range(600):
            _produce(producer, "plain", number, compression)
        producer.flush(WAIT_S)
    deleted = admin.delete_records([TopicPartition("plain", 0, 50)])
    for one in deleted.values():
        one.result(WAIT_S)
    _transactions(address)
    _compact(address)


def _produce(producer: Producer, topic: str, number: int, note: str) -> None:
    producer.produce(
        topic,
        None if number % 17 == 0 else f"{note} {number} ".encode() * 20,
        None if number % 13 == 0 else b"key-%d" % number,
        partition=number % PARTITIONS,
        headers=[("h", b"%d" % number), ("none", None)] if number % 5 == 0 else [],
        timestamp=1_700_000_000_000 + number * 7,
    )


def _transactions(address: str) -> None:
    def begin(name: str) -> Producer:
        producer = Producer({"bootstrap.servers": address, "transactional.id": name})
        producer.init_transactions(WAIT_S)
        producer.begin_transaction()
        return producer

    consumer = Consumer({"bootstrap.servers": address, "group.id": GROUP})
    producer = begin("x")
    for turn in range(6):
        for number in range(20):
            _produce(producer, "txn", number, f"turn {turn}")
        offsets = [TopicPartition("plain", 1, 10 + turn)]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), WAIT_S)
        if turn % 2:
            producer.abort_transaction(WAIT_S)
        else:
            producer.commit_transaction(WAIT_S)
        producer.begin_transaction()
    consumer.commit(offsets=[TopicPartition("plain", 2, 33, "note")], asynchronous=False)
    consumer.close()
    left_open = begin("open")
    _produce(left_open, "txn", 1, "never seen")
    left_open.flush(WAIT_S)


def _compact(address: str) -> None:
    """Until Kafka's cleaner has taken records away."""
    producer = Producer({"bootstrap.servers": address})
    deadline = time.monotonic() + 3 * WAIT_S
    turn = 0
    while time.monotonic() < deadline:
        for number in range(200):
            key = b"key-%d" % (number % CLEANED_KEYS)
            producer.produce("compacted", b"%d-%d" % (turn, number), key, partition=number % 3)
        producer.flush(WAIT_S)
        turn += 1
        seen = look(address)
        kept = sum(len(seen.records["compacted", number]) for number in range(PARTITIONS))
        if kept < turn * 200:
            return
        time.sleep(2)
    raise AssertionError("Kafka's cleaner did nothing")


def problems(before: State, after: State, adoption: Adoption) -> list[str]:
    found = []
    for place, records in before.records.items():
        if after.records[place] != records:
            found.append(f"{place}: {len(records)} records, then {len(after.records[place])}")
        start, end = before.bounds[place]
        end += 2 if place == LEFT_OPEN else 0
        if after.bounds[place] != (start, end):
            found.append(f"{place}: bounds {(start, end)}, then {after.bounds[place]}")
    if after.committed != before.committed:
        found.append(f"committed offsets: {before.committed}, then {after.committed}")
    if {offset for _, _, offset, _ in after.committed} != {14, 33, -1001}:
        found.append(f"committed offsets: {after.committed}")
    if len(adoption.notes) != 1 or "was open and was aborted" not in adoption.notes[0]:
        found.append(f"notes: {adoption.notes}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.suites.import_node")
    parser.add_argument("--build", type=Path, default=Path("build/conformance"))
    options = parser.parse_args()
    libs = sources.kafka(options.build.resolve()) / "libs"
    with tempfile.TemporaryDirectory() as folder:
        node = KafkaNode(libs, Path(folder) / "kafka", {"log.cleaner.backoff.ms": "500"})
        node.start()
        try:
            fill(node.bootstrap)
            before = look(node.bootstrap)
        finally:
            node.stop()
        directory = f"{folder}/store"
        fs = RealFileSystem()
        store = LocalLogStore.open(directory)
        adoption = adopt(store, fs, [f"{folder}/kafka/data"])
        store.close()
        report = verify_store(fs, directory)
        store = LocalLogStore.open(directory)
        with InProcessServer(store, kafka=KafkaConfig(port=0)) as server:
            after = look(server.kafka)
        found = problems(before, after, adoption)
        store.close()
    found += [f"verify: {damage}" for damage in report.damages]
    return _say(before, found)


def _say(before: State, found: list[str]) -> int:
    records = sum(len(items) for items in before.records.values())
    for problem in found:
        print(problem)
    print(f"import: {records} records in {len(before.records)} partitions, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
