"""A real, small file system: tmpfs, or ext4 in a file behind a loop device. Needs root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType


class CannotMount(Exception):
    """Why there is no such file system here."""


class SmallDisk:
    """Mounted while the with block runs; `path` is its root."""

    def __init__(self, kind: str, directory: Path, size_bytes: int) -> None:
        self.path = directory / f"{kind}-disk"
        self._kind = kind
        self._image = directory / f"{kind}.img"
        self._size_bytes = size_bytes

    def __enter__(self) -> SmallDisk:
        self.path.mkdir()
        if self._kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "tmpfs", str(self.path))
        else:
            with open(self._image, "wb") as image:
                image.truncate(self._size_bytes)
            _run("mkfs.ext4", "-q", "-m", "0", str(self._image))
            _run("mount", "-o", "loop", str(self._image), str(self.path))
        return self

    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _run("umount", str(self.path))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotMount(f"{command[0]}: {error}") from error
    if done.returncode:
        raise CannotMount(f"{' '.join(command)}: {done.stderr.strip()}")
