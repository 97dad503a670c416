"""A file system in memory that forgets on a power loss what was not synced, and fails on demand."""

from __future__ import annotations

import errno
import uuid
from collections import Counter
from functools import lru_cache

from logstore.testing.directory_node import (
    DirectoryNode,
    Edit,
    Journal,
    after_power_loss,
)
from logstore.testing.file_node import FileNode
from logstore.testing.machine import OPERATIONS, WRITE_BACK, Fault, Machine, os_error
from logstore.testing.memory_file import MemoryFile, MemoryLock


class MemoryFileSystem:
    """logstore.fs.FileSystem for tests of crashes. Thread-safe; one seed, one behaviour.

    - `kill()`: the process dies. Open files and locks are void; all that was written stays.
    - `power_loss()`: the machine stops. What was synced stays. Of the rest a legal part does,
      chosen by the seeded random generator: file writes whole, torn or not at all, whatever became
      of earlier ones; sizes without their data; changes of directories. boot_id() is another.
    - `inject()`: let calls fail. `capacity_bytes` (may be set at any time): a disk of that size.
    - `statistics`: how often what was done; see STATISTICS for the names.

    A sync of a file makes its content and size durable, not its name: that takes a sync of the
    directory, and that of a directory the sync of its parent. With `strict=False` names follow as
    on a journalling file system: in order, and with any sync.

    Paths are relative to its own root, which exists; "a" and "/a" are the same.
    """

    def __init__(
        self, seed: int = 0, *, capacity_bytes: int | None = None, strict: bool = True
    ) -> None:
        self._machine = Machine(seed, capacity_bytes)
        self._strict = strict
        self._root = DirectoryNode()
        self._journal = Journal(strict=strict)

    # --- crashes and faults -----------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL. Ends injected faults too."""
        with self._machine.lock:
            self._machine.statistics["kill"] += 1
            self._machine.end_process()

    def power_loss(self) -> None:
        """The plug is pulled, and the machine starts again. Ends injected faults too.

        Maps taken before keep what they showed; they belong to a machine that is gone.
        """
        machine = self._machine
        with machine.lock:
            machine.statistics["power_loss"] += 1
            machine.end_process()
            machine.boot += 1
            self._journal.power_loss(machine.chance, machine.statistics)
            self._root = after_power_loss(self._root, machine.chance, machine.statistics)
            self._journal = Journal(strict=self._strict)
            machine.used_bytes = sum(node.reserved_bytes for node in set(self._root.files()))

    def inject(
        self,
        operation: str,
        error: int = errno.EIO,
        *,
        path_contains: str = "",
        after: int = 0,
        times: int | None = 1,
    ) -> None:
        """Let `times` calls (None: all) of `operation` fail, after `after` that succeed, counting
        calls whose path contains `path_contains`. Raises ValueError for an unknown operation.

        A write that fails may have written some of its bytes, from the start. A sync that fails
        forgets the bytes that it was to write, as Linux does: they can still be read, a later sync
        succeeds without them, and a power loss shows that they are not on disk. Every other handle
        of the file hears of it once, with its next sync.

        "write_back" is no call but what a sync does: it fails the sync of a file that matches, and
        a sync_file_system, which then writes all other files; the sync of the file tells it again.
        """
        if operation not in OPERATIONS:
            raise ValueError(f"{operation!r} is none of {', '.join(OPERATIONS)}")
        with self._machine.lock:
            self._machine.faults.append(Fault(operation, error, path_contains, after, times))

    def stop_after(self, calls: int) -> None:
        """After so many more calls (each of OPERATIONS is one) the next one stops in the middle:
        it raises MachineStoppedError, which is no Exception, and so does every call after it.
        Then call `kill` (the process died there) or `power_loss`. A write that is stopped may
        have written some of its bytes, from the start."""
        with self._machine.lock:
            self._machine.calls_left = calls

    def heal(self) -> None:
        """No more injected faults."""
        with self._machine.lock:
            self._machine.faults.clear()

    def drop_caches(self) -> None:
        """Memory is short: clean pages are read from disk again. Bytes that a failed sync has
        forgotten are gone, files are not resident until they are read."""
        with self._machine.lock:
            for node in self._root.files():
                node.drop_cache()

    @property
    def statistics(self) -> Counter[str]:
        """Counts by name: those of STATISTICS, and "operation ERROR" for injected errors."""
        return self._machine.statistics

    @property
    def used_bytes(self) -> int:
        """What the files with a name take, reserved blocks included."""
        return self._machine.used_bytes

    @property
    def capacity_bytes(self) -> int | None:
        return self._machine.capacity_bytes

    @capacity_bytes.setter
    def capacity_bytes(self, capacity_bytes: int | None) -> None:
        with self._machine.lock:
            self._machine.capacity_bytes = capacity_bytes

    # --- FileSystem -------------------------------------------------------------------------

    def open(self, path: str, *, write: bool = True, create: bool = False) -> MemoryFile:
        with self._machine.lock:
            self._machine.check("open", path)
            node = self._open_node(path, create=create)
            return MemoryFile(
                self._machine, path, node, writable=write, synced=self._journal.file_synced
            )

    def exists(self, path: str) -> bool:
        with self._machine.lock:
            return not isinstance(self._find(path), int)

    def is_directory(self, path: str) -> bool:
        with self._machine.lock:
            return isinstance(self._find(path), DirectoryNode)

    def list_directory(self, path: str) -> list[str]:
        with self._machine.lock:
            self._machine.check("list_directory", path)
            return sorted(self._directory(path).entries)

    def make_directory(self, path: str) -> None:
        with self._machine.lock:
            self._machine.check("make_directory", path)
            directory = self._root
            names = _names(path)
            for depth, name in enumerate(names, 1):
                child = directory.entries.get(name)
                if child is None:
                    child = DirectoryNode()
                    self._journal.change("create", Edit(directory, name, child))
                if isinstance(child, FileNode):
                    raise os_error(errno.EEXIST if depth == len(names) else errno.ENOTDIR, path)
                directory = child

    def rename(self, source: str, target: str) -> None:
        with self._machine.lock:
            self._machine.check("rename", source)
            old, old_name = self._parent(source)
            new, new_name = self._parent(target)
            node = old.entries.get(old_name)
            if node is None:
                raise os_error(errno.ENOENT, source)
            replaced = new.entries.get(new_name)
            if replaced is node:
                return
            _check_replace(node, old, new, replaced, target)
            if isinstance(replaced, FileNode):
                self._machine.unlinked(replaced)
            gone, there = Edit(old, old_name, None), Edit(new, new_name, node)
            if old is new or isinstance(node, DirectoryNode) or not self._strict:
                self._journal.change("rename", gone, there)
            else:  # either directory may be on disk alone, but never without the file in both
                added = self._journal.change("rename", there)
                self._journal.change("rename", gone, needs=[added])

    def unlink(self, path: str) -> None:
        with self._machine.lock:
            self._machine.check("unlink", path)
            parent, name = self._parent(path)
            node = parent.entries.get(name)
            if not isinstance(node, FileNode):
                raise os_error(errno.ENOENT if node is None else errno.EISDIR, path)
            self._unlink(parent, name, node)

    def remove_tree(self, path: str) -> None:
        """Fails in the middle, too, when an injected unlink does."""
        with self._machine.lock:
            self._machine.check("remove_tree", path)
            parent, name = self._parent(path)
            self._remove(parent, name, self._directory(path), path)

    def sync_directory(self, path: str) -> None:
        with self._machine.lock:
            self._machine.check("sync_directory", path)
            self._journal.sync(self._directory(path))

    def sync_file_system(self, path: str) -> None:
        with self._machine.lock:
            if isinstance(found := self._find(path), int):
                raise os_error(found, path)
            failure: OSError | None = None
            try:
                self._machine.check("sync_file_system", path)
            except OSError as error:
                failure = error
            failure = self._write_back(self._root, "", failure is not None) or failure
            if failure is not None:
                raise failure
            self._journal.sync_all()

    def _write_back(self, directory: DirectoryNode, path: str, is_failing: bool) -> OSError | None:
        """Every file to disk, but those whose pages cannot be written; the last error."""
        failure: OSError | None = None
        for name, node in directory.entries.items():
            below = f"{path}/{name}"
            if isinstance(node, DirectoryNode):
                failure = self._write_back(node, below, is_failing) or failure
                continue
            fails = is_failing
            if node.is_dirty:
                try:
                    self._machine.check(WRITE_BACK, below)
                except OSError as error:
                    failure, fails = error, True
            if not fails:
                node.sync()
            elif node.forget_unsynced():
                self._machine.statistics["sync_forgot"] += 1
        return failure

    def lock(self, path: str) -> MemoryLock | None:
        with self._machine.lock:
            self._machine.check("lock", path)
            node = self._open_node(path, create=True)
            return None if node in self._machine.locked else MemoryLock(self._machine, node)

    def boot_id(self) -> str:
        return str(uuid.UUID(int=self._machine.boot + 1))

    # --- the tree ---------------------------------------------------------------------------

    def _find(self, path: str) -> FileNode | DirectoryNode | int:
        """What is at the path; the number of the error when nothing is."""
        node: FileNode | DirectoryNode = self._root
        for name in _names(path):
            if isinstance(node, FileNode):
                return errno.ENOTDIR
            if name not in node.entries:
                return errno.ENOENT
            node = node.entries[name]
        return node

    def _directory(self, path: str) -> DirectoryNode:
        node = self._find(path)
        if isinstance(node, DirectoryNode):
            return node
        raise os_error(node if isinstance(node, int) else errno.ENOTDIR, path)

    def _parent(self, path: str) -> tuple[DirectoryNode, str]:
        names = _names(path)
        if not names:
            raise os_error(errno.EBUSY, path)
        return self._directory("/".join(names[:-1])), names[-1]

    def _open_node(self, path: str, *, create: bool) -> FileNode:
        parent, name = self._parent(path)
        node = parent.entries.get(name)
        if isinstance(node, DirectoryNode):
            raise os_error(errno.EISDIR, path)
        if node is None:
            if not create:
                raise os_error(errno.ENOENT, path)
            node = FileNode()
            self._journal.change("create", Edit(parent, name, node))
        return node

    def _unlink(self, parent: DirectoryNode, name: str, node: FileNode) -> None:
        self._machine.unlinked(node)
        self._journal.change("unlink", Edit(parent, name, None))

    def _remove(
        self, parent: DirectoryNode, name: str, directory: DirectoryNode, path: str
    ) -> None:
        for child_name, child in list(directory.entries.items()):
            child_path = f"{path}/{child_name}"
            if isinstance(child, DirectoryNode):
                self._remove(directory, child_name, child, child_path)
            else:
                self._machine.check("unlink", child_path)
                self._unlink(directory, child_name, child)
        self._journal.change("unlink", Edit(parent, name, None))


@lru_cache(maxsize=4096)  # a store asks for the same paths again and again
def _names(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split("/") if name not in ("", "."))


def _check_replace(
    node: FileNode | DirectoryNode,
    old: DirectoryNode,
    new: DirectoryNode,
    replaced: FileNode | DirectoryNode | None,
    target: str,
) -> None:
    """Raises what rename(2) does when `node` cannot take this place."""
    if isinstance(node, DirectoryNode) and any(each is new for each in node.directories()):
        raise os_error(errno.EINVAL, target)
    if isinstance(replaced, DirectoryNode) and any(each is old for each in replaced.directories()):
        raise os_error(errno.ENOTEMPTY, target)
    if isinstance(node, DirectoryNode):
        if isinstance(replaced, FileNode):
            raise os_error(errno.ENOTDIR, target)
        if isinstance(replaced, DirectoryNode) and replaced.entries:
            raise os_error(errno.ENOTEMPTY, target)
    elif isinstance(replaced, DirectoryNode):
        raise os_error(errno.EISDIR, target)
