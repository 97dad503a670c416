from __future__ import annotations

from unittest.mock import Mock, patch

import pytest

from logstore.api import (
    ProducerIdentity,
    TopicPartition,
    TopicSpec,
    TransactionInfo,
    TransactionStatus,
)
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


BROKERS = pytest.mark.parametrize("version", [4, 5])


def ask_as_broker(
    wire: Wire,
    version: int,
    producer: ProducerIdentity,
    *topics: tuple[str, list[int]],
    verify: bool,
    name: str = "x",
) -> dict[tuple[str, int], int]:
    transaction = {
        "transactional_id": name,
        "producer_id": producer.producer_id,
        "producer_epoch": producer.producer_epoch,
        "verify_only": verify,
        "topics": [{"name": topic, "partitions": partitions} for topic, partitions in topics],
    }
    answer = wire.ask("add_partitions_to_txn", version, transactions=[transaction])
    assert answer.error_code == 0
    (result,) = answer.results_by_transaction
    assert result.transactional_id == name
    return {
        (topic.name, part.partition_index): part.partition_error_code
        for topic in result.topic_results
        for part in topic.results_by_partition
    }


@BROKERS
def test_a_broker_verifies_what_was_added(wire: Wire, store: LocalLogStore, version: int) -> None:
    producer = init(wire)
    abortable = ErrorCode.TRANSACTION_ABORTABLE
    part = ("t", [0])
    assert ask_as_broker(wire, version, producer, part, verify=True) == {("t", 0): abortable}
    assert store.transactions.describe("x").started_ms == -1
    assert ask_as_broker(wire, version, producer, part, verify=False) == {("t", 0): 0}
    both = ("t", [0, 1])
    found = ask_as_broker(wire, version, producer, both, verify=True)
    assert found == {("t", 0): 0, ("t", 1): abortable}
    assert end(wire, producer).error_code == 0
    assert ask_as_broker(wire, version, producer, part, verify=True) == {("t", 0): abortable}


@BROKERS
@pytest.mark.parametrize("verify", [False, True])
def test_a_broker_is_told_of_strangers(wire: Wire, version: int, verify: bool) -> None:
    old = init(wire)
    init(wire)
    part = ("t", [0])
    found = ask_as_broker(wire, version, old, part, verify=verify)
    assert found == {("t", 0): ErrorCode.PRODUCER_FENCED}
    unknown = {("t", 0): ErrorCode.INVALID_PRODUCER_ID_MAPPING}
    stranger = old._replace(producer_id=999)
    assert ask_as_broker(wire, version, stranger, part, verify=verify) == unknown
    assert ask_as_broker(wire, version, old, part, verify=verify, name="y") == unknown


@BROKERS
@pytest.mark.parametrize("verify", [False, True])
def test_a_broker_is_told_what_is_missing(wire: Wire, version: int, verify: bool) -> None:
    found = ask_as_broker(wire, version, init(wire), ("t", [0]), ("nope", [0]), verify=verify)
    assert found == {
        ("t", 0): ErrorCode.OPERATION_NOT_ATTEMPTED,
        ("nope", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }


@BROKERS
def test_a_transaction_that_is_ending(wire: Wire, store: LocalLogStore, version: int) -> None:
    producer = init(wire)
    ending = TransactionInfo(
        "x", TransactionStatus.PREPARE_COMMIT, producer, 1000, 1, (TopicPartition("t", 0),)
    )
    coordination = Mock(wraps=store.transactions)
    coordination.describe = lambda _: ending
    with patch.object(type(store), "transactions", coordination):
        found = ask_as_broker(wire, version, producer, ("t", [0]), verify=True)
    assert found == {("t", 0): ErrorCode.CONCURRENT_TRANSACTIONS}


@BROKERS
def test_transactions_are_answered_one_by_one(wire: Wire, version: int) -> None:
    producer = init(wire)
    one = {
        "transactional_id": "x",
        "producer_id": producer.producer_id,
        "producer_epoch": producer.producer_epoch,
        "verify_only": False,
        "topics": [{"name": "t", "partitions": [0]}],
    }
    other = one | {"transactional_id": "other"}
    answer = wire.ask("add_partitions_to_txn", version, transactions=[one, other])
    codes = {
        result.transactional_id: result.topic_results[0]
        .results_by_partition[0]
        .partition_error_code
        for result in answer.results_by_transaction
    }
    assert codes == {"x": 0, "other": ErrorCode.INVALID_PRODUCER_ID_MAPPING}
