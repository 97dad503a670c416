"""What confluent-kafka's clients claim in the ledger when things do not go their way."""

from __future__ import annotations

import socket
from array import array

import pytest
from confluent_kafka import TopicPartition

from tests.torture.checker import Claims, Stored, check_claims, check_log
from tests.torture.kafka_reading import differences
from tests.torture.kafka_traffic import Batches, KafkaWriter
from tests.torture.ledger import GIVEN_UP, GroupLedger, make_value
from tests.torture.traffic import stop


@pytest.mark.timeout(60)
def test_what_is_given_up_may_be_stored_or_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        writer = KafkaWriter(address, "events", 2, 7, delivery_seconds=0.5, pause=0.2)
        writer.start()
        while not writer.reasons:
            assert writer.error is None
            writer.join(0.05)
        stop([writer])
    assert writer.error is None
    assert writer.reasons == {"_MSG_TIMED_OUT"}
    assert set(writer.ledger.places) == {GIVEN_UP}
    claims = Claims([writer.ledger], GroupLedger(2), [0, 0])
    stored = Stored(2)
    assert not check_claims(claims, stored) + check_log([writer.ledger], stored)
    stored.add(0, 0, make_value(7, 0, 0))
    stored.add(1, 0, make_value(7, 3, 10))
    assert not check_claims(claims, stored) + check_log([writer.ledger], stored)


def test_what_was_polled_of_a_partition_that_is_gone_is_dropped() -> None:
    batches = Batches()
    batches.records = {0: [], 1: [], 2: []}
    batches.gone([TopicPartition("events", 1), TopicPartition("events", 5)])
    assert list(batches.records) == [0, 2]


def test_two_readings_of_one_topic() -> None:
    ours, theirs = Stored(2), Stored(2)
    for stored in (ours, theirs):
        stored.add(0, 0, make_value(1, 0, 5))
        stored.add(1, 3, make_value(1, 1, 5))
    assert not differences(ours, theirs)
    theirs.add(0, 1, make_value(1, 2, 5))  # we do not see it
    ours.add(1, 4, make_value(1, 3, 5))  # they do not
    ours.add(1, 6, make_value(1, 4, 5))
    found = differences(ours, theirs)
    assert [violation.kind for violation in found] == ["read differently"] * 2
    assert ours.identities[0] == array("q", [1 << 40])
