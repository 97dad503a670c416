from __future__ import annotations

from typing import Any

import pytest

from logstore.config import StoreConfig
from logstore.errors import BatchCompressionError, BatchRecordError, CorruptDataError
from logstore.log.key_map import SLOT_BYTES
from logstore.record import (
    CODEC_NAMES,
    Marker,
    check_crc,
    committed_runs,
    encode_batch,
    encode_marker,
)
from tests.log.compacted import DAY_MS, PAD, CompactedPartition, Found

FIRST = f"{0:020d}.log"
PRODUCER: dict[str, Any] = {"producer_id": 9, "producer_epoch": 0}


def end_transaction(partition: CompactedPartition, marker: Marker, producer_id: int = 9) -> int:
    batch = encode_marker(
        marker, producer_id=producer_id, producer_epoch=0, timestamp_ms=partition.clock.now_ms()
    )
    return partition.log.append(batch, validated=True).base_offset


def markers(partition: CompactedPartition) -> list[int]:
    return [header.base_offset for header, _ in partition.batches() if header.is_control]


# --- keys ---------------------------------------------------------------------------------------


def test_the_last_record_of_each_key_stays_where_it_was() -> None:
    partition = CompactedPartition()
    partition.send((b"k", b"1"), (b"a", b"1"), (b"k", b"2"))
    partition.send((b"b", b"1"), (b"k", b"3"))
    partition.fill(2)
    end = partition.log.log_end_offset
    partition.clean()
    assert partition.without_pad() == [
        Found(1, b"a", b"1"),
        Found(3, b"b", b"1"),
        Found(4, b"k", b"3"),
    ]
    assert (partition.log.log_start_offset, partition.log.log_end_offset) == (0, end)
    partition.close_and_open()
    assert [found.offset for found in partition.without_pad()] == [1, 3, 4]
    assert partition.send((b"next", b"")) == end


def test_nothing_of_the_active_segment_is_touched_but_its_records_count_not_either() -> None:
    partition = CompactedPartition()
    partition.send((b"k", b"old"))
    partition.fill()
    partition.send((b"k", b"new"))
    partition.flusher.run_round()
    active = partition.files(".log")[-1]
    before = partition.content(active)
    partition.clean()
    assert partition.content(active) == before
    assert [found.value for found in partition.without_pad()] == [b"old", b"new"]


def test_a_batch_that_keeps_all_its_records_keeps_its_bytes() -> None:
    partition = CompactedPartition()
    partition.log.append(encode_batch([b"v" * 100] * 3, [b"a", b"b", b"c"], compression="gzip"))
    partition.send((b"gone", b"1"))
    partition.fill(2)
    partition.send((b"gone", b"2"))
    partition.fill()
    before = partition.batches()[0]
    partition.clean()
    after = partition.batches()
    assert after[0] == before
    assert 3 not in [header.base_offset for header, _ in after]


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_a_batch_that_loses_some_keeps_its_codec(codec: str) -> None:
    partition = CompactedPartition()
    keys = [b"k%d" % (index % 5) for index in range(9)]
    partition.log.append(encode_batch([b"v" * 100] * 9, list(keys), compression=codec))
    partition.fill(2)
    partition.clean()
    header, batch = partition.batches()[0]
    assert (header.record_count, header.last_offset) == (5, 8)
    assert header.compression == CODEC_NAMES.index(codec)
    assert check_crc(batch)


def test_records_without_a_key_are_refused_and_those_from_before_are_kept() -> None:
    partition = CompactedPartition()
    with pytest.raises(BatchRecordError, match="key"):
        partition.log.append(encode_batch([b"v"], [None]))
    partition.send((None, b"1"), (b"k", b"1"), (None, b"2"), (b"k", b"2"), (None, None))
    partition.fill(2)
    partition.clean()
    assert [found.offset for found in partition.without_pad()] == [0, 2, 3, 4]


def test_a_topic_that_is_not_compacted_takes_records_without_a_key() -> None:
    partition = CompactedPartition(cleanup_policy="delete")
    partition.log.append(encode_batch([b"v"], [None]))
    partition.send((b"k", b"1"), (b"k", b"2"))
    partition.fill(2)
    assert partition.log.cleaner.dirty_ratio() == 0
    partition.clean()
    assert len(partition.without_pad()) == 3


