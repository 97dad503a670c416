"""A file system in memory that forgets on a power loss what was not synced, and fails on demand."""

from __future__ import annotations

import errno
import os
import random
import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logstore.testing.memory_nodes import DirectoryNode, FileNode

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

OPERATIONS = (
    "open",
    "write",
    "read",
    "allocate",
    "truncate",
    "sync",
    "map",
    "make_directory",
    "rename",
    "unlink",
    "remove_tree",
    "sync_directory",
    "sync_file_system",
)


@dataclass(slots=True)
class Fault:
    operation: str
    error: int
    path_contains: str
    after: int
    times: int
    hits: int = 0


class MemoryFileSystem:
    """logstore.fs.FileSystem for tests of crashes.

    - `kill()`: the process dies. Open files and locks are void, all that was written stays.
    - `power_loss()`: the machine stops. Of what was not synced a legal part is kept, chosen by the
      seeded random generator: file writes whole, torn or not at all, in any order; directory
      changes up to some point. boot_id() is another afterwards.
    - `inject()`: make calls fail. `capacity_bytes`: a disk of that size.

    `faults_hit` counts, by operation and error name, what was made to fail. Thread-safe.
    """

    def __init__(self, seed: int = 0, *, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.faults_hit: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._root = DirectoryNode()
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._life = 0  # of the process: handles of an earlier one are void
        self._boot = 0
        self._locks: set[str] = set()

    # --- crashes and faults -----------------------------------------------------------------

    def kill(self) -> None:
        with self._lock:
            self._life += 1
            self._locks.clear()
            self._faults.clear()

    def power_loss(self) -> None:
        with self._lock:
            self.kill()
            self._boot += 1
            self._root = self._root.after_power_loss(self._chance, {})

    def inject(
        self,
        operation: str,
        error: int = errno.EIO,
        *,
        path_contains: str = "",
        after: int = 0,
        times: int = 1,
    ) -> None:
        """Let `times` calls of `operation` fail, after `after` that succeed.

        A sync that fails forgets what it was to write: Linux marks those pages clean, and later
        syncs succeed without them. A crash ends all injections.
        """
        if operation not in OPERATIONS:
            raise ValueError(f"{operation!r} is none of {OPERATIONS}")
        with self._lock:
            self._faults.append(Fault(operation, error, path_contains, after, times))

    def heal(self) -> None:
        """No more injected faults."""
        with self._lock:
            self._faults.clear()

    def check(self, operation: str, path: str) -> None:
        """Raises the OSError that was injected for this call, if any."""
        for fault in self._faults:
            if fault.operation != operation or fault.path_contains not in path:
                continue
            fault.hits += 1
            if fault.after < fault.hits <= fault.after + fault.times:
                self.faults_hit[f"{operation} {errno.errorcode[fault.error]}"] += 1
                raise OSError(fault.error, os.strerror(fault.error), path)

    def check_room(self, more: int, path: str) -> None:
        if self.capacity_bytes is None or more <= 0:
            return
        if self._used(self._root) + more > self.capacity_bytes:
            self.faults_hit["room ENOSPC"] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def _used(self, directory: DirectoryNode) -> int:
        return sum(
            node.size if isinstance(node, FileNode) else self._used(node)
            for node in directory.entries.values()
        )

    # --- paths ------------------------------------------------------------------------------

    def _find(self, path: str) -> FileNode | DirectoryNode | None:
        node: FileNode | DirectoryNode | None = self._root
        for name in _names(path):
            if not isinstance(node, DirectoryNode):
                return None
            node = node.entries.get(name)
        return node

    def _directory(self, path: str) -> DirectoryNode:
        node = self._find(path)
        if not isinstance(node, DirectoryNode):
            raise _os_error(errno.ENOENT if node is None else errno.ENOTDIR, path)
        return node

    def _parent(self, path: str) -> tuple[DirectoryNode, str]:
        names = _names(path)
        if not names:
            raise _os_error(errno.EINVAL, path)
        return self._directory("/".join(names[:-1])), names[-1]

    # --- FileSystem -------------------------------------------------------------------------

    def open(self, path: str, *, write: bool = True, create: bool = False) -> MemoryFile:
        with self._lock:
            self.check("open", path)
            parent, name = self._parent(path)
            node = parent.entries.get(name)
            if isinstance(node, DirectoryNode):
                raise _os_error(errno.EISDIR, path)
            if node is None:
                if not create:
                    raise _os_error(errno.ENOENT, path)
                node = FileNode()
                parent.change({name: node})
            return MemoryFile(self, path, node, self._life, writable=write)

    def exists(self, path: str) -> bool:
        with self._lock:
            return self._find(path) is not None

    def is_directory(self, path: str) -> bool:
        with self._lock:
            return isinstance(self._find(path), DirectoryNode)

    def list_directory(self, path: str) -> list[str]:
        with self._lock:
            return sorted(self._directory(path).entries)

    def make_directory(self, path: str) -> None:
        with self._lock:
            self.check("make_directory", path)
            node = self._root
            for name in _names(path):
                child = node.entries.get(name)
                if child is None:
                    child = DirectoryNode()
                    node.change({name: child})
                if not isinstance(child, DirectoryNode):
                    raise _os_error(errno.ENOTDIR, path)
                node = child

    def rename(self, source: str, target: str) -> None:
        with self._lock:
            self.check("rename", source)
            old, old_name = self._parent(source)
            new, new_name = self._parent(target)
            node = old.entries.get(old_name)
            if node is None:
                raise _os_error(errno.ENOENT, source)
            if old is new:
                old.change({old_name: None, new_name: node})
            else:
                new.change({new_name: node})
                old.change({old_name: None})

    def unlink(self, path: str) -> None:
        with self._lock:
            self.check("unlink", path)
            parent, name = self._parent(path)
            if not isinstance(parent.entries.get(name), FileNode):
                raise _os_error(errno.ENOENT, path)
            parent.change({name: None})

    def remove_tree(self, path: str) -> None:
        with self._lock:
            self.check("remove_tree", path)
            self._directory(path)
            parent, name = self._parent(path)
            parent.change({name: None})

    def sync_directory(self, path: str) -> None:
        with self._lock:
            self.check("sync_directory", path)
            self._directory(path).sync()

    def sync_file_system(self, path: str) -> None:
        with self._lock:
            try:
                self.check("sync_file_system", path)
            except OSError:
                _forget_all(self._root)
                raise
            _sync_all(self._root)

    def lock(self, path: str) -> MemoryLock | None:
        with self._lock:
            self.open(path, create=True)
            if path in self._locks:
                return None
            self._locks.add(path)
            return MemoryLock(self._locks, path)

    def boot_id(self) -> str:
        return str(uuid.UUID(int=self._boot + 1))


class MemoryLock:
    def __init__(self, locks: set[str], path: str) -> None:
        self._locks = locks
        self._path = path

    def release(self) -> None:
        self._locks.discard(self._path)


class MemoryFile:
    """An open file of a MemoryFileSystem; void after a crash (EBADF)."""

    def __init__(
        self, fs: MemoryFileSystem, path: str, node: FileNode, life: int, *, writable: bool
    ) -> None:
        self._fs = fs
        self._path = path
        self._node = node
        self._life = life
        self._writable = writable
        self._closed = False

    @property
    def path(self) -> str:
        return self._path

    def _check(self, operation: str, *, writes: bool = False) -> None:
        if self._closed or self._life != self._fs._life or (writes and not self._writable):
            raise _os_error(errno.EBADF, self._path)
        self._fs.check(operation, self._path)

    def write(self, buffers: Sequence[ReadableBuffer], position: int) -> int:
        with self._fs._lock:
            data = b"".join(buffers)
            try:
                self._check("write", writes=True)
                self._fs.check_room(position + len(data) - self._node.size, self._path)
            except OSError as error:
                if error.errno != errno.EBADF and data:  # a short write: some of it may be there
                    cut = self._fs._chance.randint(0, len(data) - 1)
                    cut = min(cut, max(0, self._node.size - position))
                    self._node.write(data[:cut], position)
                raise
            self._node.write(data, position)
            return len(data)

    def read(self, count: int, position: int) -> bytes:
        with self._fs._lock:
            self._check("read")
            return self._node.read(count, position)

    def size(self) -> int:
        return self._node.size

    def allocate(self, size: int) -> None:
        with self._fs._lock:
            self._check("allocate", writes=True)
            self._fs.check_room(size - self._node.size, self._path)
            if size > self._node.size:
                self._node.resize(size)

    def truncate(self, size: int) -> None:
        with self._fs._lock:
            self._check("truncate", writes=True)
            self._node.resize(size)

    def sync(self) -> None:
        with self._fs._lock:
            try:
                self._check("sync")
            except OSError as error:
                if error.errno != errno.EBADF:
                    self._node.forget_unsynced()
                raise
            self._node.sync()

    def map(self, length: int) -> memoryview:
        with self._fs._lock:
            self._check("map")
            if length > self._node.size:
                raise ValueError("the map would be longer than the file")
            return self._node.map(length)

    def resident(self, position: int, count: int) -> bool:
        return position + count <= self._node.size

    def close(self) -> None:
        self._closed = True


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _os_error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def _sync_all(directory: DirectoryNode) -> None:
    directory.sync()
    for node in directory.entries.values():
        if isinstance(node, FileNode):
            node.sync()
        else:
            _sync_all(node)


def _forget_all(directory: DirectoryNode) -> None:
    for node in directory.entries.values():
        if isinstance(node, FileNode):
            node.forget_unsynced()
        else:
            _forget_all(node)
