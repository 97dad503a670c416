"""Directories in Kafka's layout into a store: offsets and bytes kept, all of a topic or nothing."""

from __future__ import annotations

from itertools import count

import pytest

from logstore.adopt import Adoption, adopt
from logstore.api import FetchPosition, OffsetQuery, OffsetSpec, TopicPartition, TopicSpec
from logstore.errors import (
    BatchMagicError,
    CorruptDataError,
    StoreFormatError,
    TopicExistsError,
    UnknownTopicError,
)
from logstore.group.offset_records import OffsetKey, OffsetValue, encode_key, encode_offset
from logstore.record import Marker, decode_records, iter_batches, parse_header
from logstore.store import LocalLogStore
from logstore.testing import MachineStoppedError, ManualClock, MemoryFileSystem
from tests.adopt.kafka_layout import ROOT, TOPIC_ID, Broker, Row, batch, marker

LIMIT = 1 << 20


def rows(first: int, total: int) -> list[Row]:
    return [(b"k%d" % n, b"v%d" % n, 1000 + n) for n in range(first, first + total)]


def open_store(fs: MemoryFileSystem) -> LocalLogStore:
    return LocalLogStore.open("store", fs=fs, clock=ManualClock())


def taken(fs: MemoryFileSystem, **options: object) -> tuple[LocalLogStore, Adoption]:
    store = open_store(fs)
    return store, adopt(store, fs, [ROOT], **options)  # type: ignore[arg-type]


def read(
    store: LocalLogStore, topic: str = "t", partition: int = 0, offset: int | None = None
) -> list[tuple[int, bytes | None, bytes | None, int]]:
    """(offset, key, value, timestamp) of all that a reader of committed records sees."""
    log = store._table.log(topic, partition)
    at = log.log_start_offset if offset is None else offset
    found = []
    reader = store.open_reader(bytes_max=LIMIT, partition_bytes_max=LIMIT, read_committed=True)
    reader.set_position(topic, partition, at)
    while items := reader.poll(0):
        for item in items:
            assert item.error is None, item.error
            for one in iter_batches(item.data):
                if not parse_header(one).is_control:
                    found += [
                        (record.offset, record.key, record.value, record.timestamp)
                        for record in decode_records(one, decompressed_bytes_max=LIMIT)
                        if record.offset >= at
                    ]
    reader.close()
    return found


def expected(items: list[Row], first: int) -> list[tuple[int, bytes | None, bytes | None, int]]:
    return [(first + n, *row) for n, row in enumerate(items)]


@pytest.fixture
def fs() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def broker(fs: MemoryFileSystem) -> Broker:
    return Broker(fs)


def two_partitions(broker: Broker) -> None:
    broker.partition(
        "t-0",
        {
            100: [batch(rows(100, 10), 100), batch(rows(110, 5), 110, compression=1)],
            115: [batch(rows(115, 5), 115, epoch=3)],
        },
        epochs=[(0, 100), (3, 115)],
        log_start=104,
    )
    broker.partition("t-1", {0: []})
    broker.close()


def test_offsets_timestamps_and_epochs_are_kept_and_the_source_is_not_touched(
    fs: MemoryFileSystem, broker: Broker
) -> None:
    two_partitions(broker)
    before = broker.contents()
    progress: list[tuple[str, int, int]] = []
    store, adoption = taken(fs, on_progress=lambda *seen: progress.append(seen))
    assert broker.contents() == before
    (topic,) = adoption.topics
    assert (topic.topic, topic.partitions, topic.end_offsets) == ("t", 2, (120, 0))
    assert progress[-1][1] == progress[-1][2] == topic.size_bytes
    for _ in range(2):
        info = store.describe_topics(["t"])[0]
        assert info.topic_id == TOPIC_ID
        assert info.partitioner == "murmur2"
        first = info.partitions[0]
        assert (first.log_start_offset, first.high_watermark) == (104, 120)
        assert first.leader_epoch > 3
        assert read(store) == expected(rows(104, 16), 104)
        assert store._table.log("t", 0).end_offset_for_epoch(0) == (0, 115)
        assert read(store, partition=1) == []
        (found,) = store.list_offsets([OffsetQuery("t", 0, 1110)])
        assert (found.offset, found.timestamp_ms) == (110, 1110)
        store.close()
        store = open_store(fs)
        assert store.recovery_notes == []


