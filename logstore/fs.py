"""Files as an argument: what the engine asks of a file system, and the real one.

The twins for tests are in logstore.testing: one that records calls, one in memory that
forgets on a simulated power loss what was not synced.

Errors are OSError, as the kernel gave them; the layer that knows what was being done turns
them into logstore errors. Paths are absolute or relative `str`, joined with "/".
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

IOV_MAX = 1024  # Linux UIO_MAXIOV


class File(Protocol):
    """One open file. Positional calls only, so threads may share it."""

    @property
    def path(self) -> str: ...

    def write(self, buffers: Sequence[ReadableBuffer], position: int) -> int:
        """Write all buffers one after the other at `position`; returns the bytes written.

        Either everything is written or OSError is raised (then any prefix may be there).
        """
        ...

    def read(self, count: int, position: int) -> bytes:
        """Up to `count` bytes from `position`; shorter only at the end of the file."""
        ...

    def size(self) -> int: ...

    def allocate(self, size: int) -> None:
        """Make the file `size` bytes long at least, its blocks reserved: ENOSPC here, not later."""
        ...

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None:
        """fdatasync: content and size are on disk when it returns."""
        ...

    def start_write_back(self, position: int, count: int) -> None:
        """Have the disk begin with these bytes, so that a sync soon after has less to wait for. A
        hint: it promises nothing and never fails; what goes wrong is told by the sync."""
        ...

    def map(self, length: int) -> memoryview:
        """A read-only shared view of the first `length` bytes (<= size); sees later writes.

        It stays valid while a view of it lives, also after close and unlink. Raises OSError
        (EINVAL) for a file that is shorter.
        """
        ...

    def resident(self, position: int, count: int) -> bool:
        """Whether these bytes are known to be in memory, so that a read of the map will not wait
        for the disk. False also means: not known."""
        ...

    def close(self) -> None:
        """Also done when the last reference goes."""
        ...


class Lock(Protocol):
    def release(self) -> None: ...


class FileSystem(Protocol):
    def open(self, path: str, *, write: bool = True, create: bool = False) -> File:
        """Open an existing file; with `create` make it when it is missing."""
        ...

    def exists(self, path: str) -> bool: ...

    def is_directory(self, path: str) -> bool: ...

    def list_directory(self, path: str) -> list[str]:
        """Names in it, sorted."""
        ...

    def make_directory(self, path: str) -> None:
        """Make it and its missing parents; no error if it is there."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Atomic; replaces a target file. Durable after sync_directory of the parent(s)."""
        ...

    def unlink(self, path: str) -> None: ...

    def remove_tree(self, path: str) -> None: ...

    def sync_directory(self, path: str) -> None: ...

    def sync_file_system(self, path: str) -> None:
        """syncfs: everything written on the file system that holds `path` is on disk. Raises
        OSError (ENOTSUP) where that is not known to be so.

        Linux (from 5.8) reports a failed write-back to whoever had opened the file system
        before it: call this once for a path before the first write that it is to cover.
        """
        ...

    def lock(self, path: str) -> Lock | None:
        """Take the exclusive lock file `path`; None when another process holds it."""
        ...

    def boot_id(self) -> str:
        """Changes when the machine restarts, that is when unsynced bytes may have been lost."""
        ...


class RealFile:
    """A file of the operating system; see File."""

    __slots__ = ("_fd", "_path", "_writable")

    def __init__(self, path: str, fd: int, *, writable: bool) -> None:
        self._path = path
        self._fd = fd
        self._writable = writable

    @property
    def path(self) -> str:
        return self._path

    def fileno(self) -> int:
        return self._fd

    def write(self, buffers: Sequence[ReadableBuffer], position: int) -> int:
        done = os.pwritev(self._fd, buffers, position)
        total = 0
        for buffer in buffers:
            if type(buffer) is bytes:
                total += len(buffer)
            else:
                total += (buffer if type(buffer) is memoryview else memoryview(buffer)).nbytes
        if done < total:  # a signal, or a disk that is nearly full
            rest = b"".join(memoryview(buffer).cast("B") for buffer in buffers)
            while done < total:
                done += os.pwrite(self._fd, memoryview(rest)[done:], position + done)
        return total

    def read(self, count: int, position: int) -> bytes:
        data = os.pread(self._fd, count, position)
        while 0 < len(data) < count:
            more = os.pread(self._fd, count - len(data), position + len(data))
            if not more:
                break
            data += more
        return data

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def allocate(self, size: int) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._fd, 0, size)
        elif self.size() < size:  # not Linux: no reservation to be had
            os.ftruncate(self._fd, size)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        _fdatasync(self._fd)

    def start_write_back(self, position: int, count: int) -> None:
        # Linux begins to write a range that it is told will not be needed, and drops the pages that
        # are wholly in it: of less than a page none. Larger ones are left to the sync.
        if count < mmap.PAGESIZE and _fadvise is not None:
            try:  # no suppress(): this is measured in microseconds
                _fadvise(self._fd, position, count, os.POSIX_FADV_DONTNEED)
            except OSError:
                return

    def map(self, length: int) -> memoryview:
        if self._fd < 0:  # mmap would make an anonymous map of zeros
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self._path)
        if length == 0:
            return memoryview(b"")
        # Before 3.13 a map keeps a duplicate of the descriptor open.
        options = {"trackfd": False} if sys.version_info >= (3, 13) else {}
        try:
            return memoryview(mmap.mmap(self._fd, length, access=mmap.ACCESS_READ, **options))
        except ValueError as error:  # shorter than that by now
            raise OSError(errno.EINVAL, str(error), self._path) from error

    def resident(self, position: int, count: int) -> bool:
        return _cached_pages(self._fd, position, count) * mmap.PAGESIZE >= count

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    __del__ = close


