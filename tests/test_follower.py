from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from logstore.api import OffsetQuery, OffsetSpec, TopicSpec
from logstore.errors import (
    OffsetOutOfRangeError,
    ReadOnlyStoreError,
    StoreFormatError,
    UnknownTopicError,
)
from logstore.follower import FollowerStore
from logstore.log.segment import Segment
from logstore.log.swap import CleanedSegment
from logstore.record import decode_records, encode_batch, iter_batches
from logstore.store import LocalLogStore

LIMIT = 1 << 30


def read(follower: FollowerStore, topic: str, offset: int = 0) -> list[tuple[int, bytes | None]]:
    reader = follower.open_reader(bytes_max=5000, partition_bytes_max=4000)
    reader.set_position(topic, 0, offset)
    found: list[tuple[int, bytes | None]] = []
    while items := reader.poll(0):
        for item in items:
            if item.error is not None:
                raise item.error
            for batch in iter_batches(item.data):
                records = decode_records(batch, from_offset=offset, decompressed_bytes_max=LIMIT)
                found += [(record.offset, record.value) for record in records]
    reader.close()
    return found


def value(index: int) -> bytes:
    return bytes([index % 251]) * 3000


def put(store: LocalLogStore, index: int, *, topic: str = "t") -> None:
    store.append(topic, 0, encode_batch([value(index)], timestamps=index * 10)).result(10)


def test_a_follower_sees_what_is_flushed_as_it_comes(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path))
    follower = FollowerStore(str(tmp_path))
    assert follower.describe_topics() == []
    store.create_topic(TopicSpec("t", 1, {"segment_bytes": str(16 << 10)}))
    assert read(follower, "t") == []
    for index in range(40):
        put(store, index)
        if index % 3 == 0:
            assert read(follower, "t") == [(n, value(n)) for n in range(index + 1)]
    pending = store.append("t", 0, encode_batch([b"unflushed"], timestamps=1))
    assert len(read(follower, "t")) == 40
    store.run_flush()
    assert pending.done
    assert read(follower, "t", 40) == [(40, b"unflushed")]
    (late, latest, first) = follower.list_offsets(
        [OffsetQuery("t", 0, 125), OffsetQuery("t", 0, OffsetSpec.LATEST), OffsetQuery("t", 0, 0)]
    )
    assert (late.offset, late.timestamp_ms, latest.offset, first.offset) == (13, 130, 41, 0)
    store.close()
    assert len(read(follower, "t")) == 41
    follower.close()


def test_removed_segments_are_out_of_range_and_deleted_topics_unknown(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path))
    store.create_topic(TopicSpec("t", 1, {"segment_bytes": str(16 << 10)}))
    for index in range(30):
        put(store, index)
    follower = FollowerStore(str(tmp_path))
    assert len(read(follower, "t")) == 30
    store.delete_records("t", 0, before_offset=22)
    with pytest.raises(OffsetOutOfRangeError):
        read(follower, "t", 3)
    assert [offset for offset, _ in read(follower, "t", 22)] == list(range(22, 30))
    store.delete_topic("t")
    with pytest.raises(UnknownTopicError):
        read(follower, "t", 22)
    store.create_topic(TopicSpec("t"))
    put(store, 7)
    assert read(follower, "t") == [(0, value(7))]
    store.close()


def test_a_follower_changes_nothing(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path))
    store.create_topic(TopicSpec("t"))
    put(store, 1)
    store.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    follower = FollowerStore(str(tmp_path))
    assert len(read(follower, "t")) == 1
    for refused in (
        lambda: follower.create_topic(TopicSpec("u")),
        lambda: follower.append("t", 0, encode_batch([b"x"], timestamps=1)),
        lambda: follower.list_groups(),
        lambda: follower.delete_topic("t"),
    ):
        with pytest.raises(ReadOnlyStoreError, match="read-only"):
            refused()
    follower.close()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_directory_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreFormatError):
        FollowerStore(str(tmp_path))


def test_followers_in_other_processes_read_while_the_writer_writes(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path))
    store.create_topic(TopicSpec("t", 1, {"segment_bytes": str(16 << 10)}))
    script = textwrap.dedent("""
        import sys, logstore
        with logstore.open(sys.argv[1], read_only=True) as store, store.consumer("t") as consumer:
            consumer.seek_to_beginning()
            print("ready", flush=True)
            seen = 0
            for record in consumer:
                assert record.offset == seen
                assert record.value == bytes([seen % 251]) * 3000
                seen += 1
                if seen == 200:
                    break
    """)
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        for index in range(200):
            put(store, index)
        statuses = [reader.wait(60) for reader in readers]
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()
    assert statuses == [0, 0]
    store.close()


def test_a_follower_reads_on_while_segments_are_replaced_by_compacted_ones(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path))
    configs = {
        "segment_bytes": str(16 << 10),
        "cleanup_policy": "compact",
        "min_cleanable_dirty_ratio": "0",
    }
    store.create_topic(TopicSpec("t", 1, configs))
    log = store._table.log("t", 0)
    follower = FollowerStore(str(tmp_path))

    def put(index: int) -> None:
        batch = encode_batch([value(index)], [b"%d" % (index % 4)], timestamps=index)
        store.append("t", 0, batch)
        store.run_flush()

    for index in range(60):
        put(index)
        steps = log.cleaner.clean(secret=b"secret") if index % 9 == 8 else iter(())
        for _ in [*steps, 0]:
            found = read(follower, "t")
            latest = {offset % 4: (offset, stored) for offset, stored in found}
            newest = range(max(0, index - 3), index + 1)
            assert sorted(latest.values()) == [(offset, value(offset)) for offset in newest]
    assert store.describe_topics(["t"])[0].partitions[0].size_bytes < 60_000
    (first, last) = follower.list_offsets(
        [OffsetQuery("t", 0, 58), OffsetQuery("t", 0, OffsetSpec.MAX_TIMESTAMP)]
    )
    assert (first.offset, last.offset) == (58, 59)
    follower.close()
    store.close()


def test_a_follower_trusts_nothing_that_it_read_while_names_changed_hands(tmp_path: Path) -> None:
    store = LocalLogStore.open(str(tmp_path))
    configs = {"segment_bytes": str(16 << 10), "cleanup_policy": "compact"}
    store.create_topic(TopicSpec("t", 1, configs))
    for index in range(30):
        store.append("t", 0, encode_batch([value(index)], [b"k"], timestamps=index))
        store.run_flush()
    log = store._table.log("t", 0)
    follower = FollowerStore(str(tmp_path))
    assert len(read(follower, "t")) == 30
    following = follower._logs[next(iter(follower._logs))]
    looks: list[tuple[bool, int]] = []
    finish = CleanedSegment.finish

    def finish_and_look(cleaned: CleanedSegment, replaced: Sequence[Segment]) -> None:
        for each in (None, finish):
            if each is not None:
                each(cleaned, replaced)
            looks.append((following.refresh(), following.read(0, bytes_max=1).data.nbytes))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CleanedSegment, "finish", finish_and_look)
        for _ in log.cleaner.clean(secret=b"secret"):
            pass
    assert looks
    assert set(looks) == {(False, 0)}
    assert following.refresh()
    assert [offset for offset, _ in read(follower, "t")][-1] == 29
    follower.close()
    store.close()