def test_the_bytes_of_the_batches_are_kept(fs: MemoryFileSystem, broker: Broker) -> None:
    batches = [batch(rows(0, 3), 0, compression=1), batch(rows(3, 3), 3)]
    broker.partition("t-0", {0: batches})
    broker.close()
    store, _ = taken(fs)
    with store.fetch([FetchPosition("t", 0, 0, LIMIT)], bytes_max=LIMIT, cold_ok=True) as fetched:
        assert bytes(fetched.partitions[0].data) == b"".join(batches)


def test_holes_of_compaction(fs: MemoryFileSystem, broker: Broker) -> None:
    """In a batch, between batches, at the end of a segment, over a whole one, and in the last."""
    broker.partition(
        "t-0",
        {
            0: [batch(rows(0, 2), 0, offsets=[0, 3]), batch(rows(2, 1), 8)],
            20: [],
            30: [batch(rows(3, 1), 34)],
            40: [batch(rows(4, 1), 40), batch(rows(5, 1), 50)],
        },
    )
    broker.close()
    store, adoption = taken(fs)
    assert adoption.topics[0].end_offsets == (51,)
    for _ in range(2):
        assert [row[0] for row in read(store)] == [0, 3, 8, 34, 40, 50]
        assert [row[0] for row in read(store, offset=21)] == [34, 40, 50]
        store.close()
        store = open_store(fs)
        assert store.recovery_notes == []


def test_transactions(fs: MemoryFileSystem, broker: Broker) -> None:
    def data(producer: tuple[int, int], sequence: int, offset: int) -> bytes:
        return batch(rows(offset, 1), offset, producer=(*producer, sequence), transactional=True)

    broker.partition(
        "t-0",
        {
            0: [
                data((7, 0), 0, 0),
                data((8, 2), 0, 1),
                marker(Marker.ABORT, (7, 0), 2),
                data((7, 0), 1, 3),
                marker(Marker.COMMIT, (8, 3), 4),
            ],
            5: [marker(Marker.COMMIT, (7, 0), 5), data((9, 0), 0, 6)],
        },
    )
    broker.close()
    store, adoption = taken(fs)
    (note,) = adoption.notes
    assert "producer 9 from offset 6" in note
    assert [row[0] for row in read(store)] == [1, 3]
    log = store._table.log("t", 0)
    assert log.last_stable_offset == log.log_end_offset == 8
    assert store.init_producer().producer_id > 9


def test_committed_offsets_of_the_topics(fs: MemoryFileSystem, broker: Broker) -> None:
    def offsets(base: int, items: list[tuple[str, str, int | None]], **more: object) -> bytes:
        written: list[Row] = []
        for group, topic, offset in items:
            value = None
            if offset is not None:
                value = encode_offset(OffsetValue(offset, 2, "note", 5, TOPIC_ID))
            written.append((encode_key(OffsetKey(group, topic, 0)), value, 5))
        return batch(written, base, **more)  # type: ignore[arg-type]

    two_partitions(broker)
    in_transaction = {"producer": (7, 0, 0), "transactional": True}
    broker.partition(
        "__consumer_offsets-0",
        {
            0: [
                offsets(0, [("g", "t", 1), ("g", "other", 1), ("gone", "t", 1)]),
                offsets(3, [("g", "t", 110), ("gone", "t", None)]),
                offsets(5, [("h", "t", 112)], **in_transaction),
                marker(Marker.COMMIT, (7, 0), 6),
                offsets(7, [("g", "t", 119)], **in_transaction),
                marker(Marker.ABORT, (7, 0), 8),
            ]
        },
        topic_id=None,
    )
    store, adoption = taken(fs)
    assert adoption.groups == {"g": 1, "h": 1}
    for group, offset in (("g", 110), ("h", 112), ("gone", -1)):
        (found,) = store.committed_offsets(group, [TopicPartition("t", 0)])
        assert found.offset == offset
        if offset >= 0:
            assert (found.leader_epoch, found.metadata) == (2, "note")
    assert {info.name for info in store.describe_topics()} == {"t"}


