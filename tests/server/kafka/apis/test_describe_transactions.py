from __future__ import annotations

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add, end, init
from tests.server.kafka.wire import Wire


def test_states(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))
    producer = init(wire, timeout_ms=1234)

    def ask() -> tuple[object, ...]:
        found, unknown = wire.ask(
            "describe_transactions", 0, transactional_ids=["x", "nope"]
        ).transaction_states
        assert unknown.error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
        assert (found.error_code, found.transactional_id) == (0, "x")
        assert (found.producer_id, found.producer_epoch) == producer
        assert found.transaction_timeout.total_seconds() == 1.234
        parts = [(topic.topic, list(topic.partitions)) for topic in found.topics]
        return found.transaction_state, found.transaction_start_time.timestamp() > 0, parts

    assert ask() == ("Empty", False, [])
    add(wire, producer, {"t": [1, 0]})
    assert ask() == ("Ongoing", True, [("t", [0, 1])])
    end(wire, producer, commit=False)
    assert ask() == ("CompleteAbort", False, [])
