"""A file system that forgets, under a real kernel: LazyFS on FUSE keeps what was not synced in a
cache of its own, and drops it when it is told to.

The environment variable LAZYFS names its binary (README.md tells how to build it).
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.torture.small_disk import CannotMount

CONFIG = """
[faults]
fifo_path="{fifo}"
fifo_path_completed="{done}"
[cache]
apply_eviction=false
[cache.simple]
custom_size="1gb"
blocks_per_page=1
[filesystem]
log_all_operations=false
logfile=""
"""
MOUNT_SECONDS_MAX = 20.0


class LazyDisk:
    """Mounted while the with block runs. Raises CannotMount."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lazy"
        self._directory = directory
        self._fifo = directory / "faults.fifo"
        self._done = directory / "done.fifo"
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = -1

    def __enter__(self) -> LazyDisk:
        binary = os.environ.get("LAZYFS", "")
        if not binary:
            raise CannotMount("LAZYFS does not name a LazyFS binary")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise CannotMount("/dev/fuse cannot be opened")
        root = self._directory / "root"
        for path in (self.path, root):
            path.mkdir()
        os.mkfifo(self._done)
        self._answers = os.open(self._done, os.O_RDWR)  # so that neither side waits for the other
        config = self._directory / "lazyfs.toml"
        config.write_text(CONFIG.format(fifo=self._fifo, done=self._done))
        with open(self._directory / "lazyfs.log", "wb") as log:
            self._process = subprocess.Popen(
                [
                    binary, str(self.path), "--config-path", str(config), "-o", "allow_other",
                    "-o", "modules=subdir", "-o", f"subdir={root}", "-f",
                ],
                stdout=log,
                stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + MOUNT_SECONDS_MAX
        while not (os.path.ismount(self.path) and self._fifo.exists()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._directory / "lazyfs.log").read_text(errors="replace")[-300:]
                self._unmount()
                raise CannotMount(f"LazyFS did not mount: {said}")
            time.sleep(0.05)
        return self

    def lose_power(self) -> None:
        """All that was not synced is gone when it returns. Nobody may have files open."""
        with open(self._fifo, "w") as fifo:
            fifo.write("lazyfs::clear-cache\n")
        said = b""
        while b"clear-cache" not in said:
            said += os.read(self._answers, 4096)

    def _unmount(self) -> None:
        subprocess.run(["umount", str(self.path)], capture_output=True, check=False)
        if self._process is not None:
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        os.close(self._answers)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._unmount()
