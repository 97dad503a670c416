from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add, init, put
from tests.server.kafka.wire import Wire
from tests.txn.test_crashes import read


@pytest.mark.parametrize("version", [1, 2])
def test_no_client_ends_a_transaction_of_another(
    wire: Wire, store: LocalLogStore, version: int
) -> None:
    store.create_topic(TopicSpec("t"))
    producer = init(wire)
    add(wire, producer, {"t": [0]})
    put(wire, producer, b"v", 0)
    answer = wire.ask(
        "write_txn_markers",
        version,
        markers=[
            {
                "producer_id": producer.producer_id,
                "producer_epoch": producer.producer_epoch,
                "transaction_result": True,
                "topics": [{"name": "t", "partition_indexes": [0]}],
                "coordinator_epoch": 0,
                "transaction_version": 2,
            }
        ],
    )
    (part,) = answer.markers[0].topics[0].partitions
    assert part.error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED
    assert read(store, ("t", 0)) == []
