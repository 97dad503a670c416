"""Invariant: a log opens whatever its bytes; sound batches are served or set aside, not dropped."""

from __future__ import annotations

from logstore.errors import CorruptDataError
from logstore.log import PartitionLog
from logstore.log.format import LOG_SUFFIX
from logstore.log.state_file import SlotValues
from logstore.record import check_crc, encode_batch, iter_batches, parse_header
from tests.fuzz.batches import repair_batches
from tests.fuzz.files import PlainFiles
from tests.fuzz.logs import (
    BATCHES,
    RECORDS,
    STEM,
    closed_files,
    open_log,
    records_of,
    slot_of,
)
from tests.fuzz.target import Target, promised, require

PATH = STEM + LOG_SUFFIX
NEXT = bytes(encode_batch([b"next"], timestamps=1000))
FLUSHED = (0, 2 * RECORDS, BATCHES * RECORDS)  # nothing, a part, all of it is known to be on disk


def seeds() -> list[bytes]:
    """The first byte says how much was flushed."""
    log = closed_files()[PATH]
    made = [bytes([kind]) + log for kind in range(3)]
    return [*made, b"\0" + log[:300] + bytes(100), b"\1" + log[:350] + bytes(80) + log[430:]]


def repair(data: bytearray) -> None:
    log = data[1:]
    repair_batches(log)
    data[1:] = log


def raw_batches(log: PartitionLog) -> tuple[list[bytes], bool]:
    """As a reader gets them; and whether it was told of damage behind them."""
    position = log.log_start_offset
    found: list[bytes] = []
    while position < log.high_watermark:
        try:
            with log.read(position, bytes_max=200, cold_ok=True) as lease:
                if not lease.data.nbytes:
                    break
                found += [bytes(batch) for batch in iter_batches(lease.data)]
        except CorruptDataError:
            return found, True
        following = parse_header(found[-1]).last_offset + 1
        if following <= position:
            return found, True
        position = following
    return found, False


def check(data: bytes) -> object:
    if not data:
        return None
    flushed = FLUSHED[data[0] % 3]
    content = data[1:]
    fs = PlainFiles({p: c for p, c in closed_files().items() if not p.endswith(".snapshot")})
    fs.files[PATH] = bytearray(content)
    slot_of(fs, SlotValues(flushed, flushed, flushed, 0, 1))
    with promised:
        log = open_log(fs)
    require(log.high_watermark == log.log_end_offset >= flushed, "no flushed offset is free again")
    served, is_damaged = raw_batches(log)
    if flushed == 0:
        require(all(map(check_crc, served)) and not is_damaged, "what was not flushed is checked")
    originals = [bytes(batch) for batch in iter_batches(closed_files()[PATH])]
    kept = b"".join(bytes(held) for held in fs.files.values())
    if set(served) <= set(originals):  # no made one has swallowed another
        behind = content[sum(map(len, served)) :]
        for batch in originals:
            require(batch in kept or batch not in behind, "a sound batch is kept somewhere")
    ends = [-1]
    for batch in served:
        header = parse_header(batch)
        # What was flushed is not looked at again: offsets, which no CRC covers, may be damaged.
        require(flushed > 0 or header.base_offset > ends[-1], "offsets ascend")
        ends.append(header.last_offset)
    require(flushed > 0 or ends[-1] < log.high_watermark, "offsets end at the high watermark")
    with promised:
        appended = log.append(NEXT)
        require(appended.base_offset >= flushed, "no flushed offset is used again")
        log.flush()
        require(records_of(log, appended.base_offset)[0][2] == b"next", "appends go on")
        require(log.close(), "it closes cleanly")
        again = open_log(fs, clean=True)
        require(again.log_end_offset == log.log_end_offset, "the same end after a clean close")
        require(raw_batches(again)[0][: len(served)] == served, "the same batches")
    return flushed, len(log.recovery_notes), len(served), ends[-1] == 20


TARGET = Target("recovery", seeds, check, repair=repair, bytes_max=1200)