# --- what is due --------------------------------------------------------------------------------


def test_the_dirty_ratio_counts_closed_segments_and_what_was_cleaned_before() -> None:
    partition = CompactedPartition(min_cleanable_dirty_ratio="0.6")
    for number in range(40):
        partition.send((b"k%d" % number, PAD))
    partition.flusher.run_round()
    assert partition.log.cleaner.dirty_ratio() == 1.0
    partition.clean()
    assert partition.log.cleaner.dirty_ratio() == 0.0
    for number in range(40, 60):
        partition.send((b"k%d" % number, PAD))
    partition.flusher.run_round()
    assert partition.log.cleaner.dirty_ratio() == 0.0, "about a third is not enough"
    for number in range(60, 120):
        partition.send((b"k%d" % number, PAD))
    partition.flusher.run_round()
    assert 0.6 < partition.log.cleaner.dirty_ratio() < 0.8
    partition.close_and_open()
    assert 0.6 < partition.log.cleaner.dirty_ratio() < 0.8, "the cleaned offset was stored"


def test_young_segments_wait() -> None:
    partition = CompactedPartition(min_compaction_lag_ms="1000")
    partition.send((b"k", b"1"), (b"k", b"2"))
    partition.fill()
    partition.clock.advance(0.5)
    partition.send((b"k", b"3"))
    partition.fill()
    partition.clean()
    assert len(partition.without_pad()) == 3
    partition.clock.advance(0.6)
    partition.clean()
    assert [found.value for found in partition.without_pad()] == [b"2", b"3"], "only the first"
    partition.clock.advance(0.5)
    partition.clean()
    assert [found.value for found in partition.without_pad()] == [b"3"]


def test_a_full_map_cleans_up_to_the_offset_reached_and_goes_on_from_there() -> None:
    capacity = 3 * 64 // 4
    partition = CompactedPartition(limits=StoreConfig(compaction_memory_bytes=4096))
    assert 4096 // SLOT_BYTES * 3 // 4 == 127 > capacity
    for round_ in range(3):
        for first in range(0, 200, 50):
            keys = [b"k%d" % number for number in range(first, first + 50)]
            partition.send(*((key, bytes([round_]) * 100) for key in keys))
    partition.fill(1)
    before = partition.latest()
    cleanings = 0
    while partition.log.cleaner.dirty_ratio() > 0:
        partition.clean()
        cleanings += 1
        assert partition.latest() == before
    assert cleanings >= 3
    offsets = [found.offset for found in partition.without_pad()]
    assert offsets == list(range(400, 600))


def test_a_tombstone_in_a_batch_that_the_map_reached_half_loses_no_race() -> None:
    """The map ends inside a batch, between a key's value and its tombstone."""
    partition = CompactedPartition(
        limits=StoreConfig(compaction_memory_bytes=4096), delete_retention_ms="0"
    )
    records = [(b"k%d" % number, b"v" * 60) for number in range(126)]
    partition.send(*records, (b"x", b"old"), (b"full", b""), (b"x", None), (b"y", b""))
    partition.fill(2)
    for _ in range(6):
        partition.clean()
        partition.clock.advance(1)
        assert partition.latest().get(b"x") in ((128, None), None), "never the value again"
        partition.fill(1)
    assert b"x" not in partition.latest()


# --- tombstones ---------------------------------------------------------------------------------


def test_a_tombstone_stays_for_the_delay_after_the_first_cleaning_that_saw_it() -> None:
    partition = CompactedPartition(delete_retention_ms=str(DAY_MS))
    partition.send((b"k", b"1"), (b"other", b"1"))
    partition.send((b"k", None))
    partition.fill(1)
    partition.clock.advance(10 * 24 * 3600)  # its age does not count
    partition.clean()
    assert partition.without_pad() == [Found(1, b"other", b"1"), Found(2, b"k", None)]
    header = next(header for header, _ in partition.batches() if header.base_offset == 2)
    assert header.has_delete_horizon
    assert header.base_timestamp == partition.clock.now_ms() + DAY_MS
    partition.clock.advance(24 * 3600 - 1)
    partition.fill(1)
    partition.clean()
    assert Found(2, b"k", None) in partition.records(), "the horizon is not moved, nor passed"
    partition.clock.advance(1)
    partition.fill(1)
    partition.close_and_open()
    partition.clean()
    assert partition.without_pad() == [Found(1, b"other", b"1")]


