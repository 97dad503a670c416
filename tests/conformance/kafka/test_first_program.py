"""Issue 4, Shows 2: the program that people write first, with nothing changed but the address."""

from __future__ import annotations

import json
import warnings

from kafka import KafkaConsumer, KafkaProducer

EVENTS = [{"user": f"u{number}", "action": "click", "number": number} for number in range(50)]


def test_the_first_program(address: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # functions for serializers
        producer = KafkaProducer(
            bootstrap_servers=address,
            value_serializer=lambda v: json.dumps(v).encode("utf-8"),
            acks="all",
            retries=3,
        )
        consumer = KafkaConsumer(
            "user_events",
            bootstrap_servers=address,
            group_id="analytics_group",
            value_deserializer=lambda m: json.loads(m.decode("utf-8")),
            auto_offset_reset="earliest",
        )
    for event in EVENTS:
        producer.send("user_events", value=event)
    producer.flush()

    seen = []
    for message in consumer:
        seen.append(message.value)
        if len(seen) == len(EVENTS):
            break
    assert seen == EVENTS
    producer.close()
    consumer.close()
