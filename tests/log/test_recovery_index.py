"""Recovery beside an offset index that lies, and bytes that no append leaves behind."""

from __future__ import annotations

import struct

import pytest

from logstore.log.format import OFFSET_ENTRY
from logstore.record import encode_batch
from tests.log.support import Partition

LOG = f"{0:020d}.log"
INDEX = f"{0:020d}.index"


def filled(count: int = 6) -> Partition:
    partition = Partition(index_interval_bytes="64")
    for number in range(count):
        partition.log.append(
            encode_batch(
                [b"v%d" % number],
                timestamps=1000,
                producer_id=5,
                producer_epoch=0,
                base_sequence=number,
            )
        )
        partition.flusher.run_round()
    return partition


@pytest.mark.parametrize("position", [-1, -(2**31), 1, 2**31 - 1])
def test_a_clean_log_opens_whatever_its_index_says(position: int) -> None:
    partition = filled()
    assert partition.close()
    last = len(partition.content(INDEX)) - OFFSET_ENTRY.size
    partition.damage(INDEX, last + 4, struct.pack(">i", position))
    partition.reopen()
    assert partition.values() == [b"v%d" % number for number in range(6)]
    assert partition.log.append(encode_batch([b"next"], timestamps=1)).base_offset == 6


@pytest.mark.parametrize("position", [-1, 1, 300])
def test_no_producer_is_forgotten_because_of_an_index(position: int) -> None:
    """Its snapshot is older than its last batches, which are looked for by the index."""
    partition = filled(4)
    partition.close_and_open()
    for number in range(4, 8):
        batch = encode_batch(
            [b"v"], timestamps=1, producer_id=5, producer_epoch=0, base_sequence=number
        )
        partition.log.append(batch)
    assert partition.close()
    partition.memory.unlink(f"store/t-0/{8:020d}.snapshot")
    content = partition.content(INDEX)
    for at in range(0, len(content), OFFSET_ENTRY.size):
        partition.damage(INDEX, at + 4, struct.pack(">i", position))
    partition.reopen()
    again = partition.log.append(batch)
    assert again.duplicate
    assert again.base_offset == 7


def test_bytes_in_front_of_a_whole_log_cost_no_batch() -> None:
    """The batches behind them begin at the segment's own offset: they are kept aside, not put into
    a segment of that name, which is the one that is being mended."""
    partition = filled()
    content = partition.content(LOG)
    partition.memory.kill()
    partition.memory.open(f"store/t-0/{LOG}").write([b"x" + content], 0)
    for suffix in (".index", ".timeindex"):
        partition.memory.open(f"store/t-0/{0:020d}{suffix}").truncate(0)
    partition.reopen()
    (quarantine,) = partition.files(".quarantine")
    assert content.rstrip(b"\0") in partition.content(quarantine)
    assert partition.log.high_watermark == 6


def test_a_batch_with_a_wrong_offset_is_set_aside_and_not_dropped() -> None:
    """No CRC covers the base offset."""
    partition = filled(3)
    end = partition.log._view.segments[0].size
    batch = encode_batch([b"not flushed"], timestamps=1)
    partition.log.append(batch)
    partition.memory.kill()
    partition.damage(LOG, end, struct.pack(">q", 1))
    partition.reopen()
    (quarantine,) = partition.files(".quarantine")
    assert bytes(batch[16:]) in partition.content(quarantine)
    assert partition.log.high_watermark == 3
