from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.apis.incremental_alter_configs import ConfigOperation
from logstore_server.kafka.config_answers import ConfigResource
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire

SET, DELETE, APPEND, SUBTRACT = ConfigOperation

Change = tuple[str, int, str | None]


def alter(wire: Wire, *changes: Change, version: int = 1, only: bool = False, name: str = "t"):
    configs = [
        {"name": config, "config_operation": operation, "value": value}
        for config, operation, value in changes
    ]
    resource = {"resource_type": ConfigResource.TOPIC, "resource_name": name, "configs": configs}
    asked = {"resources": [resource], "validate_only": only}
    (result,) = wire.ask("incremental_alter_configs", version, **asked).responses
    return result


def overrides(store: LocalLogStore) -> dict[str, str]:
    return dict(store.describe_topics(["t"])[0].overrides)


@pytest.fixture(autouse=True)
def topic(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", configs={"retention_ms": "5", "segment_ms": "6"}))


@pytest.mark.parametrize("version", range(2))
def test_single_configs_change(wire: Wire, store: LocalLogStore, version: int) -> None:
    result = alter(wire, ("retention.ms", DELETE, None), ("flush.ms", SET, "50"), version=version)
    assert (result.error_code, result.resource_name) == (0, "t")
    assert overrides(store) == {"segment_ms": "6", "flush_interval_ms": "50"}


def test_words_come_and_go(wire: Wire, store: LocalLogStore) -> None:
    assert alter(wire, ("cleanup.policy", APPEND, "compact")).error_code == 0
    assert overrides(store)["cleanup_policy"] == "compact,delete"
    assert alter(wire, ("cleanup.policy", APPEND, "compact")).error_code == 0
    assert alter(wire, ("cleanup.policy", SUBTRACT, "delete")).error_code == 0
    assert overrides(store)["cleanup_policy"] == "compact"
    none_left = alter(wire, ("cleanup.policy", SUBTRACT, "compact"))
    assert none_left.error_code == ErrorCode.INVALID_CONFIG


def test_trying_changes_nothing(wire: Wire, store: LocalLogStore) -> None:
    assert alter(wire, ("retention.ms", SET, "7"), only=True).error_code == 0
    assert overrides(store)["retention_ms"] == "5"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([("retention.ms", SET, "x")], ErrorCode.INVALID_CONFIG),
        ([("retention.ms", SET, None)], ErrorCode.INVALID_REQUEST),
        ([("retention.ms", APPEND, "7")], ErrorCode.INVALID_CONFIG),
        ([("retention.ms", 9, "7")], ErrorCode.INVALID_REQUEST),
        ([("nope", DELETE, None)], ErrorCode.INVALID_CONFIG),
        ([("compression.type", SET, "none")], ErrorCode.INVALID_CONFIG),
        ([("segment.ms", SET, "7"), ("segment.ms", DELETE, None)], ErrorCode.INVALID_REQUEST),
        ([("segment.ms", SET, "7"), ("nope", SET, "8")], ErrorCode.INVALID_CONFIG),
    ],
)
def test_what_cannot_be_changed_changes_nothing(
    wire: Wire, store: LocalLogStore, changes: list[Change], code: ErrorCode
) -> None:
    result = alter(wire, *changes)
    assert (result.error_code, bool(result.error_message)) == (code, True)
    assert overrides(store) == {"retention_ms": "5", "segment_ms": "6"}


def test_what_means_nothing_here_can_be_said(wire: Wire, store: LocalLogStore) -> None:
    said = alter(wire, ("min.insync.replicas", SET, "1"), ("preallocate", DELETE, None))
    assert said.error_code == 0
    assert overrides(store) == {"retention_ms": "5", "segment_ms": "6"}


def test_a_topic_that_is_not_there(wire: Wire) -> None:
    missing = alter(wire, ("retention.ms", SET, "5"), name="missing")
    assert missing.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
