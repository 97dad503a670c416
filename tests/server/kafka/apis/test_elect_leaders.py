from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", range(3))
def test_none_is_needed(wire: Wire, store: LocalLogStore, version: int) -> None:
    store.create_topic(TopicSpec("t", 2))
    asked = [{"topic": "t", "partitions": [0, 2]}, {"topic": "missing", "partitions": [0]}]
    given = {"election_type": 0, "topic_partitions": asked, "timeout": 1000}
    there, missing = wire.ask("elect_leaders", version, **given).replica_election_results
    assert [(part.partition_id, part.error_code) for part in there.partition_result] == [
        (0, ErrorCode.ELECTION_NOT_NEEDED),
        (2, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    assert missing.partition_result[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_of_all_partitions_none_needs_one(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))
    answer = wire.ask("elect_leaders", 2, election_type=1, topic_partitions=None, timeout=1000)
    assert (answer.error_code, answer.replica_election_results) == (0, ())
