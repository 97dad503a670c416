from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logstore.api import (
    Acks,
    FetchPosition,
    GroupHeartbeat,
    OffsetQuery,
    OffsetReset,
    OffsetSpec,
    OffsetToCommit,
    ResetTo,
    TopicPartition,
    TopicSpec,
)
from logstore.catalog import CATALOG_TOPIC, OFFSETS_TOPIC
from logstore.config import StoreConfig
from logstore.errors import (
    BatchChecksumError,
    BatchCountError,
    BatchLengthError,
    BatchMagicError,
    BatchTooLargeError,
    InvalidBatchError,
    InvalidConfigError,
    InvalidPartitionCountError,
    InvalidRequestError,
    InvalidTopicNameError,
    LogStoreError,
    OffsetOutOfRangeError,
    StaleMemberEpochError,
    StorageFailedError,
    StoreClosedError,
    StoreLockedError,
    TopicExistsError,
    UnknownMemberError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.journal import java_string_hash, replay
from logstore.record import decode_records, encode_batch, iter_batches
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem

LIMIT = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalLogStore]:
    opened = LocalLogStore.open(str(tmp_path / "store"))
    yield opened
    opened.close()


def batch(*values: bytes, timestamp: int = 1000) -> bytearray:
    return encode_batch(list(values), timestamps=timestamp)


def read(store: LocalLogStore, topic: str, partition: int = 0, offset: int = 0) -> list[bytes]:
    reader = store.open_reader(bytes_max=LIMIT, partition_bytes_max=LIMIT)
    reader.set_position(topic, partition, offset)
    values: list[bytes] = []
    while found := reader.poll(0):
        for item in found:
            if item.error is not None:
                raise item.error
            for part in iter_batches(item.data):
                for record in decode_records(
                    part, from_offset=offset, decompressed_bytes_max=LIMIT
                ):
                    assert record.value is not None
                    values.append(record.value)
    reader.close()
    return values


# --- topics -----------------------------------------------------------------------------------


def test_topics_and_their_configs_survive_a_reopening(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    store = LocalLogStore.open(path)
    made = store.create_topic(TopicSpec("orders", 3, {"retention.ms": "5000"}))
    store.create_topic(TopicSpec("gone"))
    store.delete_topic("gone")
    store.add_partitions("orders", total=5)
    store.alter_topic("orders", set_configs={"segment_ms": "7"}, reset_configs=["retention_ms"])
    cluster_id = store.describe_store().cluster_id
    store.close()
    store = LocalLogStore.open(path)
    (topic,) = store.describe_topics()
    assert topic.topic_id == made.topic_id
    assert [info.partition for info in topic.partitions] == [0, 1, 2, 3, 4]
    assert topic.overrides == {"segment_ms": "7"}
    assert topic.configs["retention_ms"] == "-1"
    assert store.describe_store().cluster_id == cluster_id
    assert store.recovery_notes == []
    store.close()


def test_a_topic_made_again_is_another(store: LocalLogStore) -> None:
    first = store.create_topic(TopicSpec("t"))
    store.append("t", 0, batch(b"old")).result(10)
    store.commit_offsets("g", [OffsetToCommit("t", 0, 1)]).result(10)
    store.delete_topic("t")
    second = store.create_topic(TopicSpec("t"))
    assert second.topic_id != first.topic_id
    assert read(store, "t") == []
    assert store.committed_offsets("g", [TopicPartition("t", 0)])[0].offset == -1


def test_a_directory_without_a_topic_is_set_aside_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "store"
    LocalLogStore.open(str(path)).close()
    (path / "stray-0").mkdir()
    (path / "stray-0" / "00000000000000000000.log").write_bytes(b"someone's")
    store = LocalLogStore.open(str(path))
    with pytest.raises(UnknownTopicError):
        store.describe_topics(["stray"])
    assert any("set aside" in note for note in store.recovery_notes)
    store.close()
    (kept,) = path.glob("stray-0.*-stray/*.log")
    assert kept.read_bytes() == b"someone's"


def test_validating_a_change_only_changes_nothing(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("orders", partitions=2))
    would = store.alter_topic("orders", set_configs={"retention.ms": "5"}, validate_only=True)
    assert would.overrides == {"retention_ms": "5"}
    store.add_partitions("orders", total=3, validate_only=True)
    (topic,) = store.describe_topics(["orders"])
    assert topic.overrides == {}
    assert len(topic.partitions) == 2
    with pytest.raises(InvalidConfigError):
        store.alter_topic("orders", set_configs={"retention.ms": "x"}, validate_only=True)
    with pytest.raises(InvalidPartitionCountError):
        store.add_partitions("orders", total=2, validate_only=True)


def test_validating_only_makes_nothing(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"), validate_only=True)
    assert store.describe_topics() == []


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (TopicSpec("a/b"), InvalidTopicNameError),
        (TopicSpec("__consumer_offsets"), InvalidTopicNameError),
        (TopicSpec("t", 0), InvalidPartitionCountError),
        (TopicSpec("t", 1, {"segment_bytes": "1"}), InvalidConfigError),
        (TopicSpec("t", 1, {"nonsense": "1"}), InvalidConfigError),
        (TopicSpec("there"), TopicExistsError),
    ],
)
def test_a_topic_that_cannot_be_made_leaves_nothing(
    store: LocalLogStore, tmp_path: Path, spec: TopicSpec, error: type[LogStoreError]
) -> None:
    store.create_topic(TopicSpec("there"))
    before = sorted(path.name for path in (tmp_path / "store").iterdir())
    with pytest.raises(error):
        store.create_topic(spec)
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == before


