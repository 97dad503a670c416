"""Transactions of real clients, in turn and against each other; what readers of each may see."""

from __future__ import annotations

from contextlib import suppress

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as ConfluentPart

import logstore
from logstore.api import TopicPartition, TopicSpec, TransactionStatus
from logstore.store import LocalLogStore
from tests.conformance.kafka.txn_clients import PRODUCERS, READERS, TIMEOUT_S
from tests.server.in_process import InProcessServer

each_producer = pytest.mark.parametrize("client", PRODUCERS)


@pytest.fixture
def store(server: InProcessServer) -> LocalLogStore:
    store = server.store
    assert isinstance(store, LocalLogStore)
    store.create_topic(TopicSpec("t"))
    return store


@each_producer
def test_readers_of_every_client_see_what_was_committed(
    server: InProcessServer, store: LocalLogStore, client: str
) -> None:
    producer = PRODUCERS[client](server.kafka, "x")
    for turn in range(6):
        producer.begin()
        for number in range(3):
            producer.send("t", b"%d-%d" % (turn, number))
        if turn % 2:
            producer.abort()
        else:
            producer.commit()
    producer.begin()
    producer.send("t", b"end")
    producer.commit()
    producer.begin()
    producer.send("t", b"open")
    wanted = [b"%d-%d" % (turn, number) for turn in (0, 2, 4) for number in range(3)] + [b"end"]
    for name, read in READERS.items():
        assert read(server.kafka, "t", b"end") == wanted, name
    with (
        logstore.connect(server.address) as grpc,
        grpc.consumer("t", auto_offset_reset="earliest", read_committed=True) as consumer,
    ):
        found: list[bytes | None] = []
        while len(found) < len(wanted):
            found += [record.value for record in consumer.poll(timeout=TIMEOUT_S)]
        assert found == wanted
    producer.abort()
    producer.close()
    assert store.transactions.describe("x").status is TransactionStatus.COMPLETE_ABORT
    log = store._table.log("t", 0)
    assert log.last_stable_offset == log.log_end_offset


@each_producer
@pytest.mark.parametrize("newcomer", PRODUCERS)
def test_a_zombie_is_fenced(
    server: InProcessServer, store: LocalLogStore, client: str, newcomer: str
) -> None:
    zombie = PRODUCERS[client](server.kafka, "x")
    zombie.begin()
    zombie.send("t", b"zombie")
    new = PRODUCERS[newcomer](server.kafka, "x")
    with pytest.raises(Exception, match=r"(?i)fenced|epoch|newer producer"):
        zombie.commit()
    new.begin()
    new.send("t", b"end")
    new.commit()
    for read in READERS.values():
        assert read(server.kafka, "t", b"end") == [b"end"]
    new.close()
    with suppress(Exception):  # some close by telling again that it is fenced
        zombie.close()


def test_a_transaction_that_outlives_its_timeout_is_aborted(
    server: InProcessServer, store: LocalLogStore
) -> None:
    slow = Producer(
        {
            "bootstrap.servers": server.kafka,
            "transactional.id": "x",
            "transaction.timeout.ms": 1000,
        }
    )
    slow.init_transactions(TIMEOUT_S)
    slow.begin_transaction()
    slow.produce("t", b"late", partition=0)
    slow.flush(TIMEOUT_S)
    log = store._table.log("t", 0)
    waiting = log.on_stable_offset(2, lambda _: None)  # the record, and its marker
    while log.last_stable_offset < 2:
        slow.poll(0.1)
    waiting.cancel()
    with pytest.raises(KafkaException, match=r"(?i)fenced|epoch|newer"):
        slow.commit_transaction(TIMEOUT_S)
    assert store.transactions.describe("x").status is TransactionStatus.COMPLETE_ABORT


@pytest.mark.parametrize("is_commit", [True, False])
def test_offsets_of_a_group_go_with_the_transaction(
    server: InProcessServer, store: LocalLogStore, is_commit: bool
) -> None:
    consumer = Consumer({"bootstrap.servers": server.kafka, "group.id": "g"})
    consumer.assign([ConfluentPart("t", 0, 0)])
    producer = Producer({"bootstrap.servers": server.kafka, "transactional.id": "x"})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    producer.produce("t", b"v", partition=0)
    producer.send_offsets_to_transaction(
        [ConfluentPart("t", 0, 7)], consumer.consumer_group_metadata(), TIMEOUT_S
    )
    assert store.committed_offsets("g") == []
    if is_commit:
        producer.commit_transaction(TIMEOUT_S)
    else:
        producer.abort_transaction(TIMEOUT_S)
    (found,) = store.committed_offsets("g", [TopicPartition("t", 0)])
    assert found.offset == (7 if is_commit else -1)
    consumer.close()
