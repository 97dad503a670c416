from __future__ import annotations

from typing import Any

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


def grow(wire: Wire, *topics: dict[str, Any], version: int = 3, validate_only: bool = False):
    given = [{"assignments": None, **topic} for topic in topics]
    return wire.ask(
        "create_partitions", version, topics=given, timeout=1000, validate_only=validate_only
    ).results


def count(store: LocalLogStore) -> int:
    return len(store.describe_topics(["t"])[0].partitions)


@pytest.mark.parametrize("version", range(4))
def test_partitions_are_added(wire: Wire, store: LocalLogStore, version: int) -> None:
    store.create_topic(TopicSpec("t"))
    (grown,) = grow(wire, {"name": "t", "count": 3}, version=version)
    assert (grown.name, grown.error_code) == ("t", 0)
    assert count(store) == 3


def test_assignments_name_this_node(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    here = [{"broker_ids": [store.describe_store().node_id]}]
    for assignments, code in (
        (here, ErrorCode.INVALID_REPLICA_ASSIGNMENT),  # one of two
        ([*here, {"broker_ids": [77]}], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (here * 2, ErrorCode.NONE),
    ):
        (grown,) = grow(wire, {"name": "t", "count": 3, "assignments": assignments})
        assert grown.error_code == code
    assert count(store) == 3


@pytest.mark.parametrize("validate_only", [True, False])
def test_what_cannot_be_added(wire: Wire, store: LocalLogStore, validate_only: bool) -> None:
    store.create_topic(TopicSpec("t", 2))
    for name, total, code in (
        ("t", 2, ErrorCode.INVALID_PARTITIONS),
        ("t", 1, ErrorCode.INVALID_PARTITIONS),
        ("t", 10**6, ErrorCode.INVALID_PARTITIONS),
        ("missing", 2, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ):
        (grown,) = grow(wire, {"name": name, "count": total}, validate_only=validate_only)
        assert (grown.error_code, bool(grown.error_message)) == (code, True)
    assert count(store) == 2


def test_validating_adds_nothing(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    (grown,) = grow(wire, {"name": "t", "count": 3}, validate_only=True)
    assert grown.error_code == 0
    assert count(store) == 1


def test_a_topic_named_twice_does_not_grow(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    (twice,) = grow(wire, {"name": "t", "count": 3}, {"name": "t", "count": 4})
    assert twice.error_code == ErrorCode.INVALID_REQUEST
    assert count(store) == 1
