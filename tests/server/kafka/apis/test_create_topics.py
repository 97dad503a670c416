from __future__ import annotations

from typing import Any

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire

VERSIONS = range(2, 8)


def topic(name: str = "t", partitions: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "num_partitions": partitions,
        "replication_factor": 1,
        "assignments": [],
        "configs": [],
        **more,
    }


def create(wire: Wire, *topics: dict[str, Any], version: int = 7, validate_only: bool = False):
    return wire.ask(
        "create_topics", version, topics=topics, timeout=1000, validate_only=validate_only
    ).topics


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_with_configs(wire: Wire, store: LocalLogStore, version: int) -> None:
    configs = [
        {"name": "retention.ms", "value": "1000"},
        {"name": "min.insync.replicas", "value": "1"},
    ]
    (made,) = create(wire, topic(configs=configs), version=version)
    assert (made.name, made.error_code) == ("t", ErrorCode.NONE)
    (info,) = store.describe_topics(["t"])
    assert info.overrides == {"retention_ms": "1000", "partitioner": "murmur2"}
    assert len(info.partitions) == 3
    if version >= 5:
        assert (made.num_partitions, made.replication_factor) == (3, 1)
        shown = {config.name: config.value for config in made.configs}
        assert shown["retention.ms"] == "1000"
        assert shown["min.insync.replicas"] == "1"
    if version >= 7:
        assert made.topic_id == info.topic_id


def test_the_partitioner_can_be_chosen(wire: Wire, store: LocalLogStore) -> None:
    create(wire, topic(configs=[{"name": "partitioner", "value": "crc32"}]))
    assert store.describe_topics(["t"])[0].partitioner == "crc32"


def test_defaults_and_assignments_of_one_node(wire: Wire, store: LocalLogStore) -> None:
    assigned = [{"partition_index": index, "broker_ids": [0]} for index in (1, 0)]
    node_id = store.describe_store().node_id
    for one in assigned:
        one["broker_ids"] = [node_id]
    made = create(
        wire,
        topic("defaults", -1, replication_factor=-1),
        topic("assigned", -1, replication_factor=-1, assignments=assigned),
    )
    assert [one.error_code for one in made] == [0, 0]
    assert len(store.describe_topics(["defaults"])[0].partitions) == 1
    assert len(store.describe_topics(["assigned"])[0].partitions) == 2


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (topic(partitions=0), ErrorCode.INVALID_PARTITIONS),
        (topic(partitions=-2), ErrorCode.INVALID_PARTITIONS),
        (topic(replication_factor=3), ErrorCode.INVALID_REPLICATION_FACTOR),
        (topic(replication_factor=0), ErrorCode.INVALID_REPLICATION_FACTOR),
        (topic("a/b"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic("__consumer_offsets"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (topic("there"), ErrorCode.TOPIC_ALREADY_EXISTS),
        (topic(configs=[{"name": "retention.ms", "value": "x"}]), ErrorCode.INVALID_CONFIG),
        (topic(configs=[{"name": "retention.ms", "value": None}]), ErrorCode.INVALID_CONFIG),
        (topic(configs=[{"name": "nope", "value": "1"}]), ErrorCode.INVALID_CONFIG),
        (topic(configs=[{"name": "min.insync.replicas", "value": "2"}]), ErrorCode.INVALID_CONFIG),
        (
            topic(configs=[{"name": "segment.ms", "value": "1"}] * 2),
            ErrorCode.INVALID_CONFIG,
        ),
        (
            topic(assignments=[{"partition_index": 0, "broker_ids": [1]}]),
            ErrorCode.INVALID_REQUEST,
        ),
        (
            topic(
                partitions=-1,
                replication_factor=-1,
                assignments=[{"partition_index": 0, "broker_ids": [77]}],
            ),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
        (
            topic(
                partitions=-1,
                replication_factor=-1,
                assignments=[{"partition_index": 1, "broker_ids": [0]}],
            ),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ),
    ],
)
def test_what_cannot_be_created_harms_no_other(
    wire: Wire, store: LocalLogStore, given: dict[str, Any], code: ErrorCode
) -> None:
    store.create_topic(TopicSpec("there"))
    bad, good = create(wire, given, topic("good"))
    assert bad.error_code == code
    assert bad.error_message
    assert good.error_code == 0
    assert {info.name for info in store.describe_topics()} == {"there", "good"}


def test_a_topic_named_twice_is_not_created(wire: Wire, store: LocalLogStore) -> None:
    twice, good = create(wire, topic(), topic("good"), topic())
    assert (twice.name, twice.error_code) == ("t", ErrorCode.INVALID_REQUEST)
    assert good.error_code == 0
    assert [info.name for info in store.describe_topics()] == ["good"]


def test_validating_creates_nothing(wire: Wire, store: LocalLogStore) -> None:
    good, bad = create(wire, topic(), topic("bad", 0), validate_only=True)
    assert (good.error_code, good.topic_id, good.num_partitions) == (0, None, 3)
    assert bad.error_code == ErrorCode.INVALID_PARTITIONS
    assert store.describe_topics() == []
