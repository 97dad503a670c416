from __future__ import annotations

from logstore.log.producer_state import ProducerState
from logstore.log.snapshots import load_snapshot, snapshot_offsets, write_snapshot
from logstore.testing import MemoryFileSystem


def test_the_newest_whole_snapshot_at_or_below_counts() -> None:
    fs = MemoryFileSystem()
    fs.make_directory("d")
    content = ProducerState().encode()
    for offset in (10, 20, 30):
        write_snapshot(fs, "d", offset, content, durably=False)
    assert snapshot_offsets(fs, "d") == [20, 30]  # the newest two are kept
    fs.open(f"d/{30:020d}.snapshot").truncate(3)
    for offset_max, expected in ((40, 20), (20, 20), (19, None)):
        found = load_snapshot(fs, "d", offset_max)
        assert (found and found[0]) == expected
