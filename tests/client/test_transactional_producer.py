"""Transactions by the client classes, on an embedded store and on one that is served."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import logstore
from logstore import Store, TransactionalProducer
from logstore.api import ProducerIdentity
from logstore.errors import (
    BatchTooLargeError,
    InvalidRequestError,
    InvalidTransactionStateError,
    LogStoreError,
    ProducerFencedError,
    StorageFailedError,
)
from logstore.store import LocalLogStore
from tests.server.in_process import InProcessServer


@pytest.fixture(params=["embedded", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "embedded":
        with logstore.open(tmp_path / "data") as opened:
            opened.create_topic("t", partitions=3)
            yield opened
        return
    local = LocalLogStore.open(str(tmp_path / "data"))
    with InProcessServer(local) as server, logstore.connect(server.address) as connected:
        connected.create_topic("t", partitions=3)
        yield connected
    local.close()


def seen(store: Store, *, read_committed: bool = True) -> list[bytes | None]:
    with store.consumer(
        "t", auto_offset_reset="earliest", read_committed=read_committed
    ) as consumer:
        found: list[bytes | None] = []
        while records := consumer.poll(0.5):
            found += [record.value for record in records]
        return sorted(found, key=lambda value: value or b"")


def send(producer: TransactionalProducer, *values: bytes) -> None:
    for number, value in enumerate(values):
        producer.send("t", value, partition=number % 3)


def send_and_raise(producer: TransactionalProducer, value: bytes) -> None:
    with producer.transaction():
        send(producer, value)
        producer.flush()
        raise ZeroDivisionError


def test_what_is_sent_in_a_transaction_is_seen_together_or_never(store: Store) -> None:
    with store.transactional_producer("x") as producer:
        with producer.transaction():
            send(producer, b"1", b"2", b"3")
            producer.flush()
            assert seen(store) == []
            assert seen(store, read_committed=False) == [b"1", b"2", b"3"]
        assert seen(store) == [b"1", b"2", b"3"]
        with pytest.raises(ZeroDivisionError):
            send_and_raise(producer, b"never")
        with producer.transaction():
            pass  # nothing
        with producer.transaction():
            send(producer, b"4")
    assert seen(store) == [b"1", b"2", b"3", b"4"]
    assert seen(store, read_committed=False) == [b"1", b"2", b"3", b"4", b"never"]


def test_many_transactions_and_large_ones(store: Store) -> None:
    with store.transactional_producer("x", batch_bytes=4096) as producer:
        for turn in range(12):
            producer.begin_transaction()
            producer.send_many("t", [b"%d" % turn * 100] * 200)
            if turn % 3:
                producer.commit_transaction()
            else:
                producer.abort_transaction()
    assert len(seen(store)) == 8 * 200


def test_consume_transform_produce_exactly_once(store: Store) -> None:
    store.create_topic("in")
    with store.producer() as source:
        source.send_many("in", [b"%03d" % number for number in range(100)])
    stops = 0
    while True:
        with (
            store.consumer(
                "in", group="g", auto_offset_reset="earliest", enable_auto_commit=False
            ) as consumer,
            store.transactional_producer("x") as producer,
        ):
            records = consumer.poll(5, max_records=17)
            if not records:
                break
            producer.begin_transaction()
            for record in records:
                producer.send("t", b"out-%b" % (record.value or b""))
            producer.send_offsets(consumer.group_offsets())
            stops += 1
            if stops % 3 == 0:
                continue  # it dies here: close aborts, the records are read again
            producer.commit_transaction()
    assert seen(store) == [b"out-%03d" % number for number in range(100)]
    assert stops > 100 / 17 + 1


def test_verbs_out_of_order(store: Store) -> None:
    with store.transactional_producer("x") as producer:
        for verb in (
            lambda: send(producer, b"v"),
            lambda: producer.send_many("t", [b"v"]),
            producer.commit_transaction,
            producer.abort_transaction,
        ):
            with pytest.raises(InvalidTransactionStateError, match="begin_transaction"):
                verb()
        producer.begin_transaction()
        with pytest.raises(InvalidTransactionStateError, match="is open"):
            producer.begin_transaction()
    assert seen(store, read_committed=False) == []
    with pytest.raises(InvalidRequestError, match="acks"):
        store.transactional_producer("x", acks=1)
    with pytest.raises(InvalidRequestError, match="idempotent"):
        store.transactional_producer("x", idempotent=False)


@pytest.mark.parametrize("commit", [True, False])
def test_nothing_is_sent_while_a_transaction_ends(
    store: Store, monkeypatch: pytest.MonkeyPatch, commit: bool
) -> None:
    """It would be too late for this one, and become part of the next."""
    refused: list[LogStoreError] = []
    with store.transactional_producer("x") as producer:
        end = producer._store.end_transaction

        def slow_end(*args: Any, **options: Any) -> ProducerIdentity:
            for send_more in (
                lambda: send(producer, b"late"),
                lambda: producer.send_many("t", [b"late"]),
            ):
                try:
                    send_more()
                except LogStoreError as error:
                    refused.append(error)
            return end(*args, **options)

        monkeypatch.setattr(producer._store, "end_transaction", slow_end)
        producer.begin_transaction()
        send(producer, b"v")
        producer.flush()
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
        producer.begin_transaction()
        send(producer, b"next")
        producer.commit_transaction()
    assert {type(error) for error in refused} == {InvalidTransactionStateError}
    assert all("is being ended" in str(error) for error in refused)
    assert len(refused) == 4
    assert seen(store) == ([b"next", b"v"] if commit else [b"next"])


def test_an_end_that_failed_may_be_asked_for_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.transactional_producer("x") as producer:
        end = producer._store.end_transaction

        def fail(*_: Any, **__: Any) -> ProducerIdentity:
            monkeypatch.setattr(producer._store, "end_transaction", end)
            raise StorageFailedError("broken")

        monkeypatch.setattr(producer._store, "end_transaction", fail)
        producer.begin_transaction()
        send(producer, b"v")
        with pytest.raises(StorageFailedError):
            producer.commit_transaction()
        producer.commit_transaction()
    assert seen(store) == [b"v"]


def test_the_second_producer_fences_the_first(store: Store) -> None:
    with store.transactional_producer("x") as first:
        first.begin_transaction()
        send(first, b"zombie")
        first.flush()
        with store.transactional_producer("x") as second:
            with second.transaction():
                send(second, b"1")
            with pytest.raises(ProducerFencedError):
                first.commit_transaction()
            for verb in (first.begin_transaction, first.abort_transaction):
                with pytest.raises(ProducerFencedError, match="new producer"):
                    verb()
    assert seen(store) == [b"1"]


def test_a_record_that_was_given_up_keeps_the_transaction_from_being_committed(
    store: Store,
) -> None:
    store.create_topic("small", configs={"max_message_bytes": "16384"})
    with store.transactional_producer("x", compression="gzip") as producer:
        producer.begin_transaction()
        send(producer, b"1")
        lost = producer.send("small", os.urandom(20_000))
        with pytest.raises(BatchTooLargeError):
            lost.result(10)
        with pytest.raises(InvalidTransactionStateError, match="was given up"):
            send(producer, b"2")
        with pytest.raises(InvalidTransactionStateError, match="was given up"):
            producer.commit_transaction()
        producer.abort_transaction()
        with producer.transaction():
            send(producer, b"3")
            producer.send("small", b"4")
        with pytest.raises(LogStoreError), producer.transaction():
            producer.send("small", os.urandom(20_000))
        with producer.transaction():
            send(producer, b"5")
    assert seen(store) == [b"3", b"5"]


def test_the_position_passes_markers(store: Store) -> None:
    with store.transactional_producer("x") as producer:
        for value in (b"1", b"2"):
            with producer.transaction():
                producer.send("t", value, partition=0)
    with store.consumer(group="g", auto_offset_reset="earliest") as consumer:
        consumer.assign([("t", 0)])
        while consumer.position("t", 0) < 4:
            consumer.poll(5)
        consumer.commit()
    (lag,) = [item for item in store.describe_group("g").offsets if item.partition == 0]
    assert (lag.committed, lag.lag) == (4, 0)
