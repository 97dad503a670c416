from __future__ import annotations

import threading
import time
import uuid

import pytest

from logstore.api import TopicSpec
from logstore.record import encode_batch
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire

VERSIONS = range(4, 19)


def batch(value: bytes) -> bytes:
    return bytes(encode_batch([value], [None], [1], [[]]))


def ask(wire: Wire, store, version: int = 11, offset: int = 0, **fields):
    """The one partition of the answer."""
    answer = wire.ask("fetch", version, **fetch(store, offset, **fields))
    (topic,) = answer.responses
    (partition,) = topic.partitions
    return partition


def fetch(store, offset: int, *, topic: str = "t", partition: int = 0, **fields):
    infos = {info.name: info.topic_id for info in store.describe_topics()}
    asked = {
        "partition": partition,
        "fetch_offset": offset,
        "partition_max_bytes": fields.pop("partition_max_bytes", 1 << 20),
    }
    return {
        "replica_id": -1,
        "max_wait": 0,
        "min_bytes": 1,
        "topics": [
            {
                "topic": topic,
                "topic_id": infos.get(topic, uuid.UUID(int=77)),
                "partitions": [asked],
            }
        ],
        "forgotten_topics_data": [],
    } | fields


@pytest.fixture
def filled(store):
    store.create_topic(TopicSpec("t"))
    for value in (b"a", b"b", b"c" * 100_000):
        store.append("t", 0, batch(value)).result(10)
    return store


@pytest.mark.parametrize("version", VERSIONS)
def test_batches_come_as_they_are_in_the_log(wire: Wire, filled, version: int) -> None:
    found = ask(wire, filled, version)
    assert (found.error_code, found.high_watermark, found.last_stable_offset) == (0, 3, 3)
    assert found.records.count(b"c") >= 100_000
    assert ask(wire, filled, version, offset=3).records in (b"", None)


def test_one_whole_batch_comes_however_small_the_limits(wire: Wire, filled) -> None:
    found = ask(wire, filled, 11, offset=2, max_bytes=1, partition_max_bytes=1)
    assert len(found.records) > 100_000


@pytest.mark.parametrize("version", VERSIONS)
def test_what_cannot_be_read(wire: Wire, filled, version: int) -> None:
    missing = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if version < 13 else ErrorCode.UNKNOWN_TOPIC_ID
    assert ask(wire, filled, version, topic="none").error_code == missing
    unknown = ask(wire, filled, version, partition=1)
    assert unknown.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert ask(wire, filled, version, offset=4).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_it_waits_for_data(wire: Wire, filled) -> None:
    timer = threading.Timer(0.2, lambda: filled.append("t", 0, batch(b"late")))
    timer.start()
    started = time.monotonic()
    assert b"late" in ask(wire, filled, 11, offset=3, max_wait=10_000).records
    assert time.monotonic() - started < 5
    timer.join()


def test_it_waits_no_longer_than_it_may(wire: Wire, filled) -> None:
    started = time.monotonic()
    assert ask(wire, filled, 11, offset=3, max_wait=200).records in (b"", None)
    assert 0.15 < time.monotonic() - started < 5


def test_it_waits_for_min_bytes_behind_what_is_there(wire: Wire, filled) -> None:
    timer = threading.Timer(0.2, lambda: filled.append("t", 0, batch(bytes(5_000))))
    timer.start()
    found = ask(wire, filled, 11, offset=1, max_wait=10_000, min_bytes=104_000)
    assert len(found.records) >= 104_000
    timer.join()


def test_what_has_no_room_in_the_answer_comes_with_its_bounds(wire: Wire, filled) -> None:
    filled.create_topic(TopicSpec("u"))
    filled.append("u", 0, batch(b"u")).result(10)
    fields = fetch(filled, 2, max_bytes=10)
    fields["topics"] += fetch(filled, 0, topic="u")["topics"]
    full, rest = wire.ask("fetch", 11, **fields).responses
    assert full.partitions[0].records
    (partition,) = rest.partitions
    assert (partition.error_code, partition.high_watermark) == (0, 1)
    assert not partition.records


