from __future__ import annotations

import uuid

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", range(1, 7))
def test_by_name(wire: Wire, store: LocalLogStore, version: int) -> None:
    store.create_topic(TopicSpec("t"))
    names = ["t", "missing", "__consumer_offsets"]
    asked: dict[str, object] = {"topic_names": names}
    if version >= 6:
        asked = {"topics": [{"name": name, "topic_id": None} for name in names]}
    answer = wire.ask("delete_topics", version, timeout=1000, **asked)
    assert [(one.name, one.error_code) for one in answer.responses] == [
        ("t", ErrorCode.NONE),
        ("missing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("__consumer_offsets", ErrorCode.INVALID_TOPIC_EXCEPTION),
    ]
    assert store.describe_topics() == []


def test_by_id(wire: Wire, store: LocalLogStore) -> None:
    topic_id = store.create_topic(TopicSpec("t")).topic_id
    missing = uuid.uuid4()
    asked = [{"name": None, "topic_id": topic_id}, {"name": None, "topic_id": missing}]
    gone, unknown = wire.ask("delete_topics", 6, topics=asked, timeout=1000).responses
    assert (gone.name, gone.topic_id, gone.error_code) == ("t", topic_id, 0)
    assert (unknown.name, unknown.topic_id) == (None, missing)
    assert unknown.error_code == ErrorCode.UNKNOWN_TOPIC_ID
    assert store.describe_topics() == []


def test_one_named_twice_stays(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    answer = wire.ask("delete_topics", 5, topic_names=["t", "t"], timeout=1000)
    assert {one.error_code for one in answer.responses} == {ErrorCode.INVALID_REQUEST}
    assert [info.name for info in store.describe_topics()] == ["t"]