def test_tombstones_that_have_had_their_time_make_a_cleaning_due() -> None:
    partition = CompactedPartition(delete_retention_ms="1000", min_cleanable_dirty_ratio="0.5")
    partition.send((b"k", None), (b"a", b"1"))
    partition.fill(1)
    partition.clean()
    assert partition.log.cleaner.dirty_ratio() == 0
    partition.clock.advance(0.999)
    assert partition.log.cleaner.dirty_ratio() == 0
    partition.clock.advance(0.001)
    assert partition.log.cleaner.dirty_ratio() == 1
    partition.clean()
    assert partition.without_pad() == [Found(1, b"a", b"1")]
    partition.clock.advance(10)
    assert partition.log.cleaner.dirty_ratio() == 0, "nothing is left to wait for"


def test_two_crashes_between_groups_bring_no_deleted_key_back() -> None:
    """A tombstone never goes, nor gets its horizon, before what is older of its key has gone."""
    partition = CompactedPartition(delete_retention_ms="1000")
    partition.send((b"k", b"old"), (b"a", b"1"))
    partition.fill(1)
    partition.send((b"k", None), (b"b", b"1"))
    partition.fill(1)
    for _ in range(3):
        view = partition.log._view
        before = view.segments
        for _ in partition.log.cleaner.clean(secret=b"secret"):
            if view.segments != before:
                break  # one group is replaced
        partition.kill_and_open()
        assert partition.latest().get(b"k", (0, None))[1] is None
        partition.clock.advance(2)


def test_a_tombstone_keeps_its_timestamp() -> None:
    partition = CompactedPartition()
    partition.send((b"k", None), (b"j", b"1"), timestamp=777)
    partition.fill(2)
    partition.clean()
    assert partition.log.offset_for_timestamp(0) == (0, 777)
    assert partition.batches()[0][0].has_delete_horizon


# --- segments -----------------------------------------------------------------------------------


def test_small_neighbours_become_one_segment_and_gaps_between_segments_do_not_arise() -> None:
    partition = CompactedPartition()
    partition.fill(6)
    partition.send((b"pad", b"last"))
    partition.fill(1)
    partition.clean()  # each of the old ones is one batch now
    assert partition.log.segment_count == 8
    partition.fill(1)
    partition.clean()
    assert partition.log.segment_count == 3
    assert len(partition.files(".log")) == 3
    end = partition.log.log_end_offset
    partition.lose_power_and_open()
    assert partition.log.recovery_notes == []
    assert partition.log.log_end_offset == end
    assert partition.log.segment_count == 3


def test_a_segment_that_nothing_is_removed_from_is_not_written_anew() -> None:
    partition = CompactedPartition()
    for number in range(20):
        partition.send((b"k%d" % number, PAD))
    partition.flusher.run_round()
    partition.fs.clear()
    partition.clean()
    assert "rename" not in [call.name for call in partition.fs.calls if ".log" in call.path]
    assert partition.files(".cleaned") == []
    assert partition.log.cleaner.dirty_ratio() == 0


def test_times_are_found_in_what_is_left() -> None:
    partition = CompactedPartition()
    partition.send((b"a", b"1"), timestamp=1000)
    partition.send((b"b", b"1"), timestamp=9000)
    partition.send((b"b", b"2"), timestamp=2000)
    partition.fill(2)
    partition.send((b"pad", b""), timestamp=500)
    partition.fill(1)
    partition.clean()
    assert partition.log.offset_for_timestamp(0) == (0, 1000)
    assert partition.log.offset_for_timestamp(1001) == (2, 2000)
    assert partition.log.offset_for_timestamp(8000) == partition.log.offset_for_max_timestamp()


# --- producers and transactions -----------------------------------------------------------------


