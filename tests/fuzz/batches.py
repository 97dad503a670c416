"""Record batches to begin with, and their repair: what most record targets share."""

from __future__ import annotations

import struct

import crc32c

from logstore.record import CODEC_NAMES, BatchFields, encode_batch
from tests.record.samples import ROWS, Row

LIMIT = 1 << 16  # of decompressed bytes
TIME = 1_700_000_000_000
PRODUCER: BatchFields = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0}
MARKER: BatchFields = {**PRODUCER, "is_control": True, "is_transactional": True}
COMMITTED = struct.pack(">hh", 0, 1), struct.pack(">hi", 0, 0)  # key and value of the marker


def rows_batch(rows: list[Row], **fields) -> bytes:
    keys, values, times, headers = zip(*rows, strict=True)
    return bytes(encode_batch(values, keys, times, headers, **fields))


def plain_batches() -> list[bytes]:
    return [
        rows_batch(ROWS[:4]),
        rows_batch(ROWS[:1]),
        rows_batch(ROWS[4:8], producer_id=7, producer_epoch=1, base_sequence=2**31 - 2),
        rows_batch(ROWS[:2], base_offset=2**40, is_transactional=True, leader_epoch=3, **PRODUCER),
        bytes(encode_batch([b"v" * 12] * 12, timestamps=TIME)),  # the fast path of equal records
        bytes(encode_batch([b"value-%d" % n for n in range(9)], [b"k"] * 9, timestamps=TIME)),
        bytes(encode_batch([COMMITTED[1]], [COMMITTED[0]], **MARKER)),
    ]


def packed_batches() -> list[bytes]:
    return [rows_batch(ROWS[:14], compression=name) for name in CODEC_NAMES[1:]] + [
        bytes(encode_batch([b"x" * 5000], timestamps=TIME, compression=name))
        for name in CODEC_NAMES[1:]
    ]


def batches() -> list[bytes]:
    return plain_batches() + packed_batches()


def repair_batch(data: bytearray) -> None:
    """Length and CRC-32C of one batch."""
    if len(data) >= 61:
        struct.pack_into(">i", data, 8, len(data) - 12)
        data[16] = 2
        struct.pack_into(">I", data, 17, crc32c.crc32c(memoryview(data)[21:]))


def repair_batches(data: bytearray) -> None:
    """The CRCs of all batches in a row, as far as their lengths lead."""
    position = 0
    while len(data) - position >= 61:
        (length,) = struct.unpack_from(">i", data, position + 8)
        end = position + 12 + length
        if length < 49 or end > len(data):
            return
        crc = crc32c.crc32c(memoryview(data)[position + 21 : end])
        struct.pack_into(">I", data, position + 17, crc)
        position = end
