"""Open files and locks of MemoryFileSystem: crashes, space, failing calls."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from logstore.testing import MemoryFileSystem
from logstore.testing.memory_file import MemoryFile

CALLS: list[Callable[[MemoryFile], Any]] = [
    lambda file: file.write([b"a"], 0),
    lambda file: file.read(1, 0),
    lambda file: file.size(),
    lambda file: file.allocate(10),
    lambda file: file.truncate(0),
    lambda file: file.sync(),
    lambda file: file.map(1),
    lambda file: file.resident(0, 1),
]


def fails(number: int, call: Callable[[], Any]) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what counts
        call()
    assert caught.value.errno == number


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("end", ["kill", "power_loss", "close"])
def test_a_handle_is_void_after_a_crash_and_after_close(
    end: str, call: Callable[[MemoryFile], Any]
) -> None:
    fs = MemoryFileSystem()
    file = fs.open("f", create=True)
    file.write([b"abc"], 0)
    getattr(file if end == "close" else fs, end)()
    fails(errno.EBADF, lambda: call(file))
    file.close()


def test_a_kill_keeps_the_page_cache_and_a_view_of_it() -> None:
    fs = MemoryFileSystem()
    file = fs.open("f", create=True)
    file.write([b"abc"], 0)
    view = file.map(3)
    fs.kill()
    assert fs.open("f").read(10, 0) == b"abc" == bytes(view)


def test_a_lock_goes_with_its_process_and_frees_nobody_elses() -> None:
    fs = MemoryFileSystem()
    first = fs.lock("lock")
    assert first is not None
    assert fs.lock("lock") is None
    fs.kill()
    second = fs.lock("lock")
    assert second is not None
    first.release()
    assert fs.lock("lock") is None
    second.release()
    assert fs.lock("lock") is not None


def test_a_failing_write_leaves_any_part_from_the_start() -> None:
    found = set()
    for seed in range(100):
        fs = MemoryFileSystem(seed)
        file = fs.open("f", create=True)
        fs.inject("write", errno.EIO)
        fails(errno.EIO, lambda file=file: file.write([b"ab", b"cd"], 0))  # type: ignore[misc]
        found.add(file.read(10, 0))
        assert fs.statistics["write EIO"] == 1
        assert fs.statistics["short_write"] == (file.size() > 0)
    assert found == {b"", b"a", b"ab", b"abc"}


def test_a_full_disk_refuses_and_takes_again_when_there_is_room() -> None:
    fs = MemoryFileSystem(capacity_bytes=1_000)
    file = fs.open("f", create=True)
    other = fs.open("g", create=True)
    file.allocate(900)
    fails(errno.ENOSPC, lambda: other.allocate(200))
    assert other.size() == 0
    file.write([b"a" * 900], 0)  # its blocks are reserved
    fails(errno.ENOSPC, lambda: other.write([b"b" * 101], 0))
    assert other.size() <= 100
    assert other.read(200, 0) == b"b" * other.size()
    file.truncate(500)
    other.write([b"b" * 200], 0)
    assert fs.used_bytes == 700
    fs.rename("g", "f")
    assert fs.used_bytes == 200
    other.allocate(1_000)
    fs.capacity_bytes = 5_000
    other.allocate(4_000)
    assert fs.statistics["disk_full"] == 2


def test_the_hole_of_a_longer_file_takes_space_when_it_is_written() -> None:
    fs = MemoryFileSystem(capacity_bytes=100)
    file = fs.open("f", create=True)
    file.truncate(1_000)
    assert fs.used_bytes == 0
    fails(errno.ENOSPC, lambda: file.write([b"a" * 10], 500))


def test_a_map_is_no_longer_than_its_file_and_read_only() -> None:
    file = MemoryFileSystem().open("f", create=True)
    file.write([b"abc"], 0)
    with pytest.raises(ValueError, match="greater than file size"):
        file.map(4)
    with pytest.raises(TypeError):
        file.map(3)[0] = 0


def test_files_are_not_resident_after_the_caches_were_dropped() -> None:
    fs = MemoryFileSystem()
    file = fs.open("f", create=True)
    file.write([b"abc"], 0)
    assert file.resident(0, 3)
    fs.drop_caches()
    assert not file.resident(0, 3)
    assert file.read(3, 0) == b"abc"
    assert file.resident(0, 3)


def syncs(*files: MemoryFile) -> str:
    result = ""
    for file in files:
        try:
            file.sync()
            result += "."
        except OSError:
            result += "x"
    return result


def test_each_handle_hears_once_of_a_failed_sync() -> None:
    fs = MemoryFileSystem()
    first, second = fs.open("f", create=True), fs.open("f")
    first.write([b"abc"], 0)
    fs.inject("sync")
    assert syncs(first, first, second, second) == "x.x."
    assert syncs(fs.open("f")) == "."  # somebody was told
    fs.sync_directory("")
    fs.power_loss()
    assert fs.open("f").read(3, 0) == bytes(3)


@pytest.mark.parametrize("operation", ["write_back", "sync_file_system"])
def test_after_a_failed_syncfs_the_files_themselves_tell_which(operation: str) -> None:
    fs = MemoryFileSystem()
    bad, good, clean = (fs.open(name, create=True) for name in ("bad", "good", "clean"))
    bad.write([b"abc"], 0)
    if operation == "write_back":
        good.write([b"abc"], 0)
    fs.inject(operation, path_contains="bad" if operation == "write_back" else "")
    fails(errno.EIO, lambda: fs.sync_file_system(""))
    assert syncs(bad, good, clean, bad) == "x..."
    fs.sync_directory("")
    fs.power_loss()
    assert fs.open("bad").read(3, 0) == bytes(3)
    assert fs.open("good").read(3, 0) == (b"abc" if operation == "write_back" else b"")


def test_who_opens_a_file_later_hears_what_nobody_was_told() -> None:
    fs = MemoryFileSystem()
    fs.open("f", create=True).write([b"abc"], 0)
    fs.inject("sync_file_system")
    fails(errno.EIO, lambda: fs.sync_file_system(""))
    assert syncs(fs.open("f")) == "x"
    assert syncs(fs.open("f")) == "."


def test_nothing_to_write_cannot_fail_to_be_written() -> None:
    fs = MemoryFileSystem()
    file = fs.open("f", create=True)
    fs.inject("write_back")
    assert syncs(file) == "."
    file.write([b"a"], 0)
    assert syncs(file) == "x"
