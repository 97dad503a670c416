from __future__ import annotations

import struct

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add, end, init
from tests.server.kafka.wire import Wire


def test_what_is_open(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))
    producer = init(wire, timeout_ms=1234)
    add(wire, producer, {"t": [1, 0]})
    (found,) = wire.ask("describe_transactions", 0, transactional_ids=["x"]).transaction_states
    assert (found.error_code, found.transactional_id) == (0, "x")
    assert found.transaction_state == "Ongoing"
    assert (found.producer_id, found.producer_epoch) == producer
    assert found.transaction_timeout.total_seconds() == 1.234
    assert found.transaction_start_time.timestamp() > 0
    assert [(topic.topic, list(topic.partitions)) for topic in found.topics] == [("t", [0, 1])]


def test_what_is_not_open_began_at_no_time(wire: Wire, store: LocalLogStore) -> None:
    """kio reads no time of -1, which is what Kafka answers then."""
    store.create_topic(TopicSpec("t"))
    producer = init(wire, timeout_ms=1234)

    def ask(name: str) -> bytes:
        wire.send("describe_transactions", 0, transactional_ids=[name])
        return wire.receive_frame()[10:]  # correlation id, tags, throttle time, length of the array

    idle = struct.pack(">iqqh", 1234, -1, *producer) + b"\1\0\0"
    assert ask("x") == b"\0\0\2x\6Empty" + idle
    add(wire, producer, {"t": [0]})
    end(wire, producer, commit=False)
    assert ask("x") == b"\0\0\2x\x0eCompleteAbort" + idle
    unknown = struct.pack(">h", ErrorCode.TRANSACTIONAL_ID_NOT_FOUND) + b"\5nope\1"
    assert ask("nope") == unknown + struct.pack(">iqqh", 0, -1, -1, -1) + b"\1\0\0"
