from __future__ import annotations

from pathlib import Path

from logstore.api import TopicSpec
from logstore.config import StoreConfig
from logstore.log.segment import Segment, create_segment_file
from logstore.log.segment_cache import SegmentCache
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore.testing import MemoryFileSystem


def segments(count: int) -> list[Segment]:
    fs = MemoryFileSystem()
    fs.make_directory("d")
    for base in range(count):
        create_segment_file(fs, "d", base)
    return [Segment(fs, "d", base, created_ms=0) for base in range(count)]


def test_the_least_recently_used_is_closed() -> None:
    cache = SegmentCache(2)
    first, second, third = segments(3)
    for segment in (first, second, first, third):
        cache.pin(segment)
        cache.unpin(segment)
    assert [segment.files is None for segment in (first, second, third)] == [False, True, False]


def test_the_pinned_and_the_dirty_stay_open() -> None:
    cache = SegmentCache(1)
    pinned, dirty, third = segments(3)
    cache.pin(pinned)
    cache.pin(dirty)
    cache.mark_dirty(dirty)
    cache.unpin(dirty)
    cache.pin(third)
    cache.unpin(third)
    assert pinned.files is not None
    assert dirty.files is not None
    assert cache.is_crowded
    cache.mark_clean(dirty)
    assert not cache.is_crowded


def test_pinned_and_dirty_in_one_step_and_back() -> None:
    cache = SegmentCache(1)
    first, second = segments(2)
    for _ in range(2):  # its files not yet open, then open
        files = cache.pin_dirty(first)
        assert files is first.files
        assert (first.pins, cache.is_crowded) == (1, True)
        cache.pin(second)  # of two that are pinned none is closed
        cache.unpin(second)
        assert first.files is files
        cache.pin(first)
        cache.unpin(first, is_clean=True)
        assert (first.pins, first.is_dirty, cache.is_crowded) == (0, False, False)
    cache.unpin(cache_pinned(cache, first), is_clean=True)  # a clean one: only the pin goes
    assert (first.pins, cache.is_crowded) == (0, False)


def cache_pinned(cache: SegmentCache, segment: Segment) -> Segment:
    cache.pin(segment)
    return segment


def test_a_forgotten_segment_closes_with_its_last_user() -> None:
    cache = SegmentCache(5)
    (segment,) = segments(1)
    cache.pin(segment)
    cache.forget(segment)
    assert segment.files is not None
    cache.unpin(segment)
    assert segment.files is None


def test_two_thousand_partitions_with_few_open_files(tmp_path: Path) -> None:
    config = StoreConfig(open_segments_max=64)
    store = LocalLogStore.open(str(tmp_path / "s"), config=config)
    store.create_topic(TopicSpec("t", 2000, {"durability": "page_cache"}))
    for number in range(2000):
        store.append("t", number, encode_batch([b"%d" % number], timestamps=1))
    store.run_flush()
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    assert open_files < 64 * 3 + 100
    (info,) = store.describe_topics(["t"])
    assert all(item.high_watermark == 1 for item in info.partitions)
    store.close()
