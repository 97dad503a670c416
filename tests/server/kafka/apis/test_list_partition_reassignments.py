from __future__ import annotations

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from tests.server.kafka.wire import Wire


def test_none_is_under_way(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    for topics in (None, [{"name": "t", "partition_indexes": [0]}]):
        answer = wire.ask("list_partition_reassignments", 0, topics=topics, timeout=1000)
        assert (answer.error_code, answer.topics) == (0, ())
