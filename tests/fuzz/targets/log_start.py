"""Invariant: a log start checkpoint is an offset of the log, or corrupt, never anything else."""

from __future__ import annotations

from logstore.errors import CorruptDataError
from logstore.log.checkpoint import read_log_start, write_log_start
from logstore.log.format import LOG_START_FILE
from tests.fuzz.files import one_file
from tests.fuzz.target import Target, promised, require


def seeds() -> list[bytes]:
    return [b"0\n1\norders 3 1204\n", b"0\n1\nt 0 0\n", b"0\n1\nt 0 9223372036854775807\n"]


def check(data: bytes) -> object:
    files = one_file(f"t-0/{LOG_START_FILE}", data)
    offset = read_log_start(files, "t-0")
    require(0 <= offset < 1 << 63, "an offset is an int64")
    with promised:
        write_log_start(files, "t-0", topic="t", partition=0, offset=offset)
        require(read_log_start(files, "t-0") == offset, "a round trip")
    return len(str(offset))


TARGET = Target("log_start", seeds, check, (CorruptDataError,), bytes_max=256)