def test_the_last_batch_of_a_producer_stays_as_a_header_so_that_its_sequence_does() -> None:
    partition = CompactedPartition()
    for sequence in range(3):
        partition.send((b"k", b"%d" % sequence), **PRODUCER, base_sequence=sequence)
    partition.send((b"k", b"other"))
    partition.fill(2)
    partition.clean()
    kept = [header for header, _ in partition.batches() if header.producer_id == 9]
    assert [(header.base_offset, header.record_count) for header in kept] == [(2, 0)]
    for name in partition.files(".snapshot"):
        partition.memory.unlink(f"store/t-0/{name}")
    partition.kill_and_open()
    again = encode_batch([b"2"], [b"k"], **PRODUCER, base_sequence=2)
    assert partition.log.append(again).duplicate
    following = encode_batch([b"3"], [b"k"], **PRODUCER, base_sequence=3)
    assert not partition.log.append(following).duplicate
    partition.fill(1)
    partition.clean()
    kept = [header for header, _ in partition.batches() if header.producer_id == 9]
    assert 2 not in [header.base_offset for header in kept], "another is its last now"


@pytest.mark.parametrize("in_flight", [1, 4, 5, 6])
def test_so_does_the_last_that_is_on_disk_while_later_ones_are_not(in_flight: int) -> None:
    """A power loss may take them; sent again, they must not leave a gap behind an older one. Of
    more than four nothing is known of those before."""
    partition = CompactedPartition()
    for sequence in range(2):
        partition.send((b"k", b"%d" % sequence), **PRODUCER, base_sequence=sequence)
    partition.send((b"k", b"other"))
    partition.fill(2)
    for sequence in range(2, 2 + in_flight):
        partition.send((b"k", b"%d" % sequence), **PRODUCER, base_sequence=sequence)
    for _ in range(2):
        partition.clean()
        headers = [header for header, _ in partition.batches() if header.producer_id == 9]
        assert [(header.base_sequence, header.record_count) for header in headers] == [(1, 0)]
        partition.clock.advance(2 * DAY_MS / 1000)


def test_and_that_of_an_epoch_whose_end_is_not_on_disk() -> None:
    partition = CompactedPartition(durability="page_cache", delete_retention_ms="0")
    partition.send((b"k", b"1"), **PRODUCER, base_sequence=0, is_transactional=True)
    end_transaction(partition, Marker.COMMIT)
    partition.send((b"k", b"other"))
    partition.fill(2)
    marker = encode_marker(Marker.ABORT, producer_id=9, producer_epoch=1, timestamp_ms=0)
    partition.log.append(marker, validated=True)
    partition.clean()
    sequences = [
        header.base_sequence for header, _ in partition.batches() if header.producer_id == 9
    ]
    assert 0 in sequences
    partition.flusher.run_round()
    partition.fill(1)
    partition.clean()
    headers = [header for header, _ in partition.batches() if header.producer_id == 9]
    assert all(header.is_control for header in headers), "the last marker tells of it now"


def test_records_of_aborted_transactions_go_and_take_no_committed_ones_with_them() -> None:
    partition = CompactedPartition()
    partition.send((b"k", b"committed"))
    partition.send((b"k", b"aborted"), **PRODUCER, base_sequence=0, is_transactional=True)
    end_transaction(partition, Marker.ABORT)
    partition.send((b"j", b"1"), **PRODUCER, base_sequence=1, is_transactional=True)
    end_transaction(partition, Marker.COMMIT)
    partition.fill(2)
    partition.clean()
    assert partition.without_pad() == [Found(0, b"k", b"committed"), Found(3, b"j", b"1")]
    assert markers(partition) == [2, 4]


def test_nothing_at_or_above_the_last_stable_offset_is_touched() -> None:
    partition = CompactedPartition()
    partition.send((b"k", b"1"), (b"k", b"2"))
    partition.fill(1)
    partition.send((b"k", b"open"), **PRODUCER, base_sequence=0, is_transactional=True)
    partition.fill(3)
    stable = partition.log.last_stable_offset
    above = [item for item in partition.batches() if item[0].base_offset >= stable]
    partition.clean()
    assert [item for item in partition.batches() if item[0].base_offset >= stable] == above
    assert [found.value for found in partition.without_pad()] == [b"2", b"open"]
    end_transaction(partition, Marker.COMMIT)
    partition.fill(2)
    partition.clean()
    assert [found.value for found in partition.without_pad()] == [b"open"]


