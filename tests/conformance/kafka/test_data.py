"""Real clients, with nothing but their bootstrap address set, produce and consume."""

from __future__ import annotations

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

PART = TopicPartition("t", 0)


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
