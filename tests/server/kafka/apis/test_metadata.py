from __future__ import annotations

import uuid

import pytest

from logstore.api import TopicSpec
from logstore_server.config import KafkaConfig
from logstore_server.kafka.errors import ErrorCode
from tests.server.in_process import InProcessServer
from tests.server.kafka.wire import Wire

VERSIONS = range(14)


def ask(wire: Wire, version: int, **fields):
    fields["include_cluster_authorized_operations"] = False
    return wire.ask("metadata", version, **fields | {"include_topic_authorized_operations": False})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_named_topic(wire: Wire, store, version: int) -> None:
    store.create_topic(TopicSpec("t", 3))
    answer = ask(wire, version, topics=[{"name": "t", "topic_id": None}])
    (topic,) = answer.topics
    assert (topic.name, topic.error_code) == ("t", 0)
    assert [part.partition_index for part in topic.partitions] == [0, 1, 2]
    assert {part.leader_id for part in topic.partitions} == {answer.brokers[0].node_id}


@pytest.mark.parametrize("version", VERSIONS)
def test_all_topics(wire: Wire, store, version: int) -> None:
    store.create_topic(TopicSpec("t", 1))
    answer = ask(wire, version, topics=None if version else [])
    found = {topic.name: topic for topic in answer.topics}
    assert {"t", "__consumer_offsets"} <= set(found)
    if version:
        assert found["__consumer_offsets"].is_internal
        assert ask(wire, version, topics=[]).topics == ()


def test_a_topic_by_its_id(wire: Wire, store) -> None:
    info = store.create_topic(TopicSpec("t", 1))
    asked = [{"name": None, "topic_id": info.topic_id}, {"name": None, "topic_id": uuid.uuid4()}]
    known, unknown = ask(wire, 12, topics=asked).topics
    assert (known.name, known.topic_id) == ("t", info.topic_id)
    assert unknown.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_missing_topic_is_made_with_the_partitioner_of_kafka(wire: Wire, store) -> None:
    (topic,) = wire.ask(
        "metadata", 4, topics=[{"name": "new"}], allow_auto_topic_creation=True
    ).topics
    assert topic.error_code == 0
    (info,) = store.describe_topics(["new"])
    assert info.partitioner == "murmur2"


def test_a_missing_topic_is_not_made_unasked(wire: Wire, store) -> None:
    (topic,) = wire.ask(
        "metadata", 4, topics=[{"name": "no"}], allow_auto_topic_creation=False
    ).topics
    assert topic.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert [info.name for info in store.describe_topics()] == []


def test_a_name_that_no_topic_can_have(wire: Wire) -> None:
    (topic,) = wire.ask(
        "metadata", 4, topics=[{"name": "a/b"}], allow_auto_topic_creation=True
    ).topics
    assert topic.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_settings_of_automatic_topics(store) -> None:
    with (
        InProcessServer(store, kafka=KafkaConfig(port=0, num_partitions=4)) as server,
        Wire(server.kafka) as wire,
    ):
        assert len(ask(wire, 1, topics=[{"name": "four"}]).topics[0].partitions) == 4
    with (
        InProcessServer(store, kafka=KafkaConfig(port=0, auto_create_topics=False)) as server,
        Wire(server.kafka) as wire,
    ):
        (topic,) = ask(wire, 1, topics=[{"name": "off"}]).topics
        assert topic.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("version", [10, 11, 12])
def test_a_topic_without_name_and_id_is_no_request(wire: Wire, version: int) -> None:
    (topic,) = ask(wire, version, topics=[{"name": None, "topic_id": None}]).topics
    assert (topic.error_code, topic.name) == (ErrorCode.INVALID_REQUEST, "")
    stranger = [{"name": None, "topic_id": uuid.uuid4()}]
    (topic,) = ask(wire, version, topics=stranger).topics
    assert topic.error_code == ErrorCode.UNKNOWN_TOPIC_ID
