"""A file system that writes down, in order, what was done to another."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from logstore.fs import File, FileSystem, Lock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")


class Call(NamedTuple):
    """One call, written down when it returned; of one that raised OSError the name is
    "failed <name>" and the detail the error ("ENOSPC").

    `name`: the method, and "create" for an `open` that made the file. `detail` by name:
    write (position, bytes), read (position, count), allocate, truncate and map the size,
    rename the target, lock whether it was taken; None otherwise.
    """

    name: str
    path: str
    detail: int | str | bool | tuple[int, int] | None = None


class RecordingFileSystem:
    """logstore.fs.FileSystem around another, for assertions about order.

    `calls` has all but questions (exists, is_directory, list_directory, size, resident, boot_id)
    and hints (start_write_back); `clear()` empties it. Each sync takes `sync_delay_s` seconds
    longer, which may be changed at any time. Thread-safe: calls of one thread are in its order, and
    a call that began after another had returned comes after it.
    """

    def __init__(self, inner: FileSystem, *, sync_delay_s: float = 0.0) -> None:
        self.calls: list[Call] = []
        self.sync_delay_s = sync_delay_s
        self._inner = inner
        self._lock = threading.Lock()

    # --- what was called --------------------------------------------------------------------

    def calls_for(self, path_suffix: str) -> list[Call]:
        """The calls whose path ends so, in order."""
        with self._lock:
            return [call for call in self.calls if call.path.endswith(path_suffix)]

    def names_for(self, path_suffix: str) -> list[str]:
        """Only the names of those calls: ["create", "write", "sync"]."""
        return [call.name for call in self.calls_for(path_suffix)]

    def index(self, name: str, path_suffix: str = "", start: int = 0) -> int:
        """Where in `calls` the first such call from `start` on is. Raises ValueError."""
        for place, call in enumerate(self.calls[start:], start):
            if call.name == name and call.path.endswith(path_suffix):
                return place
        raise ValueError(f"no {name} of *{path_suffix} in {self.calls[start:]}")

    def clear(self) -> None:
        with self._lock:
            self.calls.clear()

    def note(self, call: Call) -> None:
        with self._lock:
            self.calls.append(call)

    def run(self, call: Call, action: Callable[[], T]) -> T:
        try:
            result = action()
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, str(error))
            self.note(Call(f"failed {call.name}", call.path, reason))
            raise
        self.note(call)
        return result

    def run_sync(self, call: Call, action: Callable[[], None]) -> None:
        if self.sync_delay_s > 0:
            time.sleep(self.sync_delay_s)
        self.run(call, action)

    # --- FileSystem -------------------------------------------------------------------------

    def open(self, path: str, *, write: bool = True, create: bool = False) -> RecordingFile:
        name = "create" if create and not self._inner.exists(path) else "open"
        file = self.run(
            Call(name, path), lambda: self._inner.open(path, write=write, create=create)
        )
        return RecordingFile(self, file)

    def exists(self, path: str) -> bool:
        return self._inner.exists(path)

    def is_directory(self, path: str) -> bool:
        return self._inner.is_directory(path)

    def list_directory(self, path: str) -> list[str]:
        return self._inner.list_directory(path)

    def make_directory(self, path: str) -> None:
        self.run(Call("make_directory", path), lambda: self._inner.make_directory(path))

    def rename(self, source: str, target: str) -> None:
        self.run(Call("rename", source, target), lambda: self._inner.rename(source, target))

    def unlink(self, path: str) -> None:
        self.run(Call("unlink", path), lambda: self._inner.unlink(path))

    def remove_tree(self, path: str) -> None:
        self.run(Call("remove_tree", path), lambda: self._inner.remove_tree(path))

    def sync_directory(self, path: str) -> None:
        self.run_sync(Call("sync_directory", path), lambda: self._inner.sync_directory(path))

    def sync_file_system(self, path: str) -> None:
        self.run_sync(Call("sync_file_system", path), lambda: self._inner.sync_file_system(path))

    def lock(self, path: str) -> Lock | None:
        lock = self._inner.lock(path)
        self.note(Call("lock", path, lock is not None))
        return lock

    def boot_id(self) -> str:
        return self._inner.boot_id()


class RecordingFile:
    """An open file of a RecordingFileSystem."""

    def __init__(self, fs: RecordingFileSystem, inner: File) -> None:
        self._fs = fs
        self._inner = inner

    @property
    def path(self) -> str:
        return self._inner.path

    def write(self, buffers: Sequence[ReadableBuffer], position: int) -> int:
        count = sum(memoryview(buffer).nbytes for buffer in buffers)
        call = Call("write", self.path, (position, count))
        return self._fs.run(call, lambda: self._inner.write(buffers, position))

    def read(self, count: int, position: int) -> bytes:
        call = Call("read", self.path, (position, count))
        return self._fs.run(call, lambda: self._inner.read(count, position))

    def size(self) -> int:
        return self._inner.size()

    def allocate(self, size: int) -> None:
        self._fs.run(Call("allocate", self.path, size), lambda: self._inner.allocate(size))

    def truncate(self, size: int) -> None:
        self._fs.run(Call("truncate", self.path, size), lambda: self._inner.truncate(size))

    def sync(self) -> None:
        self._fs.run_sync(Call("sync", self.path), self._inner.sync)

    def start_write_back(self, position: int, count: int) -> None:
        self._inner.start_write_back(position, count)

    def map(self, length: int) -> memoryview:
        return self._fs.run(Call("map", self.path, length), lambda: self._inner.map(length))

    def resident(self, position: int, count: int) -> bool:
        return self._inner.resident(position, count)

    def close(self) -> None:
        self._fs.run(Call("close", self.path), self._inner.close)
