from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

import pytest

from logstore.fs import (
    BTRFS,
    EXT4,
    TMPFS,
    XFS,
    RealFileSystem,
    _file_system_type,
    replace_file,
)

FS = RealFileSystem()
FS_TYPES = {"ext4": EXT4, "xfs": XFS, "btrfs": BTRFS, "tmpfs": TMPFS}


def test_write_read_and_map_see_the_same_bytes(tmp_path: Path) -> None:
    file = FS.open(str(tmp_path / "f"), create=True)
    file.allocate(8192)
    view = file.map(8192)
    assert file.write([b"ab", memoryview(b"cd")], 4094) == 4
    assert file.read(4, 4094) == b"abcd" == bytes(view[4094:4098])
    assert file.read(100, 8190) == b"\0\0"
    file.close()
    FS.unlink(str(tmp_path / "f"))
    assert bytes(view[4094:4098]) == b"abcd"


def test_a_closed_file_is_not_mapped(tmp_path: Path) -> None:
    file = FS.open(str(tmp_path / "f"), create=True)
    file.allocate(4096)
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.map(4096)


def test_allocate_never_shrinks_and_truncate_cuts(tmp_path: Path) -> None:
    file = FS.open(str(tmp_path / "f"), create=True)
    file.allocate(100)
    file.allocate(10)
    assert file.size() == 100
    file.truncate(7)
    assert file.size() == 7
    file.sync()
    file.close()


def test_an_empty_map_is_empty(tmp_path: Path) -> None:
    file = FS.open(str(tmp_path / "f"), create=True)
    assert file.map(0).nbytes == 0
    file.close()


def test_directories(tmp_path: Path) -> None:
    root = str(tmp_path)
    FS.make_directory(f"{root}/a/b")
    FS.make_directory(f"{root}/a/b")
    FS.open(f"{root}/a/f", create=True).close()
    assert FS.list_directory(f"{root}/a") == ["b", "f"]
    FS.rename(f"{root}/a/f", f"{root}/a/g")
    FS.sync_directory(f"{root}/a")
    FS.sync_file_system(root)
    assert FS.exists(f"{root}/a/g")
    assert not FS.exists(f"{root}/a/f")
    assert FS.is_directory(f"{root}/a/b")
    FS.remove_tree(f"{root}/a")
    assert FS.list_directory(root) == []


def test_what_this_file_system_is() -> None:
    found = {
        FS_TYPES[line.split()[2]]: line.split()[1]
        for line in Path("/proc/mounts").read_text().splitlines()
        if line.split()[2] in FS_TYPES and Path(line.split()[1]).is_dir()
    }
    assert found
    for kind, path in found.items():
        fd = os.open(path, os.O_RDONLY)
        assert _file_system_type(fd) == kind
        os.close(fd)


def test_syncfs_is_not_believed_where_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logstore.fs.SYNCFS_TYPES", frozenset())
    with pytest.raises(OSError, match="not known to work") as caught:
        RealFileSystem().sync_file_system(str(tmp_path))
    assert caught.value.errno == errno.ENOTSUP


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        FS.open(str(tmp_path / "none"))
    assert caught.value.errno == errno.ENOENT


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    lock = FS.lock(path)
    assert lock is not None
    assert FS.lock(path) is None
    lock.release()
    again = FS.lock(path)
    assert again is not None
    again.release()


def test_a_full_device_is_an_error_not_a_short_write() -> None:
    full = FS.open("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        full.write([b"x"], 0)
    assert caught.value.errno == errno.ENOSPC
    full.close()


def test_the_boot_id_is_the_same_all_through_a_boot() -> None:
    assert FS.boot_id() == FS.boot_id() != ""


def test_bytes_just_written_are_resident(tmp_path: Path) -> None:
    file = FS.open(str(tmp_path / "f"), create=True)
    file.write([b"x" * 8192], 0)
    assert file.resident(100, 8000) in (True, False)  # False where the kernel cannot tell
    assert not file.resident(0, 1 << 20)
    file.close()


def test_a_replaced_file_is_whole(tmp_path: Path) -> None:
    for content in (b"long content", b"short"):
        replace_file(FS, str(tmp_path), "f", content)
        assert (tmp_path / "f").read_bytes() == content
    assert FS.list_directory(str(tmp_path)) == ["f"]


def test_write_back_begun_early_loses_nothing(tmp_path: Path) -> None:
    """It is a hint: not for a closed file either is it an error. What is in memory stays there."""
    file = RealFileSystem().open(f"{tmp_path}/f", create=True)
    data = os.urandom(3 * mmap.PAGESIZE)
    file.write([data], 0)
    for position, count in ((0, 100), (5, mmap.PAGESIZE - 1), (0, len(data))):
        file.start_write_back(position, count)
    assert file.read(len(data), 0) == data
    assert file.resident(0, len(data))
    file.close()
    file.start_write_back(0, 10)