def test_what_is_refused(fs: MemoryFileSystem, broker: Broker) -> None:
    store = open_store(fs)
    broker.partition("t-0", {0: [batch(rows(0, 3), 0)]})
    with pytest.raises(StoreFormatError, match="the broker runs, or was killed"):
        adopt(store, fs, [ROOT])
    broker.close()
    with pytest.raises(StoreFormatError, match=r"meta\.properties"):
        adopt(store, fs, ["store"])
    with pytest.raises(UnknownTopicError, match="'nope'"):
        adopt(store, fs, [ROOT], topics=["nope"])
    broker.partition("u-1", {0: []})
    with pytest.raises(StoreFormatError, match="u-0 is missing"):
        adopt(store, fs, [ROOT])
    broker.partition("u-0", {0: []})
    store.create_topic(TopicSpec("u"))
    with pytest.raises(TopicExistsError, match="nothing was adopted"):
        adopt(store, fs, [ROOT])
    assert [info.name for info in store.describe_topics()] == ["u"]
    assert adopt(store, fs, [ROOT], topics=["t"]).topics[0].end_offsets == (3,)


@pytest.mark.parametrize("magic", [0, 1])
def test_older_formats_are_refused_with_a_sentence(
    fs: MemoryFileSystem, broker: Broker, magic: int
) -> None:
    old = bytearray(batch(rows(0, 3), 0))
    old[16] = magic
    broker.partition("t-0", {0: [bytes(old)]})
    broker.close()
    store = open_store(fs)
    with pytest.raises(BatchMagicError, match=f"old format v{magic}"):
        adopt(store, fs, [ROOT])
    assert store.describe_topics() == []
    assert [name for name in fs.list_directory("store") if name.startswith("t-")] == []


def test_a_damaged_batch_is_named_and_a_torn_end_may_be_cut(
    fs: MemoryFileSystem, broker: Broker
) -> None:
    good = batch(rows(0, 3), 0)
    torn = batch(rows(3, 3), 3)[:-4]
    broker.partition("t-0", {0: [good, torn]})
    broker.close()
    store = open_store(fs)
    with pytest.raises(CorruptDataError, match=rf"damaged at {len(good)}, offset 3"):
        adopt(store, fs, [ROOT])
    adoption = adopt(store, fs, [ROOT], unclean=True)
    assert adoption.topics[0].end_offsets == (3,)
    assert "were not written to their end" in adoption.notes[0]
    assert read(store) == expected(rows(0, 3), 0)


def test_space_that_was_allocated_ahead_is_no_damage(fs: MemoryFileSystem, broker: Broker) -> None:
    broker.partition("t-0", {0: [batch(rows(0, 3), 0), bytes(3 << 20)]})
    broker.close()
    store, adoption = taken(fs)
    assert adoption.topics[0].end_offsets == (3,)
    assert adoption.notes == []
    assert read(store) == expected(rows(0, 3), 0)


@pytest.mark.parametrize("is_power_loss", [True, False])
def test_stopped_at_every_call_a_topic_is_there_or_not(is_power_loss: bool) -> None:
    for calls in count():
        fs = MemoryFileSystem(calls)
        two_partitions(Broker(fs))
        fs.sync_file_system(ROOT)
        store = open_store(fs)
        fs.stop_after(calls)
        try:
            adopt(store, fs, [ROOT])
            was_stopped = False
        except MachineStoppedError:
            was_stopped = True
        if is_power_loss:
            fs.power_loss()
        else:
            fs.kill()
        store = open_store(fs)
        if not store.describe_topics():
            assert was_stopped
            adopt(store, fs, [ROOT])
        assert read(store) == expected(rows(104, 16), 104)
        (answer,) = store.list_offsets([OffsetQuery("t", 0, OffsetSpec.LATEST)])
        assert answer.offset == 120
        store.close()
        if not was_stopped:
            break
    assert calls > 20
