"""A partition that cannot be opened: its uses raise why, everything else is served."""

from __future__ import annotations

import errno

import pytest

from logstore.api import OffsetQuery, TopicPartition, TopicSpec
from logstore.errors import CorruptDataError, LogStoreError, StorageFailedError
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem
from tests.verify.sample_store import ROOT, damage, make_store, open_store, read_records


def without_identity(*, clean: bool = True) -> MemoryFileSystem:
    memory = make_store(clean=clean)
    damage(memory, f"{ROOT}/orders-0/partition.metadata", 0, b"?" * 30)
    return memory


def refused(store: LocalLogStore) -> list[LogStoreError]:
    """What the uses of the partition raise."""
    found = []
    for use in (
        lambda: store.append("orders", 0, encode_batch([b"x"])).result(),
        lambda: store.delete_records("orders", 0, before_offset=1),
        lambda: store.open_reader(bytes_max=9, partition_bytes_max=9).set_position("orders", 0, 3),
    ):
        try:
            use()
        except LogStoreError as refusal:
            found.append(refusal)
    _, error = read_records(store, "orders", 0)
    assert error is not None
    (answer,) = store.list_offsets([OffsetQuery("orders", 0, 1000)])
    assert answer.error is not None
    return [*found, error, answer.error]


@pytest.mark.parametrize("clean", [True, False])
def test_the_others_are_served(clean: bool) -> None:
    memory = without_identity(clean=clean)
    store = open_store(memory)
    assert len(read_records(store, "audit", 2)[0]) == 10
    assert store.append("audit", 0, encode_batch([b"more"])).result().base_offset == 12
    errors = refused(store)
    assert len(errors) >= 4
    assert {type(error) for error in errors} == {CorruptDataError}
    assert all("partition.metadata is damaged" in str(error) for error in errors)
    (note,) = [note for note in store.recovery_notes if "orders" in note]
    assert "orders-0 could not be opened and is not served" in note
    store.run_maintenance()
    store.close()


def test_it_is_looked_at_again_by_the_next_opening() -> None:
    memory = make_store()
    path = f"{ROOT}/orders-0/partition.metadata"
    before = memory.open(path).read(100, 0)
    damage(memory, path, 0, b"?" * 30)
    open_store(memory).close()
    damage(memory, path, 0, before)
    store = open_store(memory)
    found, error = read_records(store, "orders", 0)
    assert (len(found), error) == (60, None)
    assert store.committed_offsets("g", [TopicPartition("orders", 0)])[0].offset == 17
    store.close()


def test_a_disk_that_cannot_be_read() -> None:
    memory = make_store(clean=False)
    memory.inject("read", errno.EIO, path_contains="orders-0/0", times=None)
    store = open_store(memory)
    assert {type(error) for error in refused(store)} == {StorageFailedError}
    assert store.committed_offsets("g", [TopicPartition("orders", 0)])[0].offset == 17
    store.close()
    memory.heal()
    store = open_store(memory)
    assert len(read_records(store, "orders", 0)[0]) == 61
    store.close()


def test_its_topic_can_be_described_altered_and_deleted() -> None:
    store = open_store(without_identity())
    (info,) = store.describe_topics(["orders"])
    assert info.partitions[0].high_watermark == 60
    store.alter_topic("orders", set_configs={"retention_ms": "5"})
    store.add_partitions("orders", total=2)
    assert store.append("orders", 1, encode_batch([b"x"])).result().base_offset == 0
    store.delete_topic("orders")
    store.create_topic(TopicSpec("orders", 1))
    assert store.append("orders", 0, encode_batch([b"x"])).result().base_offset == 0
    store.close()


def test_logstores_own_topics_must_open() -> None:
    memory = make_store()
    damage(memory, f"{ROOT}/__consumer_offsets-0/partition.metadata", 0, b"?" * 30)
    with pytest.raises(CorruptDataError, match="__consumer_offsets-0"):
        open_store(memory)
