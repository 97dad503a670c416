from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add, end, init, put
from tests.server.kafka.wire import Wire

VERSIONS = range(4)


@pytest.fixture(autouse=True)
def topic(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_batch_needs_its_partition_added(wire: Wire, version: int) -> None:
    producer = init(wire)
    assert put(wire, producer, b"v", 0) == ErrorCode.INVALID_TXN_STATE
    assert put(wire, producer, b"v", 0, version=11) == ErrorCode.TRANSACTION_ABORTABLE
    assert add(wire, producer, {"t": [0]}, version=version) == {("t", 0): 0}
    assert put(wire, producer, b"v", 0) == 0
    assert put(wire, producer, b"v", 0, part=1) == ErrorCode.INVALID_TXN_STATE
    assert end(wire, producer).error_code == 0
    assert put(wire, producer, b"late", 1) == ErrorCode.INVALID_TXN_STATE


@pytest.mark.parametrize("version", VERSIONS)
def test_beside_one_that_is_missing_none_is_added(
    wire: Wire, store: LocalLogStore, version: int
) -> None:
    producer = init(wire)
    assert add(wire, producer, {"t": [0, 7], "nope": [0]}, version=version) == {
        ("t", 0): ErrorCode.OPERATION_NOT_ATTEMPTED,
        ("t", 7): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ("nope", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert store.transactions.describe("x").partitions == ()
    assert add(wire, producer, {}, version=version) == {}
    assert store.transactions.describe("x").started_ms == -1


@pytest.mark.parametrize("version", VERSIONS)
def test_who_is_over_is_fenced(wire: Wire, version: int) -> None:
    old = init(wire)
    init(wire)
    fenced = ErrorCode.PRODUCER_FENCED if version >= 2 else ErrorCode.INVALID_PRODUCER_EPOCH
    assert add(wire, old, {"t": [0]}, version=version) == {("t", 0): fenced}
    stranger = old._replace(producer_id=999)
    unknown = ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert add(wire, stranger, {"t": [0]}, version=version) == {("t", 0): unknown}
    assert add(wire, old, {"t": [0]}, version=version, name="y") == {("t", 0): unknown}


@pytest.mark.parametrize("version", [4, 5])
def test_brokers_are_refused(wire: Wire, version: int) -> None:
    answer = wire.ask("add_partitions_to_txn", version, transactions=())
    assert answer.error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED
