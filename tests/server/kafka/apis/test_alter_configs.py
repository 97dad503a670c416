from __future__ import annotations

from typing import Any

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.config_answers import ConfigResource
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


def alter(
    wire: Wire, kind: int, name: str, *, version: int = 2, only: bool = False, **configs: Any
):
    given = [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()]
    resource = {"resource_type": kind, "resource_name": name, "configs": given}
    asked = {"resources": [resource], "validate_only": only}
    (result,) = wire.ask("alter_configs", version, **asked).responses
    return result


@pytest.mark.parametrize("version", range(3))
def test_all_configs_are_anew(wire: Wire, store: LocalLogStore, version: int) -> None:
    configs = {"retention_ms": "5", "segment_ms": "6", "partitioner": "crc32"}
    store.create_topic(TopicSpec("t", configs=configs))
    result = alter(wire, ConfigResource.TOPIC, "t", version=version, retention_bytes="7")
    assert (result.error_code, result.resource_name) == (0, "t")
    (info,) = store.describe_topics(["t"])
    assert info.overrides == {"retention_bytes": "7", "partitioner": "crc32"}


def test_trying_changes_nothing(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", configs={"retention_ms": "5"}))
    assert alter(wire, ConfigResource.TOPIC, "t", only=True, segment_ms="7").error_code == 0
    bad = alter(wire, ConfigResource.TOPIC, "t", only=True, segment_ms="x")
    assert bad.error_code == ErrorCode.INVALID_CONFIG
    assert store.describe_topics(["t"])[0].overrides == {"retention_ms": "5"}


def test_what_cannot_be_altered(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    for kind, name, config, code in (
        (ConfigResource.TOPIC, "missing", "segment.ms", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (ConfigResource.TOPIC, "__consumer_offsets", "x", ErrorCode.INVALID_TOPIC_EXCEPTION),
        (ConfigResource.TOPIC, "t", "nope", ErrorCode.INVALID_CONFIG),
        (ConfigResource.BROKER, "1", "num.partitions", ErrorCode.INVALID_REQUEST),
    ):
        given: dict[str, Any] = {config: "5"}
        assert alter(wire, kind, name, **given).error_code == code
    assert alter(wire, ConfigResource.BROKER, "1").error_code == 0
