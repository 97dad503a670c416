"""What a crash leaves of a swap, state by state; the whole of a cleaning that dies at any call is
in test_partition_cleaner.py."""

from __future__ import annotations

import pytest

from logstore.config import TopicConfig
from logstore.log.format import SEGMENT_SUFFIXES, SWAP_SUFFIX
from logstore.log.swap import CleanedSegment, settle_swaps
from logstore.record import encode_batch, parse_header
from logstore.testing import MemoryFileSystem

CONFIG = TopicConfig.from_overrides({"index_interval_bytes": "64"})
SEGMENTS = (0, 10, 20, 30)
OLD, NEW = b"old " * 20, b"new " * 20


def batch(base_offset: int, value: bytes) -> bytearray:
    return encode_batch([value] * 10, timestamps=5, base_offset=base_offset)


def content(fs: MemoryFileSystem, name: str) -> bytes:
    file = fs.open(f"p/{name}", write=False)
    return file.read(file.size(), 0)


def directory() -> MemoryFileSystem:
    """Four segments of ten records, everything on disk."""
    fs = MemoryFileSystem()
    fs.make_directory("p")
    for base in SEGMENTS:
        for suffix in SEGMENT_SUFFIXES:
            file = fs.open(f"p/{base:020d}{suffix}", create=True)
            if suffix == ".log":
                file.write([batch(base, OLD)], 0)
    fs.sync_file_system("p")
    return fs


def cleaned(fs: MemoryFileSystem) -> CleanedSegment:
    """Of segments 10 and 20."""
    segment = CleanedSegment(fs, "p", 10, now_ms=0, config=CONFIG)
    for base in (10, 20):
        data = batch(base, NEW)
        segment.append(data, parse_header(data))
    segment.seal()
    return segment


def names(fs: MemoryFileSystem) -> list[str]:
    return [name.lstrip("0") or "0" for name in fs.list_directory("p")]


WITH_BOTH = sorted(f"{base or ''}{suffix}" for base in SEGMENTS for suffix in SEGMENT_SUFFIXES)
AFTER = [name for name in WITH_BOTH if not name.startswith("20")]


def test_before_it_is_decided_everything_is_undone() -> None:
    fs = directory()
    segment = cleaned(fs)
    segment.prepare()
    fs.power_loss()
    settle_swaps(fs, "p")
    assert names(fs) == WITH_BOTH
    assert content(fs, f"{10:020d}.log") == batch(10, OLD)


@pytest.mark.parametrize("step", range(13))
def test_once_it_is_decided_it_is_finished_whatever_was_done(step: int) -> None:
    fs = directory()
    segment = cleaned(fs)
    segment.prepare()
    segment.decide()
    stem = f"p/{10:020d}"
    steps = [
        lambda: fs.rename(f"{stem}.timeindex.swap", f"{stem}.timeindex"),
        lambda: fs.rename(f"{stem}.log.swap", f"{stem}.log"),
        lambda: fs.rename(f"{stem}.crc.swap", f"{stem}.crc"),
        *(
            lambda path=path: fs.rename(path, f"{path}.deleted")
            for path in (f"p/{20:020d}{suffix}" for suffix in SEGMENT_SUFFIXES)
        ),
        *(
            lambda path=path: fs.unlink(f"{path}.deleted")
            for path in (f"p/{20:020d}{suffix}" for suffix in SEGMENT_SUFFIXES)
        ),
        lambda: fs.rename(f"{stem}.index.swap", f"{stem}.index"),
    ]
    for act in steps[:step]:
        act()
    fs.kill()
    settle_swaps(fs, "p")
    # What is marked as deleted, and indexes without a log, recovery removes.
    left = [name for name in names(fs) if not name.endswith(".deleted")]
    assert [name for name in left if not name.startswith("20.") or name == "20.log"] == AFTER
    assert content(fs, f"{10:020d}.log") == batch(10, NEW) + batch(20, NEW)
    assert content(fs, f"{10:020d}.index") == bytes([0, 0, 0, 19]) + len(batch(10, NEW)).to_bytes(4)
    assert content(fs, f"{30:020d}.log") == batch(30, OLD)
    before = names(fs)
    settle_swaps(fs, "p")
    assert names(fs) == before


def test_a_finished_swap_leaves_nothing_behind() -> None:
    fs = directory()
    segment = cleaned(fs)
    segment.prepare()
    segment.decide()
    segment.finish([segment.segment])
    assert ".index.swap" not in "".join(names(fs))
    assert content(fs, f"{10:020d}.log") == batch(10, NEW) + batch(20, NEW)


def test_what_is_discarded_leaves_nothing_behind() -> None:
    fs = directory()
    cleaned(fs).give_up()
    segment = cleaned(fs)
    segment.prepare()
    segment.give_up()
    assert names(fs) == WITH_BOTH


def test_what_may_be_decided_is_not_given_up() -> None:
    fs = directory()
    segment = cleaned(fs)
    segment.prepare()
    fs.inject("sync_directory")
    with pytest.raises(OSError, match="p"):
        segment.decide()
    before = names(fs)
    segment.give_up()
    assert names(fs) == before
    assert f"10.index{SWAP_SUFFIX}" in before
