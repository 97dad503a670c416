from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.log.format import OFFSET_ENTRY
from logstore.log.index_file import NO_ENTRY, IndexFile
from logstore.testing import MemoryFileSystem


def index_of(entries: list[tuple[int, int]], fs: MemoryFileSystem | None = None) -> IndexFile:
    index = IndexFile(fs or MemoryFileSystem(), "i", OFFSET_ENTRY)
    for count, (first, second) in enumerate(entries):
        index.append(count, first, second)
    return index


@given(st.sets(st.integers(0, 1000), max_size=50), st.integers(-1, 1001))
def test_floor_is_the_last_entry_at_or_below(keys: set[int], wanted: int) -> None:
    entries = [(key, key * 2) for key in sorted(keys)]
    index = index_of(entries)
    expected = max((i for i, (key, _) in enumerate(entries) if key <= wanted), default=NO_ENTRY)
    assert index.floor(wanted, count=len(entries), field=0) == expected
    assert index.floor(wanted * 2, count=len(entries), field=1) == expected


def test_entries_are_kafkas_bytes_and_survive_a_trim() -> None:
    fs = MemoryFileSystem()
    index = index_of([(3, 100), (9, 4200)], fs)
    assert fs.open("i").size() == 4096
    index.trim(2)
    index.close()
    assert fs.open("i").read(100, 0) == bytes.fromhex("0000000300000064 0000000900001068")
    assert IndexFile(fs, "i", OFFSET_ENTRY).entries(5) == [(3, 100), (9, 4200)]


def test_a_full_disk_is_an_error_of_this_entry_only() -> None:
    fs = MemoryFileSystem()
    index = index_of([(1, 1)], fs)
    fs.inject("write", errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        index.append(1, 2, 2)
    index.append(1, 2, 2)
    assert index.get(1) == (2, 2)
