"""Doubles for tests, of logstore and of programs that use it. See README.md."""

from logstore.testing.clock import ManualClock
from logstore.testing.machine import OPERATIONS, STATISTICS, MachineStoppedError
from logstore.testing.memory_fs import MemoryFileSystem
from logstore.testing.recording_fs import Call, RecordingFileSystem

__all__ = [
    "OPERATIONS",
    "STATISTICS",
    "Call",
    "MachineStoppedError",
    "ManualClock",
    "MemoryFileSystem",
    "RecordingFileSystem",
]
