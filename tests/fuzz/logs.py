"""A partition's files as bytes, to be changed and opened: what targets of whole logs share."""

from __future__ import annotations

import uuid
from functools import cache
from typing import Any

from logstore.config import StoreConfig, TopicConfig
from logstore.fs import FileSystem
from logstore.log import Flusher, PartitionLog, SegmentCache, StateFile
from logstore.log.state_file import SlotValues
from logstore.record import decode_records, encode_batch, iter_batches, parse_header
from logstore.testing import ManualClock
from tests.fuzz.files import PlainFiles

TOPIC_ID = uuid.UUID(int=7)
DIRECTORY = "store/t-0"
STEM = f"{DIRECTORY}/{0:020d}"
LIMITS = StoreConfig()
CONFIG = TopicConfig.from_overrides({"index_interval_bytes": "64"})
BATCHES = 7
RECORDS = 3  # of a batch
SNAPSHOT_AFTER = 4  # batches, of the producer
LIMIT = 1 << 20


def open_log(fs: FileSystem, *, create: bool = False, clean: bool = False) -> PartitionLog:
    state = StateFile.open(fs, "store/state")
    arguments: dict[str, Any] = {
        "topic": "t",
        "topic_id": TOPIC_ID,
        "partition": 0,
        "config": CONFIG,
        "limits": LIMITS,
        "clock": (clock := ManualClock()),
        "slot": state.slot(TOPIC_ID, 0),
        "segments": SegmentCache(8),
        "flusher": Flusher(fs, "store", limits=LIMITS, clock=clock),
    }
    if create:
        return PartitionLog.create(fs, DIRECTORY, **arguments)
    return PartitionLog.open(fs, DIRECTORY, **arguments, clean=clean)


def batch_of(number: int) -> bytes:
    """Of one producer. Timestamps go up and down, as those of many do."""
    values = [b"%d-%d" % (number, index) for index in range(RECORDS)]
    times = [1000 + (number * 37 + index * 5) % 100 for index in range(RECORDS)]
    return bytes(
        encode_batch(
            values,
            timestamps=times,
            producer_id=5,
            producer_epoch=0,
            base_sequence=number * RECORDS,
        )
    )


@cache
def closed_files() -> dict[str, bytes]:
    """Of a log that was closed cleanly."""
    fs = PlainFiles({})
    log = open_log(fs, create=True)
    for number in range(BATCHES):
        log.append(batch_of(number))
        log.flush()
        if number == SNAPSHOT_AFTER:
            assert log.close()
            log = open_log(fs, clean=True)
    assert log.close()
    del fs.files[f"{DIRECTORY}/{BATCHES * RECORDS:020d}.snapshot"]  # so that the log is looked at
    return {path: bytes(data) for path, data in fs.files.items()}


@cache
def all_records() -> list[tuple[int, int, bytes | None]]:
    return records_of(open_log(PlainFiles(closed_files()), clean=True))


def records_of(log: PartitionLog, offset: int | None = None) -> list[tuple[int, int, bytes | None]]:
    """(offset, timestamp, value) of everything that a reader gets."""
    position = log.log_start_offset if offset is None else offset
    found: list[tuple[int, int, bytes | None]] = []
    while position < log.high_watermark:
        with log.read(position, bytes_max=200, cold_ok=True) as lease:
            if not lease.data.nbytes:
                break
            for batch in iter_batches(lease.data):
                records = decode_records(batch, from_offset=position, decompressed_bytes_max=LIMIT)
                found += [(record.offset, record.timestamp, record.value) for record in records]
                position = parse_header(batch).last_offset + 1
    return found


def slot_of(fs: PlainFiles, values: SlotValues) -> None:
    """Have the state file say this of the partition."""
    StateFile.open(fs, "store/state").slot(TOPIC_ID, 0).write(values)