def test_partitions_are_bounded_by_the_store(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path), config=StoreConfig(partitions_max=4))
    store.create_topic(TopicSpec("a", 3))
    with pytest.raises(InvalidPartitionCountError):
        store.create_topic(TopicSpec("b", 2))
    with pytest.raises(InvalidPartitionCountError):
        store.add_partitions("a", total=3)
    store.close()


# --- records ----------------------------------------------------------------------------------


def test_appended_batches_get_offsets_and_are_read_back(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))
    assert store.append("t", 1, batch(b"a", b"b")).result(10)[:2] == (0, 1)
    assert store.append("t", 1, batch(b"c")).result(10)[:2] == (2, 2)
    assert read(store, "t", 1) == [b"a", b"b", b"c"]
    assert read(store, "t", 1, offset=1) == [b"b", b"c"]
    assert read(store, "t", 0) == []


def test_every_kind_of_acknowledgement_is_visible_after_a_flush(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    for acks in (Acks.NONE, Acks.LEADER, Acks.ALL):
        store.append("t", 0, batch(acks.name.encode()), acks=acks).result(10)
    assert read(store, "t") == [b"NONE", b"LEADER", b"ALL"]


def test_with_page_cache_an_append_is_visible_at_once(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 1, {"durability": "page_cache"}))
    assert store.append("t", 0, batch(b"a")).done
    assert read(store, "t") == [b"a"]


def test_an_unflushed_append_is_invisible_until_the_round(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    ended: list[object] = []
    store.append("t", 0, batch(b"a")).add_done_callback(ended.append)
    assert (ended, read(store, "t")) == ([], [])
    store.run_flush()
    assert len(ended) == 1
    assert read(store, "t") == [b"a"]


def corrupted(position: int, value: int) -> bytes:
    good = batch(b"a", b"b")
    good[position] = value
    return bytes(good)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (corrupted(70, 0xFF), BatchChecksumError),
        (corrupted(16, 1), BatchMagicError),
        (corrupted(11, 0xFF), BatchLengthError),
        (bytes(batch(b"a"))[:-1], BatchLengthError),
        (b"", BatchLengthError),
        (b"garbage" * 20, InvalidBatchError),
        (bytes(encode_batch([b"x" * 2000], timestamps=1)), BatchTooLargeError),
    ],
)
def test_a_bad_batch_has_its_error_and_changes_nothing(
    store: LocalLogStore, bad: bytes, error: type[LogStoreError]
) -> None:
    store.create_topic(TopicSpec("t", 1, {"max_message_bytes": "1000"}))
    store.append("t", 0, batch(b"good")).result(10)
    with pytest.raises(error):
        store.append("t", 0, bad).result(10)
    assert store.append("t", 0, batch(b"next")).result(10).base_offset == 1
    assert read(store, "t") == [b"good", b"next"]


