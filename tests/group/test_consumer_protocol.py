"""Kafka's bytes of subscriptions and assignments, against the ones that its schemas make."""

from __future__ import annotations

import importlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.serial import entity_reader, entity_writer

from logstore.api import TopicPartition
from logstore.errors import InvalidRequestError
from logstore.group.consumer_protocol import (
    VERSION_MAX,
    ConsumerSubscription,
    decode_assignment,
    decode_subscription,
    encode_assignment,
    encode_subscription,
)

OWNED = (TopicPartition("t", 0), TopicPartition("t", 3), TopicPartition("ü", 1))
PARTITIONS = st.sets(st.builds(TopicPartition, st.sampled_from("tüv"), st.integers(0, 9)))
# version 1 | one topic "t" | no user data | owned: "t" [0, 3]
GOLDEN = bytes.fromhex("0001 00000001 0001 74 ffffffff 00000001 0001 74 00000002 00000000 00000003")


def schema(name: str, version: int):
    return importlib.import_module(f"kio.schema.{name}.v{version}.data")


def subscription(version: int) -> bytes:
    """As Kafka's schema has it."""
    module = schema("consumer_protocol_subscription", version)
    values: dict[str, object] = {"topics": ("t", "u"), "user_data": b"data"}
    if version >= 1:
        values["owned_partitions"] = tuple(
            module.TopicPartition(topic=topic, partitions=numbers)
            for topic, numbers in (("t", (0, 3)), ("ü", (1,)))
        )
    if version >= 2:
        values["generation_id"] = 7
    if version >= 3:
        values["rack_id"] = "rack"
    entity = module.ConsumerProtocolSubscription
    buffer = BytesIO()
    entity_writer(entity)(buffer, entity(**values))
    return version.to_bytes(2, "big") + buffer.getvalue()


@pytest.mark.parametrize("version", range(VERSION_MAX + 1))
def test_every_version_of_a_subscription_is_read(version):
    found = decode_subscription(subscription(version))
    assert found == ConsumerSubscription(version, ("t", "u"), OWNED if version else ())


def test_a_later_version_is_read_as_the_last_known():
    data = (VERSION_MAX + 5).to_bytes(2, "big") + subscription(VERSION_MAX)[2:] + b"more"
    assert decode_subscription(data) == ConsumerSubscription(VERSION_MAX, ("t", "u"), OWNED)


def test_a_version_1_without_its_end_owns_nothing():
    assert decode_subscription(GOLDEN[:13]) == ConsumerSubscription(1, ("t",))


def test_golden_bytes():
    assert encode_subscription(["t"], OWNED[:2]) == GOLDEN
    assert encode_assignment(OWNED[1::-1], version=2) == bytes.fromhex(
        "0002 00000001 0001 74 00000002 00000000 00000003 ffffffff"
    )


@pytest.mark.parametrize("version", range(VERSION_MAX + 1))
def test_the_schema_reads_our_assignments(version):
    data = encode_assignment(OWNED, version=version)
    entity = schema("consumer_protocol_assignment", version).ConsumerProtocolAssignment
    value, size = entity_reader(entity)(data, 2)
    assert size == len(data) - 2
    found = {
        (item.topic, number) for item in value.assigned_partitions for number in item.partitions
    }
    assert (found, value.user_data) == (set(OWNED), None)


@given(PARTITIONS, st.sets(st.text(max_size=5)), st.integers(0, 3))
def test_round_trip(partitions, topics, version):
    assert set(decode_assignment(encode_assignment(partitions, version=version))) == partitions
    found = decode_subscription(encode_subscription(topics, partitions))
    assert found.topics == tuple(sorted(topics))
    assert set(found.owned) == partitions


def test_no_bytes_are_no_partitions():
    assert decode_assignment(b"") == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff\xff" + GOLDEN[2:],
        b"\x00\x00\x7f\xff\xff\xff",  # two billion topics
        b"\x00\x00\xff\xff\xff\xff",
        b"\x00\x00\x00\x00\x00\x01\xff\xff",  # a name of -1 bytes
        b"\x00\x00\x00\x00\x00\x01\x00\x01\xff",  # no UTF-8
        b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xfe",  # user data of -2 bytes
        GOLDEN[:-1],
    ],
)
def test_what_is_no_subscription_is_refused(data):
    with pytest.raises(InvalidRequestError):
        decode_subscription(data)


@pytest.mark.parametrize(
    "data", [b"\x00", b"\xff\xff\x00\x00\x00\x00", b"\x00\x00\x00\x00\x00\x01"]
)
def test_what_is_no_assignment_is_refused(data):
    with pytest.raises(InvalidRequestError):
        decode_assignment(data)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data):
    for decode in (decode_subscription, decode_assignment):
        try:
            decode(data)
        except InvalidRequestError:
            continue
