"""A file system through which nothing can be changed, for those who follow a store."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from logstore.fs import File, FileSystem

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class ReadOnlyFileSystem:
    """FileSystem over another. Files are opened for reading whatever was asked; one that is
    missing and would have been made is empty. Every change is refused with EROFS."""

    def __init__(self, inner: FileSystem) -> None:
        self._inner = inner

    def open(self, path: str, *, write: bool = True, create: bool = False) -> File:
        try:
            return self._inner.open(path, write=False)
        except FileNotFoundError:
            if create:
                return EmptyFile(path)
            raise

    def exists(self, path: str) -> bool:
        return self._inner.exists(path)

    def is_directory(self, path: str) -> bool:
        return self._inner.is_directory(path)

    def list_directory(self, path: str) -> list[str]:
        return self._inner.list_directory(path)

    def boot_id(self) -> str:
        return self._inner.boot_id()

    def make_directory(self, path: str) -> NoReturn:
        raise _refusal(path)

    def rename(self, source: str, target: str) -> NoReturn:
        raise _refusal(source)

    def unlink(self, path: str) -> NoReturn:
        raise _refusal(path)

    def remove_tree(self, path: str) -> NoReturn:
        raise _refusal(path)

    def sync_directory(self, path: str) -> NoReturn:
        raise _refusal(path)

    def sync_file_system(self, path: str) -> NoReturn:
        raise _refusal(path)

    def lock(self, path: str) -> NoReturn:
        raise _refusal(path)


class EmptyFile:
    """A file of no bytes that takes none."""

    def __init__(self, path: str) -> None:
        self.path = path

    def write(self, buffers: Sequence[ReadableBuffer], position: int) -> NoReturn:
        raise _refusal(self.path)

    def read(self, count: int, position: int) -> bytes:
        return b""

    def size(self) -> int:
        return 0

    def allocate(self, size: int) -> NoReturn:
        raise _refusal(self.path)

    def truncate(self, size: int) -> NoReturn:
        raise _refusal(self.path)

    def sync(self) -> NoReturn:
        raise _refusal(self.path)

    def start_write_back(self, position: int, count: int) -> None:
        """There is nothing to be written."""

    def map(self, length: int) -> memoryview:
        return memoryview(b"")

    def resident(self, position: int, count: int) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open."""


def _refusal(path: str) -> OSError:
    return OSError(errno.EROFS, os.strerror(errno.EROFS), path)
