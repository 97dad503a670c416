"""A file system that writes down, in order, what was done to another."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from logstore.fs import File, FileSystem, Lock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Call(NamedTuple):
    """`detail`: bytes written, the new size, or the target of a rename."""

    operation: str
    path: str
    detail: int | str = 0


class RecordingFileSystem:
    """logstore.fs.FileSystem around another. `calls` holds the changes and syncs (reads are not
    recorded); `sync_delay` seconds are added to every sync. Thread-safe."""

    def __init__(self, inner: FileSystem, *, sync_delay: float = 0.0) -> None:
        self.calls: list[Call] = []
        self.sync_delay = sync_delay
        self._inner = inner
        self._lock = threading.Lock()

    def note(self, operation: str, path: str, detail: int | str = 0) -> None:
        with self._lock:
            self.calls.append(Call(operation, path, detail))

    def index(self, operation: str, path_ends: str, start: int = 0) -> int:
        """Where in `calls` the first such call from `start` on is. Raises ValueError."""
        for index, call in enumerate(self.calls[start:], start):
            if call.operation == operation and call.path.endswith(path_ends):
                return index
        raise ValueError(f"no {operation} of *{path_ends} among {len(self.calls)} calls")

    def delay_sync(self) -> None:
        if self.sync_delay:
            time.sleep(self.sync_delay)

    def open(self, path: str, *, write: bool = True, create: bool = False) -> File:
        if create and not self._inner.exists(path):
            self.note("create", path)
        return RecordingFile(self, self._inner.open(path, write=write, create=create))

    def exists(self, path: str) -> bool:
        return self._inner.exists(path)

    def is_directory(self, path: str) -> bool:
        return self._inner.is_directory(path)

    def list_directory(self, path: str) -> list[str]:
        return self._inner.list_directory(path)

    def make_directory(self, path: str) -> None:
        self.note("make_directory", path)
        self._inner.make_directory(path)

    def rename(self, source: str, target: str) -> None:
        self._inner.rename(source, target)
        self.note("rename", source, target)

    def unlink(self, path: str) -> None:
        self._inner.unlink(path)
        self.note("unlink", path)

    def remove_tree(self, path: str) -> None:
        self._inner.remove_tree(path)
        self.note("remove_tree", path)

    def sync_directory(self, path: str) -> None:
        self.delay_sync()
        self._inner.sync_directory(path)
        self.note("sync_directory", path)

    def sync_file_system(self, path: str) -> None:
        self.delay_sync()
        self._inner.sync_file_system(path)
        self.note("sync_file_system", path)

    def lock(self, path: str) -> Lock | None:
        return self._inner.lock(path)

    def boot_id(self) -> str:
        return self._inner.boot_id()


class RecordingFile:
    """An open file of a RecordingFileSystem. A call is noted once it has succeeded."""

    def __init__(self, fs: RecordingFileSystem, inner: File) -> None:
        self._fs = fs
        self._inner = inner

    @property
    def path(self) -> str:
        return self._inner.path

    def write(self, buffers: Sequence[ReadableBuffer], position: int) -> int:
        count = self._inner.write(buffers, position)
        self._fs.note("write", self.path, count)
        return count

    def read(self, count: int, position: int) -> bytes:
        return self._inner.read(count, position)

    def size(self) -> int:
        return self._inner.size()

    def allocate(self, size: int) -> None:
        self._inner.allocate(size)
        self._fs.note("allocate", self.path, size)

    def truncate(self, size: int) -> None:
        self._inner.truncate(size)
        self._fs.note("truncate", self.path, size)

    def sync(self) -> None:
        self._fs.delay_sync()
        self._inner.sync()
        self._fs.note("sync", self.path)

    def map(self, length: int) -> memoryview:
        return self._inner.map(length)

    def resident(self, position: int, count: int) -> bool:
        return self._inner.resident(position, count)

    def close(self) -> None:
        self._inner.close()
