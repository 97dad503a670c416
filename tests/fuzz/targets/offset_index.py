"""Invariant: whatever an .index says, every record is read at its offset, and appends go on."""

from __future__ import annotations

from logstore.log.format import INDEX_SUFFIX
from tests.fuzz.files import PlainFiles
from tests.fuzz.logs import BATCHES, STEM, all_records, batch_of, closed_files, open_log, records_of
from tests.fuzz.target import Target, promised, require

PATH = STEM + INDEX_SUFFIX
LOOKED_UP = (1, 7, 20)
TIMES = (0, 1010, 1075, 1099, 2000)


def seeds() -> list[bytes]:
    """The first byte: after a clean close, a kill, or a restart of the machine."""
    index = closed_files()[PATH]
    return [bytes([kind]) + index for kind in range(3)] + [b"\1" + index[:16], b"\0"]


def check(data: bytes) -> object:
    if not data:
        return None
    kind = data[0] % 3
    fs = PlainFiles(closed_files() | {PATH: data[1:]})
    fs.boot = "another boot" if kind == 2 else fs.boot
    expected = all_records()
    with promised:
        log = open_log(fs, clean=kind == 0)
        require(records_of(log) == expected, "all records are read")
        for offset in LOOKED_UP:
            require(records_of(log, offset) == expected[offset:], f"records from {offset} on")
        for time in TIMES:
            first = next(((at, then) for at, then, _ in expected if then >= time), None)
            require(log.offset_for_timestamp(time) == first, f"the first record from {time} on")
        again = log.append(batch_of(BATCHES - 1))
        require(again.duplicate and again.last_offset == 20, "a producer's last batch is known")
        log.append(batch_of(BATCHES))
        log.flush()
        require(records_of(log)[: len(expected)] == expected, "all records are still read")
        require(records_of(log, 21)[0][2] == b"7-0", "what was appended is read")
    return kind, log.recovery_report.was_unclean, len(fs.files[PATH]) // 8


TARGET = Target("offset_index", seeds, check, bytes_max=128)
