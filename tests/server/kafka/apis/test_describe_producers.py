from __future__ import annotations

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add, end, init, put
from tests.server.kafka.wire import Wire


def test_producers_of_partitions(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))
    producer = init(wire)
    add(wire, producer, {"t": [0]})
    put(wire, producer, b"v", 0)

    def ask() -> list[object]:
        topics = [{"name": "t", "partition_indexes": [0, 1, 7]}]
        (topic,) = wire.ask("describe_producers", 0, topics=topics).topics
        first, second, third = topic.partitions
        assert (second.error_code, second.active_producers) == (0, ())
        assert third.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert "7" in third.error_message
        (found,) = first.active_producers
        assert (found.producer_id, found.producer_epoch) == producer
        assert found.last_timestamp == 1000
        return [found.last_sequence, found.current_txn_start_offset]

    assert ask() == [0, 0]
    end(wire, producer)
    assert ask() == [0, -1]