@pytest.mark.parametrize("marker", list(Marker))
def test_a_marker_goes_when_its_records_are_gone_and_its_own_delay_has_passed(
    marker: Marker,
) -> None:
    partition = CompactedPartition(delete_retention_ms="1000")
    partition.send((b"k", b"1"), **PRODUCER, base_sequence=0, is_transactional=True)
    first = end_transaction(partition, marker)
    partition.send((b"k", b"2"))
    # What comes later of the producer, so that none of this has to tell its sequence.
    partition.fill(1)
    partition.send((b"z", b"1"), **PRODUCER, base_sequence=1, is_transactional=True)
    second = end_transaction(partition, Marker.COMMIT)
    partition.fill(1)
    partition.clean()
    assert markers(partition) == [first, second], "its records went only now"
    partition.clock.advance(10)
    partition.fill(1)
    partition.clean()
    assert markers(partition) == [first, second], "from now on its delay counts"
    partition.clock.advance(0.9)
    partition.fill(1)
    partition.clean()
    assert first in markers(partition)
    assert len(partition.log.aborted) == (marker is Marker.ABORT)
    partition.clock.advance(0.1)
    partition.fill(1)
    partition.clean()
    assert markers(partition) == [second], "its transaction has a record"
    assert partition.log.aborted == [], "nothing of it is left"
    data = b"".join(batch for _, batch in partition.batches())
    runs = committed_runs(data, [entry[:3] for entry in partition.log.aborted])
    assert b"".join(runs) == data, "the later transaction was committed, and is read"
    for name in partition.files(".snapshot"):
        partition.memory.unlink(f"store/t-0/{name}")
    partition.lose_power_and_open()
    assert partition.log.last_stable_offset == partition.log.high_watermark


def test_a_marker_that_alone_tells_of_its_producer_stays_and_is_not_waited_for() -> None:
    partition = CompactedPartition(delete_retention_ms="1000")
    offset = end_transaction(partition, Marker.COMMIT)
    partition.fill(1)
    partition.clean()
    partition.clock.advance(1)
    assert partition.log.cleaner.dirty_ratio() == 1
    partition.clean()
    assert markers(partition) == [offset]
    assert partition.log.cleaner.dirty_ratio() == 0


def test_a_snapshot_from_before_a_marker_that_went_does_not_open_its_transaction_again() -> None:
    partition = CompactedPartition(delete_retention_ms="0")
    partition.send((b"k", b"1"), **PRODUCER, base_sequence=0, is_transactional=True)
    partition.fill(1)
    old = partition.files(".snapshot")[0]
    content = partition.content(old)
    end_transaction(partition, Marker.ABORT)
    partition.send((b"z", b"1"), **PRODUCER, base_sequence=1)
    for _ in range(2):
        partition.fill(1)
        partition.clean()
        partition.clock.advance(1)
    assert markers(partition) != []
    partition.fill(1)
    partition.memory.open(f"store/t-0/{old}", create=True).write([content], 0)  # as if kept
    partition.clean()
    assert markers(partition) == []
    partition.memory.kill()
    for name in partition.files(".snapshot"):
        if name > old:  # they are not synced, and may be gone
            partition.memory.unlink(f"store/t-0/{name}")
    partition.reopen()
    assert partition.log.open_transactions() == {}


def test_a_batch_that_unfolds_to_more_than_it_may_now_ends_compaction_not_the_rest() -> None:
    partition = CompactedPartition()
    batch = encode_batch([bytes(100_000)], [b"k"], compression="gzip")
    partition.log.append(batch, validated=True)
    partition.fill(1)
    partition.limits = StoreConfig(decompressed_bytes_max=64 << 10)
    partition.close_and_open()
    with pytest.raises(BatchCompressionError, match="limit"):
        partition.clean()
    assert partition.log.cleaner.dirty_ratio() == 0
    assert partition.files(".cleaned") == []
    partition.limits = StoreConfig()
    partition.close_and_open()
    partition.clean()
    assert partition.log.cleaner.dirty_ratio() == 0
    assert partition.without_pad() == [Found(0, b"k", bytes(100_000))]


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [7, 11, 14, 20, 70])  # also what the batch's CRC leaves out
def test_damage_is_reported_and_never_written_anew(position: int) -> None:
    partition = CompactedPartition()
    partition.send((b"k", b"1"), (b"k", b"2"))
    partition.fill(2)
    partition.damage(FIRST, position, b"\xff")
    before = partition.content(FIRST)
    with pytest.raises(CorruptDataError, match="no sound record batch"):
        partition.clean()
    assert partition.content(FIRST) == before
    assert partition.files(".cleaned") == []
    assert partition.log.cleaner.dirty_ratio() == 0, "it is not tried again"
