"""Real clients, with nothing but their bootstrap address set, produce and consume."""

from __future__ import annotations

import time

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from logstore.api import TopicSpec
from tests.server.in_process import InProcessServer

PART = TopicPartition("t", 0)


def log_end(server: InProcessServer) -> int:
    end: int = server.store.describe_topics(["t"])[0].partitions[0].log_end_offset
    return end


def test_kafka_python_goes_on_after_a_batch_without_acks_was_refused(
    server: InProcessServer,
) -> None:
    """The connection is closed; it comes again. What it sends until it sees that is lost, as it
    waits for no answer."""
    server.store.create_topic(TopicSpec("t", configs={"max.message.bytes": "1000"}))
    producer = KafkaProducer(
        bootstrap_servers=server.kafka, enable_idempotence=False, acks=0, linger_ms=0
    )
    try:
        producer.send("t", b"before").get(20)
        producer.send("t", bytes(5000)).get(20)
        deadline = time.monotonic() + 20
        while log_end(server) < 2:
            assert time.monotonic() < deadline
            producer.send("t", b"after").get(20)
    finally:
        producer.close()
    consumer = KafkaConsumer(bootstrap_servers=server.kafka, consumer_timeout_ms=10_000)
    try:
        consumer.assign([PART])
        consumer.seek_to_beginning(PART)
        assert [next(consumer).value for _ in range(2)] == [b"before", b"after"]
    finally:
        consumer.close()


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_kafka_python_reads_what_it_wrote(address: str, compression: str | None) -> None:
    producer = KafkaProducer(
        bootstrap_servers=address, enable_idempotence=False, compression_type=compression
    )
    try:
        for number in range(500):
            producer.send("t", b"%d" % number, key=b"k", headers=[("h", b"1")], timestamp_ms=number)
        producer.flush(20)
    finally:
        producer.close()
    consumer = KafkaConsumer(bootstrap_servers=address, consumer_timeout_ms=10_000)
    try:
        consumer.assign([PART])
        consumer.seek_to_beginning(PART)
        found = []
        for record in consumer:
            found.append((record.value, record.key, record.headers, record.timestamp))
            if len(found) == 500:
                break
        assert found == [(b"%d" % n, b"k", [("h", b"1")], n) for n in range(500)]
        assert consumer.end_offsets([PART]) == {PART: 500}
        assert consumer.offsets_for_times({PART: 250})[PART].offset == 250
    finally:
        consumer.close()
