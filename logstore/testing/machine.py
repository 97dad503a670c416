"""What the files of one MemoryFileSystem share: its lock, chance, faults, space and lives."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections import Counter
from dataclasses import dataclass

from logstore.testing.file_node import FileNode

WRITE_BACK = (
    "write_back"  # no call of FileSystem: the kernel writes a file's pages, in any sync of it
)
OPERATIONS = (
    "open",
    "write",
    "read",
    "allocate",
    "truncate",
    "sync",
    "write_back",
    "map",
    "list_directory",
    "make_directory",
    "rename",
    "unlink",
    "remove_tree",
    "sync_directory",
    "sync_file_system",
    "lock",
)
# What MemoryFileSystem.statistics counts beside the injected errors ("sync EIO"). A long run in
# which one of these stays zero has not tried what it claims to.
STATISTICS = (
    "kill",
    "power_loss",
    "write_kept",
    "write_dropped",
    "write_torn_at_byte",
    "write_torn_at_sector",
    "write_reordered",  # kept, though an earlier one was not or not whole
    "size_kept",
    "size_lost",
    "zero_filled_tail",  # the size was kept, the data was not
    "create_kept",
    "create_lost",
    "rename_kept",
    "rename_lost",
    "unlink_kept",
    "unlink_lost",
    "short_write",  # some of a failing write is there
    "sync_forgot",  # bytes that a failing sync left in memory only
    "sync_reported",  # ... of which a later sync through another handle told
    "stop",  # in the middle of a call, by stop_after
    "disk_full",
)


class MachineStoppedError(BaseException):
    """What every call raises from the moment that `stop_after` chose. Not an Exception: no program
    under test goes on after it; the test catches it, then calls `kill` or `power_loss`."""


@dataclass(slots=True)
class Fault:
    operation: str
    error: int
    path_contains: str
    after: int
    times: int | None
    calls: int = 0


class Machine:
    """`lock` is held around every use of the rest."""

    def __init__(self, seed: int, capacity_bytes: int | None) -> None:
        self.lock = threading.RLock()
        self.chance = random.Random(seed)
        self.statistics: Counter[str] = Counter()
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.life = 0  # of the process: handles of an earlier one are void
        self.boot = 0
        self.faults: list[Fault] = []
        self.locked: dict[FileNode, object] = {}  # the file, and the lock that holds it
        self.calls_left: int | None = None  # until it stops
        self.is_stopped = False

    def end_process(self) -> None:
        self.life += 1
        self.calls_left = None
        self.is_stopped = False
        self.locked.clear()
        self.faults.clear()

    def count_down(self, operation: str, path: str) -> None:
        """Raises MachineStoppedError when it is time, and ever after."""
        if self.calls_left is not None and not self.is_stopped:
            self.is_stopped = self.calls_left == 0
            self.calls_left -= 1
            self.statistics["stop"] += self.is_stopped
        if self.is_stopped:
            raise MachineStoppedError(f"the machine stopped in {operation} of {path}")

    def check(self, operation: str, path: str) -> None:
        """Raises the OSError that was injected for this call, if any."""
        if self.calls_left is not None and operation != WRITE_BACK:
            self.count_down(operation, path)
        for fault in self.faults:
            if fault.operation != operation or fault.path_contains not in path:
                continue
            fault.calls += 1
            number = fault.calls - fault.after
            if number > 0 and (fault.times is None or number <= fault.times):
                name = errno.errorcode.get(fault.error, str(fault.error))
                self.statistics[f"{operation} {name}"] += 1
                raise os_error(fault.error, path)

    # --- space ------------------------------------------------------------------------------

    def room(self, node: FileNode) -> int | None:
        """The size to which the file can grow; None when there is no limit."""
        if self.capacity_bytes is None or not node.linked:
            return None
        return node.reserved_bytes + max(0, self.capacity_bytes - self.used_bytes)

    def reserve(self, node: FileNode, size: int, path: str) -> None:
        """Blocks for the first `size` bytes; raises ENOSPC when the disk is too small."""
        room = self.room(node)
        if size > node.reserved_bytes and room is not None and size > room:
            self.statistics["disk_full"] += 1
            raise os_error(errno.ENOSPC, path)
        self.set_reserved(node, max(size, node.reserved_bytes))

    def set_reserved(self, node: FileNode, size: int) -> None:
        if node.linked:
            self.used_bytes += size - node.reserved_bytes
        node.reserved_bytes = size

    def unlinked(self, node: FileNode) -> None:
        """Its last name went. The space is free at once, though it may still be open."""
        if node.linked:
            node.linked = False
            self.used_bytes -= node.reserved_bytes


def os_error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
