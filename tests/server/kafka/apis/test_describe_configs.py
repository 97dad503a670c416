from __future__ import annotations

from typing import Any

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.config_answers import ConfigResource, ConfigSource
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


def describe(wire: Wire, kind: int, name: str, *, version: int = 4, **more: Any):
    keys = more.pop("keys", None)
    resource = {"resource_type": kind, "resource_name": name, "configuration_keys": keys}
    asked = {"include_synonyms": False, "include_documentation": False} | more
    (result,) = wire.ask("describe_configs", version, resources=[resource], **asked).results
    return result


@pytest.mark.parametrize("version", range(1, 5))
def test_of_a_topic(wire: Wire, store: LocalLogStore, version: int) -> None:
    store.create_topic(TopicSpec("t", configs={"retention_ms": "5"}))
    result = describe(wire, ConfigResource.TOPIC, "t", version=version, include_synonyms=True)
    assert (result.error_code, result.resource_name) == (0, "t")
    found = {config.name: config for config in result.configs}
    retention = found["retention.ms"]
    assert (retention.value, retention.read_only, retention.is_sensitive) == ("5", False, False)
    assert retention.config_source == ConfigSource.DYNAMIC_TOPIC_CONFIG
    assert [(one.name, one.value, one.source) for one in retention.synonyms] == [
        ("retention.ms", "5", ConfigSource.DYNAMIC_TOPIC_CONFIG),
        ("log.retention.ms", "-1", ConfigSource.DEFAULT_CONFIG),
    ]
    replicas = found["min.insync.replicas"]
    assert (replicas.value, replicas.read_only) == ("1", True)
    assert replicas.config_source == ConfigSource.DEFAULT_CONFIG
    assert {"cleanup.policy", "segment.bytes", "durability", "flush.ms"} <= set(found)


def test_types_and_documentation_are_told_when_asked(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    plain = describe(wire, ConfigResource.TOPIC, "t", keys=["retention.ms"])
    told = describe(
        wire, ConfigResource.TOPIC, "t", keys=["retention.ms"], include_documentation=True
    )
    (config,) = plain.configs
    assert (config.documentation, config.synonyms, config.config_type) == (None, (), 5)
    assert told.configs[0].documentation.startswith("Segments whose newest record")


def test_only_what_is_asked_for(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    result = describe(wire, ConfigResource.TOPIC, "t", keys=["flush.ms", "nope"])
    assert [config.name for config in result.configs] == ["flush.ms"]
    assert describe(wire, ConfigResource.TOPIC, "t", keys=[]).configs


def test_of_the_broker(wire: Wire, store: LocalLogStore, server: Any) -> None:
    node_id = str(store.describe_store().node_id)
    result = describe(wire, ConfigResource.BROKER, node_id, include_synonyms=True)
    found = {config.name: config for config in result.configs}
    assert len(found) == len(result.configs)
    assert found["advertised.listeners"].value == f"PLAINTEXT://{server.kafka}"
    assert found["auto.create.topics.enable"].value == "true"
    assert found["num.partitions"].value == "1"
    assert found["log.dirs"].value == store.describe_store().data_dir
    assert found["log.retention.ms"].value == "-1"
    assert all(config.read_only for config in result.configs)


def test_what_has_none(wire: Wire) -> None:
    for kind, name, code in (
        (ConfigResource.TOPIC, "missing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (ConfigResource.BROKER, "77", ErrorCode.INVALID_REQUEST),
        (ConfigResource.BROKER, "", ErrorCode.NONE),
        (ConfigResource.GROUP, "g", ErrorCode.NONE),
        (ConfigResource.BROKER_LOGGER, "1", ErrorCode.INVALID_REQUEST),
        (0, "", ErrorCode.INVALID_REQUEST),
    ):
        result = describe(wire, kind, name)
        assert (result.error_code, result.configs) == (code, ())
        assert bool(result.error_message) is (code != 0)