class RealLock:
    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class RealFileSystem:
    """The operating system's files. Safe in any thread."""

    def __init__(self) -> None:
        self._syncing: dict[str, RealFile] = {}  # open since before the writes: see below
        self._can_syncfs: dict[str, bool] = {}

    def open(self, path: str, *, write: bool = True, create: bool = False) -> RealFile:
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
        if create:
            flags |= os.O_CREAT
        return RealFile(path, os.open(path, flags, 0o644), writable=write)

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def list_directory(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def make_directory(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def remove_tree(self, path: str) -> None:
        shutil.rmtree(path)

    def sync_directory(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_file_system(self, path: str) -> None:
        file = self._syncing.get(path)
        if file is None:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            file = self._syncing[path] = RealFile(path, fd, writable=False)
        if self._can_syncfs.get(path) is None:
            self._can_syncfs[path] = _file_system_type(file.fileno()) in SYNCFS_TYPES
        if not self._can_syncfs[path]:
            raise OSError(errno.ENOTSUP, "syncfs is not known to work on this file system", path)
        _syncfs(file.fileno())

    def lock(self, path: str) -> RealLock | None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return RealLock(fd)

    def boot_id(self) -> str:
        try:
            with open("/proc/sys/kernel/random/boot_id") as file:
                return file.read().strip()
        except OSError:  # not Linux: every start counts as a restart of the machine
            return f"unknown-{os.urandom(8).hex()}"


_fadvise = getattr(os, "posix_fadvise", None) if sys.platform == "linux" else None
_fdatasync = getattr(os, "fdatasync", os.fsync)
_libc = ctypes.CDLL(None, use_errno=True)
_CACHESTAT = 451  # system call number, Linux 6.5 and later, the same on all architectures


# <linux/magic.h>: file systems whose syncfs writes everything and waits. FUSE has none: the kernel
# answers for it, and its server never hears of it. An overlay asks the one it lies on.
EXT4, XFS, BTRFS, F2FS, TMPFS, OVERLAY = (
    0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994, 0x794C7630
)  # fmt: skip
SYNCFS_TYPES = frozenset({EXT4, XFS, BTRFS, F2FS, TMPFS, OVERLAY})
STATFS_BYTES = 256  # of struct statfs, with room; f_type is its first word


def _file_system_type(fd: int) -> int:
    """0 where the system cannot tell. Raises OSError."""
    if sys.platform != "linux":
        return 0
    answer = ctypes.create_string_buffer(STATFS_BYTES)
    if _libc.fstatfs(fd, answer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    kind = ctypes.c_long.from_buffer(answer).value
    return kind & 0xFFFFFFFF  # some are negative where long is 32 bits


def _syncfs(fd: int) -> None:
    if not hasattr(_libc, "syncfs"):
        os.sync()
    elif _libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class _CachestatRange(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


def _cached_pages(fd: int, position: int, count: int) -> int:
    """Pages of the range that are in the page cache; 0 where the kernel cannot tell."""
    if sys.platform != "linux":
        return 0
    first = position - position % mmap.PAGESIZE
    span = _CachestatRange(first, position + count - first)
    counts = (ctypes.c_uint64 * 5)()  # cached, dirty, in write-back, evicted, lately evicted
    failed = _libc.syscall(_CACHESTAT, fd, ctypes.byref(span), ctypes.byref(counts), 0)
    return 0 if failed else counts[0]


def replace_file(fs: FileSystem, directory: str, name: str, content: bytes) -> None:
    """Write a small file so that after a crash either the old or the new one is there, whole."""
    path = f"{directory}/{name}"
    file = fs.open(f"{path}.new", create=True)
    try:
        file.truncate(0)
        file.write([content], 0)
        file.sync()
    finally:
        file.close()
    fs.rename(f"{path}.new", path)
    fs.sync_directory(directory)
