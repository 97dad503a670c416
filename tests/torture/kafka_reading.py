"""All that a topic holds, as confluent-kafka reads it: the readings over gRPC must be the same."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.torture.asking import READ_SECONDS_MAX
from tests.torture.checker import Stored
from tests.torture.kafka_traffic import COMMON, offset_of, partition_of
from tests.torture.ledger import Violation, name_of


def read_all(address: str, topic: str, partitions: int) -> Stored:
    """Committed records, to the end of each partition. Raises AssertionError if it takes long."""
    stored = Stored(partitions)
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "reading",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            **COMMON,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, part, 0) for part in range(partitions)])
        deadline = time.monotonic() + READ_SECONDS_MAX
        left = set(range(partitions))
        while left:
            if time.monotonic() > deadline:
                raise AssertionError(f"{topic} is not read to the ends of {left}")
            message = consumer.poll(1.0)
            if message is None:
                continue
            error = message.error()
            if error is None:
                stored.add(partition_of(message), offset_of(message), message.value())
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(partition_of(message))
            else:
                raise KafkaException(error)
    finally:
        consumer.close()
    return stored


def differences(ours: Stored, theirs: Stored) -> list[Violation]:
    """Between two readings of one topic that nobody writes to; the first difference of each
    partition."""
    violations = list(theirs.violations)
    for partition, mine in enumerate(ours.identities):
        other = theirs.identities[partition]
        for offset in range(max(len(mine), len(other))):
            one, two = ours.at(partition, offset), theirs.at(partition, offset)
            if one != two:
                there = f"{partition}@{offset}: over gRPC {name_of(one)}, over Kafka {name_of(two)}"
                violations.append(Violation("read differently", there))
                break
    return violations
