"""Batches that aiokafka and kafka-python wrote, kept as bytes and read by us; golden_batches.py
says how they were made. And ours, written and read live by the releases that are installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka.record.memory_records import MemoryRecords as AiokafkaRecords
from kafka.record.memory_records import MemoryRecords as KafkaPythonRecords

from tests.record.golden_batches import GOLDEN_ROWS, by_aiokafka, by_kafka_python
from tests.record.samples import CODECS, LIMIT, ROWS, build, rows_of

if TYPE_CHECKING:
    from types import ModuleType

    from tests.record.samples import Row

GOLDEN = json.loads(
    (Path(__file__).parent.parent / "golden" / "record_batches.json").read_text("ascii")
)


def check_reads(record: ModuleType, batch: bytes, rows: list[Row]):
    header = record.validate_batch(batch, decompressed_bytes_max=LIMIT)
    assert rows_of(record.decode_records(batch, decompressed_bytes_max=LIMIT)) == rows
    columns = record.decode_columns(batch, decompressed_bytes_max=LIMIT)
    assert columns.keys() == [row[0] for row in rows]
    assert columns.values() == [row[1] for row in rows]
    return header


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: f"{g['made_by']} {g['compression']}")
def test_golden_bytes(record: ModuleType, golden: dict[str, str]) -> None:
    header = check_reads(record, bytes.fromhex(golden["hex"]), GOLDEN_ROWS)
    assert CODECS[header.compression] == golden["compression"]
    if golden["made_by"].endswith("transactional"):
        assert header.is_transactional
        assert (header.producer_id, header.producer_epoch, header.base_sequence) == (4000, 3, 17)
    else:
        assert not header.is_transactional


@pytest.mark.parametrize(
    "golden", [g for g in GOLDEN if g["compression"] == "none"], ids=lambda g: g["made_by"]
)
def test_plain_golden_bytes_are_what_we_write(record: ModuleType, golden: dict[str, str]) -> None:
    """Without compression there is one way to write a batch, base timestamp included."""
    theirs = bytes.fromhex(golden["hex"])
    header = record.parse_header(theirs)
    ours = build(
        record,
        GOLDEN_ROWS,
        leader_epoch=header.partition_leader_epoch,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
        is_transactional=header.is_transactional,
    )
    assert ours.hex() == theirs.hex()


@pytest.mark.parametrize("code", range(5), ids=CODECS)
def test_we_read_aiokafka(record: ModuleType, code: int) -> None:
    assert check_reads(record, by_aiokafka(code, ROWS), ROWS).compression == code


@pytest.mark.parametrize("code", range(2), ids=CODECS[:2])
def test_we_read_kafka_python(record: ModuleType, code: int) -> None:
    assert check_reads(record, by_kafka_python(code, ROWS), ROWS).compression == code


@pytest.mark.parametrize("compression", CODECS)
def test_aiokafka_reads_us(record: ModuleType, compression: str) -> None:
    check_theirs(AiokafkaRecords, record, compression)


@pytest.mark.parametrize("compression", CODECS[:2])
def test_kafka_python_reads_us(record: ModuleType, compression: str) -> None:
    check_theirs(KafkaPythonRecords, record, compression)


def check_theirs(reader: type, record: ModuleType, compression: str) -> None:
    first = build(record, ROWS, compression, base_offset=500)
    second = record.with_log_append_time(first, 1800000000000)
    record.patch_offsets(second, base_offset=500 + len(ROWS), leader_epoch=1)
    records = reader(bytes(first) + bytes(second))
    times = [row[2] for row in ROWS], [1800000000000] * len(ROWS)
    for number, base_offset in enumerate((500, 500 + len(ROWS))):
        batch = records.next_batch()
        assert batch.validate_crc()
        assert batch.timestamp_type == number
        for index, theirs in enumerate(batch):
            key, value, _, headers = ROWS[index]
            assert (theirs.offset, theirs.timestamp) == (base_offset + index, times[number][index])
            assert (theirs.key, theirs.value) == (key, value)
            assert tuple(theirs.headers) == headers
        assert index + 1 == len(ROWS)
    assert records.next_batch() is None
