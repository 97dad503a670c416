"""Invariant: whatever a .crc says, no wrong record is read; what it denies is reported."""

from __future__ import annotations

import struct

import crc32c

from logstore.errors import CorruptDataError
from logstore.log.format import CHECKSUMS_SUFFIX, LOG_SUFFIX
from tests.fuzz.files import PlainFiles
from tests.fuzz.logs import (
    BATCHES,
    STEM,
    all_records,
    batch_of,
    closed_files,
    open_log,
    records_of,
)
from tests.fuzz.target import Target, promised, require

PATH = STEM + CHECKSUMS_SUFFIX


def seeds() -> list[bytes]:
    """The first byte: after a clean close, a kill, or a restart of the machine."""
    sums = closed_files()[PATH]
    return [bytes([kind]) + sums for kind in range(3)] + [b"\1" + sums[:16], b"\0"]


def repair(data: bytearray) -> None:
    """The checksum of the sidecar itself, which a whole one ends with."""
    if len(data) > 5:
        struct.pack_into(">I", data, len(data) - 4, crc32c.crc32c(memoryview(data)[1:-4]))


def check(data: bytes) -> object:
    if not data:
        return None
    kind = data[0] % 3
    fs = PlainFiles(closed_files() | {PATH: data[1:]})
    fs.boot = "another boot" if kind == 2 else fs.boot
    with promised:
        log = open_log(fs, clean=kind == 0)
    require(log.high_watermark == len(all_records()), "no record is cut off")
    content = closed_files()[STEM + LOG_SUFFIX]
    held = b"".join(bytes(part) for path, part in fs.files.items() if LOG_SUFFIX in path)
    require(content in held, "no byte of the log is dropped")
    try:
        is_read = records_of(log) == all_records()
    except CorruptDataError:
        is_read = None  # the block is not what its checksum says: one of the two is damaged
    require(is_read is not False, "all records are read, or damage is reported")
    with promised:
        log.append(batch_of(BATCHES))
        log.flush()
        require(records_of(log, 21)[0][2] == b"7-0", "what was appended is read")
    return kind, is_read, log.recovery_report.was_unclean, len(log.recovery_notes)


TARGET = Target("block_checksums", seeds, check, repair=repair, bytes_max=128)
