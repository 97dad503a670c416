"""A file system of plain bytes in a dictionary: what targets that read files are given.

No crashes, no faults, no locks: as fast as it can be. What the kernel refuses it refuses too.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any


def _invalid(path: str) -> OSError:
    return OSError(errno.EINVAL, "invalid argument", path)


class PlainFile:
    __slots__ = ("data", "path")

    def __init__(self, path: str, data: bytearray) -> None:
        self.path = path
        self.data = data

    def write(self, buffers: Sequence[Any], position: int) -> int:
        content = b"".join(buffers)
        if position < 0:
            raise _invalid(self.path)
        if position > len(self.data):
            self.data.extend(bytes(position - len(self.data)))
        self.data[position : position + len(content)] = content
        return len(content)

    def read(self, count: int, position: int) -> bytes:
        if position < 0 or count < 0:
            raise _invalid(self.path)
        return bytes(self.data[position : position + count])

    def size(self) -> int:
        return len(self.data)

    def allocate(self, size: int) -> None:
        if size < 0:
            raise _invalid(self.path)
        self.data.extend(bytes(max(0, size - len(self.data))))

    def truncate(self, size: int) -> None:
        if size < 0:
            raise _invalid(self.path)
        if size > len(self.data):
            self.allocate(size)
        else:
            del self.data[size:]

    def sync(self) -> None:
        return None

    def start_write_back(self, position: int, count: int) -> None:
        return None

    def map(self, length: int) -> memoryview:
        """A copy: a bytearray with a view could not grow. Enough where nobody writes meanwhile."""
        if length > len(self.data):
            raise _invalid(self.path)
        return memoryview(bytes(self.data[:length]))

    def resident(self, position: int, count: int) -> bool:
        return True

    def close(self) -> None:
        return None


class PlainFiles:
    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = {path: bytearray(content) for path, content in files.items()}
        self.boot = "this boot"

    def open(self, path: str, *, write: bool = True, create: bool = False) -> PlainFile:
        data = self.files.get(path)
        if data is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            data = self.files[path] = bytearray()
        return PlainFile(path, data)

    def exists(self, path: str) -> bool:
        return path in self.files or self.is_directory(path)

    def is_directory(self, path: str) -> bool:
        return any(name.startswith(path + "/") for name in self.files)

    def list_directory(self, path: str) -> list[str]:
        start = len(path) + 1
        return sorted({n[start:].split("/")[0] for n in self.files if n.startswith(path + "/")})

    def make_directory(self, path: str) -> None:
        return None

    def rename(self, source: str, target: str) -> None:
        self.files[target] = self.files.pop(source)

    def unlink(self, path: str) -> None:
        if self.files.pop(path, None) is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)

    def remove_tree(self, path: str) -> None:
        for name in [name for name in self.files if name.startswith(path + "/")]:
            del self.files[name]

    def sync_directory(self, path: str) -> None:
        return None

    def sync_file_system(self, path: str) -> None:
        return None

    def lock(self, path: str) -> None:
        return None

    def boot_id(self) -> str:
        return self.boot


def one_file(path: str, content: bytes) -> PlainFiles:
    return PlainFiles({path: content})
