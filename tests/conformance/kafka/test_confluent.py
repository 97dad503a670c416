"""confluent-kafka (librdkafka), with nothing but its bootstrap address set."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from logstore.api import FetchPosition
from logstore.record import CODEC_NAMES, iter_batches, parse_header

TIMEOUT_S = 20


def produce(address: str, values: list[bytes], topic: str = "t", **config: Any) -> list[int]:
    """Their offsets."""
    producer = Producer({"bootstrap.servers": address} | config)
    offsets: list[int] = []

    def stored(error, message) -> None:
        assert error is None, error
        offsets.append(message.offset())

    for number, value in enumerate(values):
        producer.produce(
            topic, value, key=b"k", headers=[("h", b"1")], timestamp=number + 1, on_delivery=stored
        )
    assert producer.flush(TIMEOUT_S) == 0
    return offsets


def consume(address: str, count: int, topic: str = "t", **config: Any) -> list[Any]:
    settings = {"bootstrap.servers": address, "group.id": "g", "enable.auto.commit": False}
    consumer = Consumer(settings | config)
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Any] = []
    while len(found) < count:
        messages = consumer.consume(count - len(found), TIMEOUT_S)
        assert messages, f"{len(found)} came"
        for message in messages:
            assert message.error() is None, message.error()
        found += messages
    consumer.close()
    return found


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("acks", ["all", "1"])
def test_it_reads_what_it_wrote(address: str, compression: str, acks: str) -> None:
    values = [b"%d" % number * 20 for number in range(1_000)]
    config: dict[str, Any] = {"compression.type": compression, "acks": acks, "linger.ms": 20}
    assert produce(address, values, **config) == list(range(1_000))
    found = consume(address, 1_000)
    assert [message.value() for message in found] == values
    assert [message.timestamp()[1] for message in found] == list(range(1, 1_001))
    assert found[0].key() == b"k"
    assert found[0].headers() == [("h", b"1")]


def test_compressed_batches_are_stored_compressed(server) -> None:
    """It compresses only if Produce is advertised from version 0."""
    config: dict[str, Any] = {"compression.type": "zstd", "linger.ms": 50}
    produce(server.kafka, [bytes(10_000)] * 20, **config)
    (info,) = server.store.describe_topics(["t"])
    assert info.partitions[0].size_bytes < 20_000


@pytest.mark.parametrize("asked", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("sent", ["none", "lz4", "zstd"])
def test_a_topic_has_its_own_codec(server, asked: str, sent: str) -> None:
    admin = AdminClient({"bootstrap.servers": server.kafka})
    topic = NewTopic("t", 1, config={"compression.type": asked})
    admin.create_topics([topic])["t"].result(TIMEOUT_S)
    values = [b"%d" % number * 20 for number in range(1_000)]
    config: dict[str, Any] = {"compression.type": sent, "enable.idempotence": True, "linger.ms": 20}
    assert produce(server.kafka, values, **config) == list(range(1_000))
    found = consume(server.kafka, 1_000)
    assert [message.value() for message in found] == values
    assert [message.timestamp()[1] for message in found] == list(range(1, 1_001))
    assert found[0].headers() == [("h", b"1")]
    position = FetchPosition("t", 0, 0, 1 << 20)
    with server.store.fetch([position], bytes_max=1 << 20, cold_ok=True) as stored:
        batches = list(iter_batches(stored.partitions[0].data))
        codecs = {CODEC_NAMES[parse_header(one).compression] for one in batches}
        del batches
    assert codecs == {"none" if asked == "uncompressed" else asked}


def test_offsets_by_time_and_watermarks(address: str) -> None:
    produce(address, [b"v"] * 10)
    consumer = Consumer({"bootstrap.servers": address, "group.id": "g"})
    part = TopicPartition("t", 0)
    assert consumer.get_watermark_offsets(part, TIMEOUT_S) == (0, 10)
    (found,) = consumer.offsets_for_times([TopicPartition("t", 0, 5)], TIMEOUT_S)
    assert found.offset == 4
    consumer.close()


def test_a_large_record(address: str) -> None:
    value = bytes(range(256)) * 20_000  # 5 MB
    config: dict[str, Any] = {"message.max.bytes": 8_000_000}
    assert produce(address, [value], **config) == [0]
    (found,) = consume(address, 1)
    assert found.value() == value


def test_a_record_that_is_too_large_is_told(address: str) -> None:
    producer = Producer({"bootstrap.servers": address, "message.max.bytes": 20_000_000})
    errors: list[Any] = []
    producer.produce("t", bytes(9_000_000), on_delivery=lambda error, _: errors.append(error))
    producer.flush(TIMEOUT_S)
    assert errors[0].name() == "MSG_SIZE_TOO_LARGE"


def test_metadata_of_the_cluster(address: str) -> None:
    produce(address, [b"v"])
    producer = Producer({"bootstrap.servers": address})
    metadata = producer.list_topics(timeout=TIMEOUT_S)
    assert [f"{one.host}:{one.port}" for one in metadata.brokers.values()] == [address]
    assert set(metadata.topics["t"].partitions) == {0}
