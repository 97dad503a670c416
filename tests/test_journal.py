from __future__ import annotations

import struct

import crc32c

from logstore.journal import replay
from logstore.log.lease import Lease
from logstore.record import encode_batch, patch_offsets


def emptied(offset: int, records: int) -> bytes:
    """What compaction leaves of a batch whose records are all gone: its header."""
    batch = bytearray(encode_batch([b"v"] * records, timestamps=1)[:61])
    struct.pack_into(">i", batch, 8, 49)
    struct.pack_into(">i", batch, 57, 0)
    struct.pack_into(">I", batch, 17, crc32c.crc32c(bytes(batch[21:])))
    patch_offsets(batch, base_offset=offset, leader_epoch=0)
    return bytes(batch)


class OneRead:
    """A log whose reads return what is at or behind the offset."""

    log_start_offset = 0

    def __init__(self, *batches: tuple[int, bytes]) -> None:
        self._batches = batches  # (last offset, bytes)
        self.high_watermark = batches[-1][0] + 1
        self.reads = 0

    def read(self, offset: int, *, bytes_max: int, cold_ok: bool = True) -> Lease:
        self.reads += 1
        assert self.reads < 10, "it reads the same again and again"
        found = b"".join(data for last, data in self._batches if last >= offset)
        return Lease(memoryview(found))


def test_replay_passes_over_batches_that_compaction_has_emptied() -> None:
    kept = encode_batch([b"value"], [b"key"], timestamps=7)
    patch_offsets(kept, base_offset=3, leader_epoch=0)
    log = OneRead((2, emptied(0, 3)), (3, bytes(kept)), (5, emptied(4, 2)))
    assert list(replay(log, 1 << 20)) == [(b"key", b"value", 7)]
    assert log.reads == 1
