"""Layout of Kafka's record batch v2: constants, the header as a value, and its parsing.

Source: https://kafka.apache.org/documentation/#recordbatch (big-endian throughout).

    offset bytes field
         0     8 base offset              \\ set by the log; outside the CRC
         8     4 batch length              | bytes that follow this field (size of batch - 12)
        12     4 partition leader epoch   / set by the log; outside the CRC
        16     1 magic                      2
        17     4 CRC-32C                    of everything from `attributes` to the end
        21     2 attributes                 bits below
        23     4 last offset delta          offset of the last record - base offset
        27     8 base timestamp             record timestamps are deltas to it, milliseconds
        35     8 max timestamp              of the records; with LogAppendTime, of all of them
        43     8 producer id                -1: none
        51     2 producer epoch             -1: none
        53     4 base sequence              -1: none
        57     4 record count
        61       records, as one block compressed by the codec that `attributes` names

    attributes: bits 0-2 compression, 3 timestamp type, 4 transactional, 5 control,
                6 delete horizon (base timestamp then holds it; set by compaction only)

    record: length varint (bytes that follow), attributes int8 (unused), timestamp delta varlong,
            offset delta varint, key length varint (-1: null), key, value length varint (-1: null),
            value, header count varint, headers
    header: key length varint, key (UTF-8), value length varint (-1: null), value
    varint: 7 bits a byte, low first, high bit on all but the last; the number is zigzag-coded

These numbers are on disks and wires and never change meaning. A new format is a new magic: give it
its own layout and functions, and let `parse_header` dispatch on the magic byte.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from logstore.errors import BatchLengthError, BatchMagicError, InvalidRequestError

if TYPE_CHECKING:
    from typing_extensions import Buffer  # what mypy brings; nothing to install

MAGIC: Final = 2
HEADER_BYTES: Final = 61
LENGTH_END: Final = 12  # the batch length counts from here
PREFIX_BYTES: Final = 16  # base offset, batch length, leader epoch: what the log may rewrite

BASE_OFFSET_AT: Final = 0
BATCH_LENGTH_AT: Final = 8
LEADER_EPOCH_AT: Final = 12
MAGIC_AT: Final = 16
CRC_AT: Final = 17
ATTRIBUTES_AT: Final = 21
LAST_OFFSET_DELTA_AT: Final = 23
BASE_TIMESTAMP_AT: Final = 27
MAX_TIMESTAMP_AT: Final = 35
PRODUCER_ID_AT: Final = 43
PRODUCER_EPOCH_AT: Final = 51
BASE_SEQUENCE_AT: Final = 53
RECORD_COUNT_AT: Final = 57

COMPRESSION_MASK: Final = 0x07
TIMESTAMP_TYPE_BIT: Final = 0x08
TRANSACTIONAL_BIT: Final = 0x10
CONTROL_BIT: Final = 0x20
DELETE_HORIZON_BIT: Final = 0x40
KNOWN_ATTRIBUTES: Final = 0x7F

TIMESTAMP_CREATE_TIME: Final = 0
TIMESTAMP_LOG_APPEND_TIME: Final = 1

NO_TIMESTAMP: Final = -1
NO_PRODUCER_ID: Final = -1
NO_PRODUCER_EPOCH: Final = -1
NO_SEQUENCE: Final = -1
NO_LEADER_EPOCH: Final = -1

RECORD_BYTES_MIN: Final = 7  # seven one-byte fields; bounds the count a body can hold
BATCH_BYTES_LIMIT: Final = 2**31 - 1  # sizes are int32 on the wire
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)

HEADER: Final = struct.Struct(">qiibIhiqqqhii")
PREFIX: Final = struct.Struct(">qii")
LENGTH: Final = struct.Struct(">i")
CRC: Final = struct.Struct(">I")
PRODUCER: Final = struct.Struct(">qhi")


class BatchHeader(NamedTuple):
    """The 61 bytes before the records, in their order on the wire."""

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole batch, header included."""
        return self.batch_length + LENGTH_END

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def compression(self) -> int:
        """The code, 0 to 7; `compression.CODEC_NAMES` names the known ones."""
        return self.attributes & COMPRESSION_MASK

    @property
    def timestamp_type(self) -> int:
        """TIMESTAMP_CREATE_TIME or TIMESTAMP_LOG_APPEND_TIME."""
        return (self.attributes & TIMESTAMP_TYPE_BIT) >> 3

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL_BIT)

    @property
    def has_delete_horizon(self) -> bool:
        return bool(self.attributes & DELETE_HORIZON_BIT)


def parse_header(data: Buffer, position: int = 0) -> BatchHeader:
    """The header of the batch that starts at `position`; neither CRC nor records are looked at.

    Raises BatchLengthError when fewer than 61 bytes are left or the length field is below what a
    header needs, BatchMagicError when the format version is not 2. A length field that reaches
    beyond `data` is accepted: the caller may hold only the start of the batch.
    """
    try:
        header = tuple.__new__(BatchHeader, HEADER.unpack_from(data, position))
    except struct.error:
        raise BatchLengthError(
            f"a batch header takes {HEADER_BYTES} bytes; fewer are left at position {position}",
            position=position,
        ) from None
    if header.magic != MAGIC:
        raise BatchMagicError(
            f"batch of format version {header.magic}; only version {MAGIC} is supported",
            magic=header.magic,
            position=position,
        )
    if header.batch_length < HEADER_BYTES - LENGTH_END:
        raise BatchLengthError(
            f"batch length {header.batch_length} is less than its header takes",
            batch_length=header.batch_length,
            position=position,
        )
    return header


def header_prefix(
    header_or_length: BatchHeader | int, *, base_offset: int, leader_epoch: int
) -> bytes:
    """The first 16 bytes of a batch as the log stores it; the CRC does not cover them.

    `header_or_length` is the header or the batch length field. The rest of the batch is written
    as it came: `pwritev(fd, [prefix, batch[16:]], position)`.
    """
    if isinstance(header_or_length, BatchHeader):
        header_or_length = header_or_length.batch_length
    try:
        return PREFIX.pack(base_offset, header_or_length, leader_epoch)
    except struct.error as error:
        raise InvalidRequestError(f"batch prefix out of range: {error}") from None
