from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import logstore
from logstore import Store
from logstore.api import OffsetSpec, ResetTo, TopicPartition
from logstore.errors import (
    ClientClosedError,
    StoreClosedError,
    StoreLockedError,
    TopicExistsError,
    UnavailableError,
    UnknownTopicError,
)
from logstore.remote import RemoteConfig
from logstore.store import LocalLogStore
from logstore.testing import ManualClock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with logstore.open(tmp_path / "data") as opened:
        yield opened


def test_topics_are_created_once_unless_that_is_fine(store: Store) -> None:
    created = store.create_topic("t", partitions=3, configs={"retention_ms": "1000"})
    assert (created.name, len(created.partitions)) == ("t", 3)
    with pytest.raises(TopicExistsError):
        store.create_topic("t")
    assert store.create_topic("t", exist_ok=True) == store.describe_topic("t")


def test_topics_are_described_altered_grown_and_deleted(store: Store) -> None:
    store.create_topic("t", configs={"retention_ms": "1000"})
    store.create_topic("u")
    assert [info.name for info in store.describe_topics()] == ["t", "u"]
    assert [info.name for info in store.describe_topics(["u"])] == ["u"]
    assert any(info.internal for info in store.describe_topics(include_internal=True))
    assert store.alter_topic("t", set_configs={"retention_ms": "5"}).overrides == {
        "retention_ms": "5"
    }
    assert store.alter_topic("t", reset_configs=["retention_ms"]).overrides == {}
    assert len(store.add_partitions("t", total=4).partitions) == 4
    store.delete_topic("t")
    with pytest.raises(UnknownTopicError):
        store.describe_topic("t")


def test_offsets_and_deleting_records(store: Store) -> None:
    store.create_topic("t")
    with store.producer() as producer:
        producer.send_many("t", [b"x"] * 5, timestamps_ms=range(100, 105))
    answers = store.list_offsets(
        [("t", 0, OffsetSpec.EARLIEST), ("t", 0, OffsetSpec.LATEST), ("t", 0, 103)]
    )
    assert [answer.offset for answer in answers] == [0, 5, 3]
    assert store.delete_records("t", 0, before_offset=2) == 2
    assert store.delete_records("t", 0, before_offset=-1) == 5


def test_groups(store: Store) -> None:
    store.create_topic("t")
    with store.producer() as producer:
        producer.send_many("t", [b"x"] * 5)
    with store.consumer(group="g", auto_offset_reset="earliest") as consumer:
        consumer.assign([("t", 0)])
        assert len(consumer.poll(30)) == 5
    assert [group.group_id for group in store.list_groups()] == ["g"]
    (lag,) = store.describe_group("g").offsets
    assert (lag.committed, lag.lag) == (5, 0)
    (tried,) = store.reset_offsets("g", "shift", -2, topics=["t"], dry_run=True)
    assert tried.offset == 3
    assert store.committed_offsets("g")[0].offset == 5
    store.reset_offsets("g", ResetTo.OFFSET, 1, partitions=[("t", 0)])
    assert store.committed_offsets("g", [("t", 0)])[0].offset == 1
    store.delete_offsets("g", [TopicPartition("t", 0)])
    assert store.committed_offsets("g", [("t", 0)])[0].offset == -1
    store.delete_group("g")
    assert store.list_groups() == []


def test_close_closes_what_the_store_made_and_loses_nothing(tmp_path: Path) -> None:
    store = logstore.open(tmp_path / "data")
    store.create_topic("t")
    consumer, producer = store.consumer("t", group="g"), store.producer(linger_ms=3_600_000)
    delivery = producer.send("t", b"x")
    store.close()
    store.close()
    assert delivery.result(0).offset == 0
    assert producer.closed
    assert consumer.closed
    with pytest.raises(ClientClosedError):
        producer.send("t", b"x")
    with pytest.raises(StoreClosedError):
        store.create_topic("u")
    with logstore.open(tmp_path / "data") as again:
        (end,) = again.list_offsets([("t", 0, OffsetSpec.LATEST)])
        assert end.offset == 1


def test_close_closes_everything_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = logstore.open(tmp_path / "data")
    store.create_topic("t")
    producer, consumer, other = store.producer(), store.consumer("t"), store.producer()

    def fail() -> None:
        raise UnavailableError("not now")

    monkeypatch.setattr(consumer, "close", fail)
    with pytest.raises(UnavailableError):
        store.close()
    assert producer.closed
    assert other.closed
    with logstore.open(tmp_path / "data"):
        pass


def test_names_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, logstore; "
        "assert not [name for name in sys.modules if name.startswith('logstore.client')]; "
        "assert logstore.errors.StoreClosedError and logstore.api.OffsetSpec; "
        "assert 'asyncio' not in sys.modules; "
        "assert logstore.aio.AsyncProducer and logstore.open and logstore.Record; "
        "assert set(logstore.__all__) <= set(dir(logstore))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with pytest.raises(AttributeError, match="nosuch"):
        logstore.nosuch  # noqa: B018


def test_one_writer_at_a_time(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreLockedError):
        logstore.open(tmp_path / "data")


def test_without_a_driver_the_caller_keeps_the_time(tmp_path: Path) -> None:
    clock = ManualClock()
    with logstore.open(tmp_path / "data", driver=None, clock=clock) as store:
        store.create_topic("t")
        with store.producer(clock=clock) as producer:
            delivery = producer.send("t", b"x")
            delivery.expedite()
            assert isinstance(store.log_store, LocalLogStore)
            while not delivery.done:
                store.log_store.run_flush()
            assert delivery.result(0).timestamp == clock.now_ms()


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
        logstore.connect("127.0.0.1:1", config=RemoteConfig(connect_timeout_ms=100))
