from __future__ import annotations

import errno
import time

import pytest

from logstore.fs import replace_file
from logstore.testing import Call, MemoryFileSystem, RecordingFileSystem


def test_calls_are_in_order() -> None:
    fs = RecordingFileSystem(MemoryFileSystem())
    fs.make_directory("d")
    replace_file(fs, "d", "f", b"abc")
    assert fs.calls == [
        Call("make_directory", "d"),
        Call("create", "d/f.new"),
        Call("truncate", "d/f.new", 0),
        Call("write", "d/f.new", (0, 3)),
        Call("sync", "d/f.new"),
        Call("close", "d/f.new"),
        Call("rename", "d/f.new", "d/f"),
        Call("sync_directory", "d"),
    ]
    assert fs.names_for(".new")[-2:] == ["close", "rename"]
    assert fs.calls_for("d") == [Call("make_directory", "d"), Call("sync_directory", "d")]
    assert fs.index("write") < fs.index("sync", "f.new") < fs.index("rename")
    with pytest.raises(ValueError, match=r"no sync of \*f\.new"):
        fs.index("sync", "f.new", start=5)
    fs.clear()
    assert fs.calls == []


def test_everything_is_passed_on() -> None:
    inner = MemoryFileSystem()
    fs = RecordingFileSystem(inner)
    file = fs.open("f", create=True)
    assert file.write([b"ab", b"c"], 1) == 3
    assert (file.read(9, 0), file.size(), file.path) == (b"\0abc", 4, "f")
    file.allocate(8)
    assert bytes(file.map(8)) == b"\0abc\0\0\0\0"
    assert file.resident(0, 8)
    file.truncate(2)
    assert fs.exists("f")
    assert not fs.is_directory("f")
    assert fs.list_directory("") == ["f"]
    assert fs.boot_id() == inner.boot_id()
    lock = fs.lock("lock")
    assert lock is not None
    assert fs.lock("lock") is None
    fs.unlink("f")
    fs.make_directory("d")
    fs.remove_tree("d")
    fs.sync_file_system("")
    assert inner.list_directory("") == ["lock"]
    assert " ".join(call.name for call in fs.calls) == (
        "create write read allocate map truncate lock lock unlink make_directory remove_tree"
        " sync_file_system"
    )


def test_a_call_that_fails_is_there_as_such() -> None:
    inner = MemoryFileSystem()
    fs = RecordingFileSystem(inner)
    file = fs.open("f", create=True)
    inner.inject("sync", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    assert fs.calls_for("f") == [Call("create", "f"), Call("failed sync", "f", "EIO")]


def test_syncs_take_as_long_as_they_are_told_to() -> None:
    fs = RecordingFileSystem(MemoryFileSystem(), sync_delay_s=0.05)
    file = fs.open("f", create=True)
    for sync in (file.sync, lambda: fs.sync_directory(""), lambda: fs.sync_file_system("")):
        start = time.monotonic()
        sync()
        assert time.monotonic() - start >= 0.05
