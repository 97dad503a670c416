from __future__ import annotations

import pytest

from logstore.log.salvage import FileBytes, find_sound_batch, sound_batch, used_end
from logstore.record import encode_batch
from logstore.testing import MemoryFileSystem


def source_of(content: bytes, window_bytes: int = 100) -> FileBytes:
    fs = MemoryFileSystem()
    file = fs.open("log", create=True)
    file.write([content], 0)
    return FileBytes(file, len(content), window_bytes=window_bytes)


def batch(offset: int, value: bytes = b"value") -> bytes:
    return bytes(encode_batch([value], timestamps=1, base_offset=offset))


@pytest.mark.parametrize("window_bytes", [1, 7, 64, 1000])
def test_bytes_are_the_files_whatever_the_window(window_bytes: int) -> None:
    content = bytes(range(256))
    source = source_of(content, window_bytes)
    for start in (0, 5, 250, 3, 255, 256, 300):
        for count in (0, 1, 10, 300):
            assert source.at(start, count) == content[start : start + count]


def test_headers_are_followed_until_something_else_begins() -> None:
    batches = [batch(0), batch(1, b"longer" * 50), batch(2)]
    source = source_of(b"".join(batches) + b"\0" * 40)
    assert [(at, header.base_offset) for at, header in source.headers(0)] == [
        (0, 0),
        (len(batches[0]), 1),
        (len(batches[0] + batches[1]), 2),
    ]


def test_a_batch_is_sound_if_its_offset_and_its_checksum_are() -> None:
    damaged = bytearray(batch(7))
    damaged[-1] ^= 1
    assert sound_batch(source_of(batch(7)), 0, 7, None)
    assert sound_batch(source_of(batch(7)), 0, 8, None) is None
    assert sound_batch(source_of(batch(7)[:-1]), 0, 7, None) is None
    assert sound_batch(source_of(bytes(damaged)), 0, 7, None) is None


def test_only_a_segment_that_has_a_successor_may_have_gaps() -> None:
    """Compaction makes them, and never touches the last segment."""
    assert sound_batch(source_of(batch(7)), 0, 5, None) is None
    assert sound_batch(source_of(batch(7)), 0, 5, 9)
    assert sound_batch(source_of(batch(7)), 0, 5, 7) is None


@pytest.mark.parametrize("garbage", [1, 15, 61, 200, (1 << 20) - 30, (1 << 20) + 5])
def test_the_next_sound_batch_is_found_wherever_it_is(garbage: int) -> None:
    source = source_of(b"\x02" * garbage + batch(9) + batch(10), 1 << 20)
    found = find_sound_batch(source, 0, offset_min=9, offset_max=20)
    assert found == (garbage, 9)
    following = (garbage + len(batch(9)), 10)
    assert find_sound_batch(source, 0, offset_min=10, offset_max=20) == following
    assert find_sound_batch(source, 0, offset_min=0, offset_max=8) is None


def test_zeros_at_the_end_do_not_count_as_used() -> None:
    assert used_end(source_of(b"abc" + bytes(5000)), 0) == 3
    assert used_end(source_of(b"abc" + bytes(5000)), 10) == 10
    assert used_end(source_of(b"abc"), 0) == 3
