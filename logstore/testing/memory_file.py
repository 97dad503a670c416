"""Open files and locks of MemoryFileSystem."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from logstore.fs import IOV_MAX
from logstore.testing.file_node import FileNode
from logstore.testing.machine import WRITE_BACK, Machine, MachineStoppedError, os_error

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class MemoryFile:
    """An open file; see logstore.fs.File. After a kill or a power loss it is void: every call but
    `close` raises EBADF. Thread-safe."""

    def __init__(
        self,
        machine: Machine,
        path: str,
        node: FileNode,
        *,
        writable: bool,
        synced: Callable[[], None],
    ) -> None:
        self._machine = machine
        self._path = path
        self._node = node
        self._life = machine.life
        self._writable = writable
        self._synced = synced
        self._closed = False
        # Of a failed write-back every handle hears once (Linux's errseq_t): those that were open,
        # and the next one opened if nobody was told yet.
        self._failures_told = node.failures - (not node.is_failure_told)

    @property
    def path(self) -> str:
        return self._path

    @property
    def _void(self) -> bool:
        return self._closed or self._life != self._machine.life

    def _check(self, *, writes: bool = False) -> None:
        if self._void or (writes and not self._writable):
            raise os_error(errno.EBADF, self._path)

    def write(self, buffers: Sequence[ReadableBuffer], position: int) -> int:
        with self._machine.lock:
            self._check(writes=True)
            if position < 0 or len(buffers) > IOV_MAX:
                raise os_error(errno.EINVAL, self._path)
            data = b"".join(buffers)
            was_running = not self._machine.is_stopped
            try:
                self._machine.check("write", self._path)
                if data:
                    self._machine.reserve(self._node, position + len(data), self._path)
            except OSError:
                self._write_some(data, position)
                raise
            except MachineStoppedError:
                if was_running:
                    self._write_some(data, position)
                raise
            self._node.write(data, position)
            return len(data)

    def _write_some(self, data: bytes, position: int) -> None:
        """A failing write may have written any part from the start that the disk has room for."""
        room = self._machine.room(self._node)
        most = len(data) - 1 if room is None else min(len(data) - 1, room - position)
        count = self._machine.chance.randint(0, max(0, most))
        if count:
            self._machine.statistics["short_write"] += 1
            self._machine.reserve(self._node, position + count, self._path)
            self._node.write(data[:count], position)

    def read(self, count: int, position: int) -> bytes:
        with self._machine.lock:
            self._check()
            if count < 0 or position < 0:
                raise os_error(errno.EINVAL, self._path)
            self._machine.check("read", self._path)
            self._node.cold = False
            return self._node.read(count, position)

    def size(self) -> int:
        with self._machine.lock:
            self._check()
            return self._node.size

    def allocate(self, size: int) -> None:
        with self._machine.lock:
            self._check()
            if size <= 0:
                raise os_error(errno.EINVAL, self._path)
            self._check(writes=True)
            self._machine.check("allocate", self._path)
            self._machine.reserve(self._node, size, self._path)
            self._node.set_size(max(size, self._node.size))

    def truncate(self, size: int) -> None:
        with self._machine.lock:
            self._check()
            if size < 0 or not self._writable:
                raise os_error(errno.EINVAL, self._path)
            self._machine.check("truncate", self._path)
            self._machine.set_reserved(self._node, min(size, self._node.reserved_bytes))
            self._node.set_size(size)

    def sync(self) -> None:
        with self._machine.lock:
            self._check()
            node = self._node
            try:
                self._machine.check("sync", self._path)
                if node.is_dirty:
                    self._machine.check(WRITE_BACK, self._path)
            except OSError:
                if node.forget_unsynced():
                    self._machine.statistics["sync_forgot"] += 1
                self._tell()
                raise
            node.sync()
            self._synced()
            if self._failures_told < node.failures:
                self._machine.statistics["sync_reported"] += 1
                self._tell()
                raise os_error(errno.EIO, self._path)

    def start_write_back(self, position: int, count: int) -> None:
        """Nothing: a power loss may keep or lose any unsynced write as it is."""

    def _tell(self) -> None:
        self._failures_told = self._node.failures
        self._node.is_failure_told = True

    def map(self, length: int) -> memoryview:
        with self._machine.lock:
            self._check()
            if length == 0:
                return memoryview(b"")
            self._machine.check("map", self._path)
            if length > self._node.size:
                raise ValueError("mmap length is greater than file size")
            return self._node.map(length)

    def resident(self, position: int, count: int) -> bool:
        """False after MemoryFileSystem.drop_caches, until something of the file is read."""
        with self._machine.lock:
            self._check()
            return not self._node.cold and position + count <= self._node.size

    def close(self) -> None:
        self._closed = True


class MemoryLock:
    """A lock that is held until it is released or its process is gone."""

    def __init__(self, machine: Machine, node: FileNode) -> None:
        self._machine = machine
        self._node = node
        machine.locked[node] = self

    def release(self) -> None:
        with self._machine.lock:
            if self._machine.locked.get(self._node) is self:
                del self._machine.locked[self._node]
