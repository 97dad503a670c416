"""Invariant: what a member says of itself is read or refused; what is read makes the same again."""

from __future__ import annotations

from logstore.api import TopicPartition
from logstore.errors import InvalidRequestError
from logstore.group.consumer_protocol import (
    decode_assignment,
    decode_subscription,
    encode_assignment,
    encode_subscription,
)
from tests.fuzz.target import Target, promised, require

OWNED = (TopicPartition("t", 0), TopicPartition("t", 2**31 - 1), TopicPartition("uv", 1))


SUBSCRIPTION, ASSIGNMENT = b"s", b"a"  # the first byte: what the others are


def seeds() -> list[bytes]:
    subscription = encode_subscription(["t", "uv"], OWNED)
    return [
        SUBSCRIPTION + subscription,
        SUBSCRIPTION + b"\0\0" + subscription[2:],
        SUBSCRIPTION + b"\0\3" + subscription[2:] + b"\0\0\0\7\0\1r",
        ASSIGNMENT + encode_assignment(OWNED),
        ASSIGNMENT + encode_assignment((), version=3),
    ]


def check(data: bytes) -> object:
    if data[:1] == ASSIGNMENT:
        assigned = decode_assignment(data[1:])
        with promised:
            same = decode_assignment(encode_assignment(assigned))
        require(sorted(same) == sorted(assigned), "a round trip of what is assigned")
        return len(assigned)
    found = decode_subscription(data[1:])
    with promised:
        again = decode_subscription(encode_subscription(found.topics, found.owned))
    require(sorted(again.topics) == sorted(found.topics), "a round trip of the topics")
    require(sorted(again.owned) == sorted(found.owned), "a round trip of what is owned")
    return found.version, len(found.topics)


TARGET = Target("consumer_protocol", seeds, check, (InvalidRequestError,))