# --- sessions -------------------------------------------------------------------------------


def session_fetch(
    wire: Wire, store, session_id: int, epoch: int, *parts, version: int = 12, **more
):
    """(session id, {partition: answer})"""
    (info,) = store.describe_topics(["t"])
    asked = [
        {"partition": part, "fetch_offset": at, "partition_max_bytes": 999} for part, at in parts
    ]
    topics = [{"topic": "t", "topic_id": info.topic_id, "partitions": asked}] if parts else []
    answer = wire.ask(
        "fetch", version, replica_id=-1, max_wait=0, min_bytes=1, topics=topics,
        session_id=session_id, session_epoch=epoch,
        **{"forgotten_topics_data": []} | more,
    )  # fmt: skip
    found = {part.partition_index: part for topic in answer.responses for part in topic.partitions}
    return answer, found


@pytest.fixture
def two(store):
    store.create_topic(TopicSpec("t", 2))
    store.append("t", 0, batch(b"a")).result(10)
    return store


@pytest.mark.parametrize("version", [7, 12, 13, 18])
def test_a_session_is_told_only_what_is_new(wire: Wire, two, version: int) -> None:
    first, found = session_fetch(wire, two, 0, 0, (0, 0), (1, 0), version=version)
    number = first.session_id
    assert number > 0
    assert set(found) == {0, 1}
    _, found = session_fetch(wire, two, number, 1, (0, 1), version=version)
    assert found == {}
    two.append("t", 1, batch(b"b")).result(10)
    _, found = session_fetch(wire, two, number, 2, version=version)
    assert set(found) == {1}
    assert b"b" in found[1].records
    forgotten = [
        {"topic": "t", "topic_id": two.describe_topics(["t"])[0].topic_id, "partitions": [1]}
    ]
    answer, found = session_fetch(
        wire, two, number, 3, version=version, forgotten_topics_data=forgotten
    )
    assert (answer.session_id, found) == (number, {})


def test_a_lost_session_is_told(wire: Wire, two) -> None:
    answer, _ = session_fetch(wire, two, 12345, 1)
    assert answer.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    first, _ = session_fetch(wire, two, 0, 0, (0, 0))
    answer, _ = session_fetch(wire, two, first.session_id, 7)
    assert answer.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH


# --- epochs, transactions -------------------------------------------------------------------


def test_a_leader_epoch_that_is_not_the_current_one(wire: Wire, filled) -> None:
    fields = fetch(filled, 0)
    fields["topics"][0]["partitions"][0]["current_leader_epoch"] = 3
    (topic,) = wire.ask("fetch", 12, **fields).responses
    assert topic.partitions[0].error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_a_last_fetched_epoch_that_ended_earlier_is_told_where(wire: Wire, filled) -> None:
    fields = fetch(filled, 99)
    fields["topics"][0]["partitions"][0]["last_fetched_epoch"] = 0
    (topic,) = wire.ask("fetch", 12, **fields).responses
    diverging = topic.partitions[0].diverging_epoch
    assert (diverging.epoch, diverging.end_offset) == (0, 3)


def test_aborted_transactions_are_listed_for_readers_of_committed_records(
    wire: Wire, store
) -> None:
    store.create_topic(TopicSpec("t"))
    producer = store.init_producer("x")
    records = encode_batch(
        [b"no"], [None], [1], [[]], producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch, base_sequence=0, is_transactional=True,
    )  # fmt: skip
    store.append("t", 0, records).result(10)
    open_still = ask(wire, store, 12, isolation_level=1)
    assert (open_still.records or b"", open_still.last_stable_offset) == (b"", 0)
    assert b"no" in ask(wire, store, 12).records
    store.end_transaction("x", producer, commit=False)
    found = ask(wire, store, 12, isolation_level=1)
    assert [(one.producer_id, one.first_offset) for one in found.aborted_transactions] == [
        (producer.producer_id, 0)
    ]
    assert ask(wire, store, 12).aborted_transactions is None