def test_a_lying_record_count_is_refused(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    lying = batch(b"a", b"b")
    lying[57:61] = (5).to_bytes(4, "big")
    from logstore.record.batch import seal

    seal(lying)
    with pytest.raises(BatchCountError):
        store.append("t", 0, lying).result(10)


def test_clients_may_not_write_control_batches_or_internal_topics(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    control = encode_batch([b"x"], timestamps=1, is_control=True)
    with pytest.raises(InvalidBatchError, match="control"):
        store.append("t", 0, control).result(10)
    store.commit_offsets("g", [OffsetToCommit("t", 0, 0)]).result(10)
    with pytest.raises(InvalidRequestError, match="logstore itself"):
        store.append("__consumer_offsets", 0, batch(b"x")).result(10)


def test_a_duplicate_is_answered_with_the_first_offset(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    identity = store.init_producer()
    once = encode_batch(
        [b"a"], timestamps=1, producer_id=identity.producer_id, producer_epoch=0, base_sequence=0
    )
    first = store.append("t", 0, once).result(10)
    again = store.append("t", 0, once).result(10)
    assert (again.base_offset, again.duplicate) == (first.base_offset, True)
    assert read(store, "t") == [b"a"]


def test_producer_ids_are_never_given_twice(tmp_path: Path) -> None:
    seen: set[int] = set()
    for _ in range(3):
        store = LocalLogStore.open(str(tmp_path))
        seen.update(store.init_producer().producer_id for _ in range(5))
        store.close()
    assert len(seen) == 15


def test_unknown_places_have_their_errors(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    with pytest.raises(UnknownTopicError):
        store.append("none", 0, batch(b"a")).result(10)
    with pytest.raises(UnknownPartitionError, match="0 to 0"):
        store.append("t", 1, batch(b"a")).result(10)
    with pytest.raises(UnknownPartitionError):
        store.append("t", -1, batch(b"a")).result(10)
    with pytest.raises(OffsetOutOfRangeError):
        read(store, "t", 0, offset=5)


# --- waiting ----------------------------------------------------------------------------------


def test_a_waiting_reader_wakes_when_data_comes(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    reader = store.open_reader(bytes_max=LIMIT, partition_bytes_max=LIMIT)
    reader.set_position("t", 0, 0)
    got: list[int] = []
    waiter = threading.Thread(target=lambda: got.append(len(reader.poll(30))))
    waiter.start()
    store.append("t", 0, batch(b"a")).result(10)
    waiter.join(30)
    assert got == [1]
    reader.close()


def test_wait_for_data_calls_once_and_can_be_cancelled(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))
    calls: list[str] = []
    places = [FetchPosition("t", partition, 0, LIMIT) for partition in (0, 1)]
    store.wait_for_data(places, lambda: calls.append("kept"))
    cancelled = store.wait_for_data(places, lambda: calls.append("cancelled"))
    cancelled.cancel()
    for partition in (0, 1):
        store.append("t", partition, batch(b"a")).result(10)
    assert calls == ["kept"]
    store.wait_for_data(places, lambda: calls.append("at once"))
    store.wait_for_data([FetchPosition("none", 0, 0, 1)], lambda: calls.append("error"))
    assert calls == ["kept", "at once", "error"]


def test_deleting_a_topic_wakes_its_waiters(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    woken = threading.Event()
    store.wait_for_data([FetchPosition("t", 0, 0, 1)], woken.set)
    store.delete_topic("t")
    assert woken.is_set()


def test_reading_is_fair_between_partitions(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 3))
    for partition in range(3):
        for _ in range(3):
            store.append("t", partition, batch(b"x" * 100)).result(10)
    reader = store.open_reader(bytes_max=1, partition_bytes_max=1)
    for partition in range(3):
        reader.set_position("t", partition, 0)
    order = [item.partition for _ in range(9) for item in reader.poll(0)]
    assert order == [0, 1, 2] * 3
    reader.close()


# --- offsets ----------------------------------------------------------------------------------


def test_offsets_by_time_and_ends(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    store.append("t", 0, encode_batch([b"a", b"b", b"c"], timestamps=[10, 30, 20])).result(10)
    asked = [OffsetSpec.EARLIEST, OffsetSpec.LATEST, OffsetSpec.MAX_TIMESTAMP, 11, 30, 31]
    answers = store.list_offsets([OffsetQuery("t", 0, ts) for ts in asked])
    assert [answer.offset for answer in answers] == [0, 3, 1, 1, 1, -1]
    assert [answer.timestamp_ms for answer in answers[2:5]] == [30, 30, 30]
    (missing,) = store.list_offsets([OffsetQuery("none", 0, 0)])
    assert isinstance(missing.error, UnknownTopicError)


def test_deleted_records_are_out_of_range(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    for value in (b"a", b"b", b"c"):
        store.append("t", 0, batch(value)).result(10)
    assert store.delete_records("t", 0, before_offset=2) == 2
    assert read(store, "t", 0, offset=2) == [b"c"]
    with pytest.raises(OffsetOutOfRangeError):
        read(store, "t", 0, offset=1)
    assert store.delete_records("t", 0, before_offset=-1) == 3
    with pytest.raises(OffsetOutOfRangeError):
        store.delete_records("t", 0, before_offset=9)


# --- groups -----------------------------------------------------------------------------------


def test_a_member_owns_reads_and_commits(tmp_path: Path) -> None:
    path = str(tmp_path)
    store = LocalLogStore.open(path)
    store.create_topic(TopicSpec("t", 2))
    store.append("t", 0, batch(*b"abcdef".split(), *[b"x"] * 5)).result(10)
    joined = store.group_heartbeat(GroupHeartbeat("g", subscribed_topics=("t",)))
    assert joined.partitions == (("t", 0), ("t", 1))
    with pytest.raises(UnknownMemberError):
        store.commit_offsets(
            "g", [OffsetToCommit("t", 0, 1)], member_id="stranger", member_epoch=1
        ).result(10)
    with pytest.raises(StaleMemberEpochError):
        store.commit_offsets(
            "g",
            [OffsetToCommit("t", 0, 1)],
            member_id=joined.member_id,
            member_epoch=joined.member_epoch - 1,
        ).result(10)
    store.commit_offsets(
        "g",
        [OffsetToCommit("t", 0, 5, 0, "note")],
        member_id=joined.member_id,
        member_epoch=joined.member_epoch,
    ).result(10)
    store.close()
    store = LocalLogStore.open(path)
    (found,) = store.committed_offsets("g")
    assert (found.offset, found.metadata) == (5, "note")
    store.close()


def test_new_partitions_reach_a_waiting_member(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    joined = store.group_heartbeat(GroupHeartbeat("g", subscribed_topics=("t",)))
    got: list[int] = []

    def wait() -> None:
        answer = store.group_heartbeat(
            GroupHeartbeat("g", joined.member_id, joined.member_epoch, owned=joined.partitions),
            wait=30,
        )
        got.append(len(answer.partitions))

    waiter = threading.Thread(target=wait)
    waiter.start()
    store.add_partitions("t", total=4)
    waiter.join(30)
    assert got == [4]


def test_offsets_of_an_empty_group_are_reset(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    store.append("t", 0, encode_batch([b"a", b"b", b"c"], timestamps=[10, 20, 30])).result(10)

    def reset(to: ResetTo, value: int = 0) -> int:
        (moved,) = store.reset_offsets(OffsetReset("g", to, value, topics=("t",)))
        return moved.offset

    assert reset(ResetTo.LATEST) == 3
    assert reset(ResetTo.SHIFT, -2) == 1
    assert reset(ResetTo.TIMESTAMP, 15) == 1
    assert reset(ResetTo.EARLIEST) == 0
    assert reset(ResetTo.OFFSET, 99) == 3
    assert store.committed_offsets("g")[0].offset == 3
    (lag,) = store.describe_group("g").offsets
    assert (lag.committed, lag.lag) == (3, 0)


def test_group_ids_hash_as_in_java() -> None:
    assert java_string_hash("") == 0
    assert java_string_hash("hello") == 99162322
    assert java_string_hash("polygenelubricants") == 0  # its hashCode is the smallest int
    assert java_string_hash("\U0001f600") == 1772899


# --- the store --------------------------------------------------------------------------------


def test_one_process_writes(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path))
    with pytest.raises(StoreLockedError):
        LocalLogStore.open(str(tmp_path))
    store.close()
    store.close()
    with pytest.raises(StoreClosedError):
        store.describe_topics()
    with pytest.raises(StoreClosedError):
        store.append("t", 0, batch(b"a")).result(10)


def test_closing_ends_every_wait(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path))
    store.create_topic(TopicSpec("t"))
    joined = store.heartbeat_now(GroupHeartbeat("g", subscribed_topics=("t",)))
    told = threading.Event()
    known = store.heartbeat_now(
        GroupHeartbeat("g", joined.member_id, joined.member_epoch, owned=joined.partitions)
    )
    store.watch_member("g", joined.member_id, known, told.set)
    assert not told.is_set()
    woken = threading.Event()
    store.wait_for_data([FetchPosition("t", 0, 0, 1)], woken.set)
    store.close()
    assert told.is_set()
    assert woken.is_set()


def test_the_offsets_topic_is_compacted_also_in_a_store_from_before(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logstore.catalog.COMPACTED_TOPICS", frozenset())
        with closing(LocalLogStore.open(str(tmp_path))) as before:
            (topic,) = before.describe_topics([OFFSETS_TOPIC])
            assert topic.configs["cleanup_policy"] == "delete"
    with closing(LocalLogStore.open(str(tmp_path))) as store:
        (topic,) = store.describe_topics([OFFSETS_TOPIC])
        assert topic.configs["cleanup_policy"] == "compact"
        assert topic.overrides["cleanup_policy"] == "compact"


def test_a_replay_gets_past_a_batch_whose_last_record_was_compacted_away(tmp_path: Path) -> None:
    with closing(LocalLogStore.open(str(tmp_path))) as store:
        configs = {"segment_bytes": str(16 << 10), "cleanup_policy": "compact"}
        store.create_topic(TopicSpec("t", 1, configs))
        log = store._table.log("t", 0)
        log.append(encode_batch([b"1", b"1"], [b"a", b"b"]))
        for _ in range(20):
            log.append(encode_batch([b"2" * 2000], [b"b"]))
        log.flush()
        for _ in log.cleaner.clean(secret=b"secret"):
            pass
        found = [(key, value) for key, value, _ in replay(log, LIMIT)]
        assert found[0] == (b"a", b"1")
        assert 2 < len(found) < 10
        assert set(found[1:]) == {(b"b", b"2" * 2000)}


@pytest.mark.parametrize("how", [MemoryFileSystem.kill, MemoryFileSystem.power_loss])
@pytest.mark.parametrize("seed", range(4))
def test_a_creation_in_doubt_is_not_repeated_under_another_id(
    seed: int, how: Callable[[MemoryFileSystem], None]
) -> None:
    """The catalog's sync failed: whether it has the topic is not known before the next opening, and
    what it may have must find its directory then."""
    fs = MemoryFileSystem(seed)
    store = LocalLogStore.open("store", fs=fs)
    fs.inject("sync", path_contains=CATALOG_TOPIC)
    for _ in range(2):
        with pytest.raises(StorageFailedError):
            store.create_topic(TopicSpec("t"))
    with pytest.raises(StorageFailedError):
        store.init_producer("x")
    how(fs)
    store = LocalLogStore.open("store", fs=fs)
    if "t" not in {topic.name for topic in store.describe_topics()}:
        store.create_topic(TopicSpec("t"))
    assert store.append("t", 0, encode_batch([b"v"])).result(5).base_offset == 0
    store.init_producer("x")
    store.close()
