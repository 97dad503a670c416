"""Invariant: whatever a .timeindex says, a time gives a real record; a new boot the right one."""

from __future__ import annotations

from logstore.log.format import TIME_INDEX_SUFFIX
from tests.fuzz.files import PlainFiles
from tests.fuzz.logs import BATCHES, STEM, all_records, batch_of, closed_files, open_log, records_of
from tests.fuzz.target import Target, promised, require

PATH = STEM + TIME_INDEX_SUFFIX
TIMES = (0, 1010, 1075, 1099, 2000)


def seeds() -> list[bytes]:
    """The first byte: after a clean close, a kill, or a restart of the machine."""
    index = closed_files()[PATH]
    return [bytes([kind]) + index for kind in range(3)] + [b"\1" + index[:24], b"\0"]


def check(data: bytes) -> object:
    if not data:
        return None
    kind = data[0] % 3
    fs = PlainFiles(closed_files() | {PATH: data[1:]})
    fs.boot = "another boot" if kind == 2 else fs.boot
    expected = all_records()
    times = {offset: time for offset, time, _ in expected}
    with promised:
        log = open_log(fs, clean=kind == 0)
        answers = [log.offset_for_timestamp(time) for time in TIMES]
        latest = log.offset_for_max_timestamp()
        require(records_of(log) == expected, "all records are read")
        log.append(batch_of(BATCHES))
        log.flush()
        require(records_of(log, 21)[0][2] == b"7-0", "what was appended is read")
    for time, answer in zip(TIMES, answers, strict=True):
        # No `verify` looks at a time index yet: one that is believed may hide records.
        require(answer is None or times[answer[0]] == answer[1] >= time, "a real record")
        if kind == 2:  # then the index is made anew
            first = next(((at, then) for at, then, _ in expected if then >= time), None)
            require(answer == first, f"the first record from {time} on")
    require(latest is None or times[latest[0]] == latest[1], "a real record is the latest")
    if kind == 2:
        require(latest is not None and latest[1] == max(times.values()), "the latest record")
    return kind, tuple(answers), len(fs.files[PATH]) // 12


TARGET = Target("time_index", seeds, check, bytes_max=128)
