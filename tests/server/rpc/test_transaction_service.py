"""Transactions over the wire, by messages and by our client."""

from __future__ import annotations

import threading
from collections.abc import Callable

import grpc
import pytest

from logstore.api import OffsetToCommit, ProducerIdentity, TopicSpec
from logstore.errors import InvalidTransactionStateError, ProducerFencedError
from logstore.record import encode_batch
from logstore.remote import connect_store
from logstore.store import LocalLogStore
from logstore.v1 import common_pb2 as common
from logstore.v1 import consume_service_pb2 as consume
from logstore.v1 import group_service_pb2 as groups
from logstore.v1 import produce_service_pb2 as produce
from logstore.v1 import transaction_service_pb2 as pb
from logstore.v1.transaction_service_pb2_grpc import TransactionServiceStub
from tests.server.in_process import InProcessServer
from tests.server.rpc.stubs import TIMEOUT, Stubs, reason_of
from tests.txn.test_crashes import read


class Wire:
    """One transactional producer by messages, with records and not batches."""

    def __init__(self, stubs: Stubs) -> None:
        self.stubs = stubs
        self.transactions = TransactionServiceStub(stubs.channel)
        request = produce.InitProducerRequest(transactional_id="x")
        self._follow(stubs.produce.InitProducer(request, timeout=TIMEOUT))

    def _follow(self, answer: produce.InitProducerResponse | pb.EndTransactionResponse) -> None:
        self.producer = pb.TransactionalProducer(
            transactional_id="x",
            producer_id=answer.producer_id,
            producer_epoch=answer.producer_epoch,
        )
        self.sequence = 0

    def put(self, *values: bytes) -> None:
        records = produce.RecordSet(
            records=[common.Record(value=value) for value in values],
            producer=produce.ProducerSequence(
                producer_id=self.producer.producer_id,
                producer_epoch=self.producer.producer_epoch,
                base_sequence=self.sequence,
                is_transactional=True,
            ),
        )
        request = produce.ProduceRequest(topic="t", records=records)
        self.stubs.produce.Produce(request, timeout=TIMEOUT)
        self.sequence += len(values)

    def end(self, *, commit: bool) -> None:
        request = pb.EndTransactionRequest(producer=self.producer, commit=commit)
        self._follow(self.transactions.EndTransaction(request, timeout=TIMEOUT))

    def committed(self, offset: int = 0, wait_ms: int = 0) -> list[bytes]:
        request = consume.FetchRequest(
            positions=[consume.Position(topic="t", offset=offset)],
            isolation=common.ISOLATION_READ_COMMITTED,
            format=common.RECORD_FORMAT_RECORDS,
            max_wait_ms=wait_ms,
        )
        answer = self.stubs.consume.Fetch(request, timeout=TIMEOUT)
        return [record.value for item in answer.partitions for record in item.records]


@pytest.fixture
def wire(stubs: Stubs) -> Wire:
    stubs.create("t")
    return Wire(stubs)


def test_what_was_committed_is_seen_and_what_was_aborted_is_not(wire: Wire) -> None:
    wire.put(b"1", b"2")
    assert wire.committed() == []
    assert wire.stubs.values("t") == [b"1", b"2"]  # uncommitted readers see it at once
    wire.end(commit=True)
    wire.put(b"3")
    wire.end(commit=False)
    wire.put(b"4")
    wire.end(commit=True)
    assert wire.committed() == [b"1", b"2", b"4"]
    assert wire.stubs.values("t") == [b"1", b"2", b"3", b"4"]


def test_a_long_poll_waits_for_the_end_of_the_transaction(wire: Wire) -> None:
    wire.put(b"1")
    found: list[bytes] = []
    waiting = threading.Thread(target=lambda: found.extend(wire.committed(wait_ms=8000)))
    waiting.start()
    wire.put(b"2")
    wire.end(commit=True)
    waiting.join(9)
    assert found == [b"1", b"2"]


def test_offsets_in_a_transaction(wire: Wire, store: LocalLogStore) -> None:
    wire.stubs.append("t", b"a", b"b")
    for commit, offset, expected in ((False, 1, []), (True, 2, [2])):
        request = pb.AddOffsetsRequest(
            producer=wire.producer,
            group_id="g",
            offsets=[groups.OffsetToCommit(topic="t", partition=0, offset=offset)],
        )
        wire.transactions.AddOffsets(request, timeout=TIMEOUT)
        wire.end(commit=commit)
        assert [item.offset for item in store.committed_offsets("g")] == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda wire: wire.producer.ClearField("transactional_id"), "INVALID_REQUEST"),
        (lambda wire: setattr(wire.producer, "producer_id", 99), "UNKNOWN_TRANSACTIONAL_ID"),
        (lambda wire: Wire(wire.stubs), "PRODUCER_FENCED"),
        (lambda wire: wire.end(commit=True), "INVALID_TRANSACTION_STATE"),
    ],
)
def test_every_wrong_end_has_its_reason(
    wire: Wire, change: Callable[[Wire], object], reason: str
) -> None:
    wire.put(b"1")
    change(wire)
    with pytest.raises(grpc.RpcError) as failure:
        wire.end(commit=True)
    assert reason_of(failure.value)[1] == reason


def test_the_remote_store_does_it_all(server: InProcessServer, store: LocalLogStore) -> None:
    remote = connect_store(server.address)
    try:
        remote.create_topic(TopicSpec("t", 2))

        def put(producer: ProducerIdentity, value: bytes, partition: int, at: int = 0) -> None:
            batch = encode_batch(
                [value],
                producer_id=producer.producer_id,
                producer_epoch=producer.producer_epoch,
                base_sequence=at,
                is_transactional=True,
            )
            remote.append("t", partition, batch).result(TIMEOUT)

        producer = remote.init_producer("x", transaction_timeout_ms=5000)
        for value, commit in ((b"1", True), (b"no", False), (b"2", True)):
            put(producer, value, 0)
            put(producer, value, 1)
            offsets = [OffsetToCommit("t", 0, 1)]
            remote.commit_offsets_in_transaction("x", producer, "g", offsets)
            before, producer = producer, remote.end_transaction("x", producer, commit=commit)
            assert remote.end_transaction("x", before, commit=commit) == producer
        with pytest.raises(ProducerFencedError):
            put(before, b"late", 0, 1)
        with pytest.raises(InvalidTransactionStateError):
            remote.end_transaction("x", producer, commit=True)
        for part in (("t", 0), ("t", 1)):
            assert read(store, part) == [b"1", b"2"]
        reader = remote.open_reader(
            bytes_max=1 << 20, partition_bytes_max=1 << 20, read_committed=True
        )
        reader.set_position("t", 0, 0)
        found = b"".join(bytes(item.data) for item in reader.poll(TIMEOUT))
        assert b"no" not in found
        reader.close()
    finally:
        remote.close()
