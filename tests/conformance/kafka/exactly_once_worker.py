"""Consume, transform, produce, as a program: `python -m ... ADDRESS`. Says each step on a line
and waits for one, so that it can be killed right there; ends when there is no more input."""

from __future__ import annotations

import sys

from confluent_kafka import Consumer, Producer, TopicPartition

TIMEOUT_S = 30.0
BATCH = 25
GROUP = "workers"


def say(step: str) -> None:
    print(step, flush=True)
    sys.stdin.readline()


def main(address: str, total: int) -> None:
    producer = Producer({"bootstrap.servers": address, "transactional.id": "worker"})
    producer.init_transactions(TIMEOUT_S)  # fences, and aborts what a dead worker left
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": GROUP,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    (committed,) = consumer.committed([TopicPartition("in", 0)], timeout=TIMEOUT_S)
    position = max(committed.offset, 0)
    consumer.assign([TopicPartition("in", 0, position)])
    while position < total:
        records = consumer.consume(BATCH, TIMEOUT_S)
        say("consumed")
        producer.begin_transaction()
        for record in records:
            assert record.error() is None, record.error()
            value = record.value()
            assert value is not None
            producer.produce("out", value.upper(), partition=0)
            position = (record.offset() or 0) + 1
        producer.flush(TIMEOUT_S)
        say("produced")
        offsets = [TopicPartition("in", 0, position)]
        metadata = consumer.consumer_group_metadata()
        producer.send_offsets_to_transaction(offsets, metadata, TIMEOUT_S)
        say("offsets sent")
        producer.commit_transaction(TIMEOUT_S)
        say("committed")
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
