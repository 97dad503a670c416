from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", [1, 2])
def test_there_is_one_directory(wire: Wire, store: LocalLogStore, version: int) -> None:
    store.create_topic(TopicSpec("t", 2))

    def codes(path: str) -> list[int]:
        moved = [{"path": path, "topics": [{"name": "t", "partitions": [1, 5]}]}]
        (topic,) = wire.ask("alter_replica_log_dirs", version, dirs=moved).results
        assert topic.topic_name == "t"
        return [part.error_code for part in topic.partitions]

    here = store.describe_store().data_dir
    assert codes(here) == [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert codes("elsewhere") == [ErrorCode.LOG_DIR_NOT_FOUND] * 2
