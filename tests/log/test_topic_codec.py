from __future__ import annotations

import pytest

from logstore.config import TopicConfig
from logstore.errors import BatchRecordError, BatchTooLargeError
from logstore.record import (
    CODEC_NAMES,
    BatchFields,
    BatchHeader,
    decode_records,
    encode_batch,
    validate_batch,
)
from tests.log.support import LIMIT, Partition

TYPES = ["uncompressed", "gzip", "snappy", "lz4", "zstd"]
VALUES = [b"the same words again and again " * 20] * 40


def codec_of(compression_type: str) -> str:
    return "none" if compression_type == "uncompressed" else compression_type


def stored(partition: Partition, offset: int = 0) -> tuple[bytes, BatchHeader]:
    partition.flusher.run_round()
    with partition.log.read(offset, bytes_max=1) as lease:
        data = bytes(lease.data)
    return data, validate_batch(data, decompressed_bytes_max=LIMIT)


@pytest.mark.parametrize("asked", TYPES)
@pytest.mark.parametrize("sent", CODEC_NAMES)
def test_a_batch_is_stored_in_the_topics_codec(asked: str, sent: str) -> None:
    partition = Partition(compression_type=asked)
    batch = encode_batch(VALUES, [b"k"] * 40, list(range(40)), compression=sent)
    partition.log.append(batch)
    data, header = stored(partition)
    assert CODEC_NAMES[header.compression] == codec_of(asked)
    is_kept = sent == codec_of(asked)
    assert (data[16:] == batch[16:]) is is_kept
    records = decode_records(data, decompressed_bytes_max=LIMIT)
    assert [record.value for record in records] == VALUES
    assert [record.timestamp for record in records] == list(range(40))


def test_what_is_in_the_codec_keeps_its_level() -> None:
    partition = Partition(compression_type="zstd", compression_zstd_level="19")
    batch = encode_batch(VALUES, timestamps=5, compression="zstd")
    partition.log.append(batch)
    assert stored(partition)[0][16:] == batch[16:]


@pytest.mark.parametrize("asked", ["gzip", "zstd"])
def test_levels(asked: str) -> None:
    values = [b"%d" % (number * number) for number in range(5000)]
    sizes = []
    for level in ("1", "9"):
        configs = {"compression_type": asked, f"compression_{asked}_level": level}
        partition = Partition()
        partition.log.update_config(TopicConfig.from_overrides(configs))
        partition.append(*values)
        sizes.append(stored(partition)[1].size_bytes)
    assert sizes[1] < sizes[0]


def test_a_producers_batch_stays_its_batch() -> None:
    partition = Partition(compression_type="lz4")

    def sent(sequence: int) -> bytearray:
        fields: BatchFields = {"producer_id": 7, "producer_epoch": 1, "base_sequence": sequence}
        return encode_batch(VALUES, timestamps=1000, **fields)

    assert partition.log.append(sent(0)).base_offset == 0
    again = partition.log.append(sent(0))
    assert (again.duplicate, again.base_offset) == (True, 0)
    assert partition.log.append(sent(40)).base_offset == 40
    header = stored(partition, 40)[1]
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 1, 40)
    partition.kill_and_open()
    last = partition.log.append(sent(40))
    assert (last.duplicate, last.base_offset) == (True, 40)


def test_the_logs_time_and_the_topics_codec() -> None:
    partition = Partition(compression_type="snappy", message_timestamp_type="LogAppendTime")
    partition.append(*VALUES, timestamp=5)
    data, header = stored(partition)
    assert (CODEC_NAMES[header.compression], header.timestamp_type) == ("snappy", 1)
    records = decode_records(data, decompressed_bytes_max=LIMIT)
    assert {record.timestamp for record in records} == {partition.clock.now_ms()}


def test_the_limit_holds_for_what_is_stored_too() -> None:
    partition = Partition(compression_type="uncompressed", max_message_bytes="4000")
    batch = encode_batch(VALUES, timestamps=5, compression="zstd")
    assert len(batch) < 4000
    with pytest.raises(BatchTooLargeError, match="max_message_bytes"):
        partition.log.append(batch)
    assert partition.log.log_end_offset == 0


def test_a_bad_record_is_refused_before_anything_is_compressed() -> None:
    partition = Partition(compression_type="zstd", cleanup_policy="compact")
    with pytest.raises(BatchRecordError, match="no key"):
        partition.append(*VALUES)


def test_a_new_codec_counts_from_the_next_append() -> None:
    partition = Partition()
    partition.append(*VALUES)
    partition.log.update_config(TopicConfig.from_overrides({"compression_type": "zstd"}))
    partition.append(*VALUES)
    assert stored(partition, 0)[1].compression == 0
    assert CODEC_NAMES[stored(partition, 40)[1].compression] == "zstd"
