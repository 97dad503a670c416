"""Names, layouts and numbers of everything a partition keeps on disk, in one place.

A partition directory, all names of a segment made of its base offset in 20 digits:

    00000000000000000000.log            record batches, end to end (Kafka's format v2)
    00000000000000000000.index          offset index
    00000000000000000000.timeindex      time index
    00000000000000000000.crc            checksums of its blocks (see checksums.py)
    00000000000000001204.snapshot       producer state at that offset (see producer_state.py)
    00000000000000001204.quarantine     bytes that recovery took out of the log; never read again;
                                        .1.quarantine and so on if others were before
    00000000000000000000.log.deleted    on its way out
    00000000000000000000.log.cleaned    a compacted segment being written (also .index, .timeindex)
    00000000000000000000.log.swap       and on its way into the place of the old (see swap.py)
    leader-epoch-checkpoint             text, Kafka's: version, count, then "epoch start_offset"
    log-start-offset-checkpoint         text, Kafka's: version, count, then "topic partition offset"
    cleaner-offset-checkpoint           the same, and a checksum: below it each key is there once
    partition.metadata                  text, Kafka's: the topic's UUID

.index entry, 8 bytes, big-endian, ascending in both fields:

    0  4  last offset of a batch - base offset of the segment
    4  4  position of that batch in .log

.timeindex entry, 12 bytes, big-endian, ascending in the first field, never falling in the second:

    0  8  largest timestamp of all batches so far, ms
    8  4  last offset of the first batch that has it - base offset of the segment

.crc, big-endian: what the blocks of .log are, since the CRC of a batch leaves out what the log
itself writes into its header:

    0  4  magic "LSC1"
    4  4  block bytes: 65536
    then for each whole block:
    0  4  CRC-32C of the block
    4  4  CRC-32C of its number (8 bytes) and the 4 bytes before
    then, once the segment was sealed or the log closed:
    0  8  bytes of .log
    8  4  CRC-32C of those behind the last whole block
   12  8  largest timestamp of all batches, ms; -1 if none has one
   20  4  last offset of the first batch that has it - base offset of the segment
   24  4  CRC-32C of this file up to here

The store's `state` file: a header of 128 bytes, then slots of 64, all little-endian (read by this
machine only):

    header   0  8  magic "LSSTATE1"
             8  4  format version
            12  4  flags: bit 0 = closed cleanly
            16  8  open generation: how often the store was opened for writing
            24 64  boot id of the machine at the last open, UTF-8, zero-padded
            88 36  zero
           124  4  CRC-32C of the 124 bytes before
    slot     0 16  topic UUID (all zero: the slot is free)
            16  4  partition
            20  4  sequence: rises with each write of the slot
            24  8  high watermark
            32  8  flushed offset: everything below it is on disk
            40  8  last stable offset
            48  8  log start offset
            56  4  segment-list generation: rises when a segment appears or goes; bit 31 is set
                   while segments are being replaced by cleaned ones of the same names
            60  4  CRC-32C of the 60 bytes before

Numbers that were written to disk never change their meaning. A new layout of the state file gets
a new magic; an old one found then counts as missing, which costs a longer recovery and nothing
else. Kafka's files carry their own version.
"""

from __future__ import annotations

import struct
from typing import Final

LOG_SUFFIX: Final = ".log"
INDEX_SUFFIX: Final = ".index"
TIME_INDEX_SUFFIX: Final = ".timeindex"
CHECKSUMS_SUFFIX: Final = ".crc"
SNAPSHOT_SUFFIX: Final = ".snapshot"
QUARANTINE_SUFFIX: Final = ".quarantine"
DELETED_SUFFIX: Final = ".deleted"
CLEANED_SUFFIX: Final = ".cleaned"
SWAP_SUFFIX: Final = ".swap"
TEMPORARY_SUFFIX: Final = ".tmp"
SEGMENT_SUFFIXES: Final = (LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, CHECKSUMS_SUFFIX)

IDENTITY_FILE: Final = "partition.metadata"
LEADER_EPOCH_FILE: Final = "leader-epoch-checkpoint"
LOG_START_FILE: Final = "log-start-offset-checkpoint"
CLEANED_FILE: Final = "cleaner-offset-checkpoint"
TEXT_FILE_BYTES_MAX: Final = 1 << 20  # far above 10,000 unclean starts

OFFSET_ENTRY: Final = struct.Struct(">ii")
TIME_ENTRY: Final = struct.Struct(">qi")
INDEX_BYTES_MIN: Final = 4096  # one page: 512 offset entries, some 2 MiB of log
INDEX_BYTES_MAX: Final = 10 << 20  # Kafka's segment.index.bytes; a fuller one rolls the segment

ALLOCATION_BYTES_MIN: Final = 64 << 10  # small topics stay small
ALLOCATION_BYTES_MAX: Final = 32 << 20  # step of a large one: some 5 ms of appends at full speed

RELATIVE_OFFSET_MAX: Final = (1 << 31) - 1  # index fields are int32
TIMESTAMP_NONE: Final = -1

# base offset, batch length, magic, last offset delta: all that framing needs of a batch header
FRAME: Final = struct.Struct(">qi4xb6xi")
FRAME_LENGTH_END: Final = 12  # bytes of a batch that its length field does not count

BLOCK_BYTES: Final = 64 << 10  # 4 bytes of checksum for each: 32 KiB of .crc for 256 MiB of log
CHECKSUMS_HEAD: Final = struct.Struct(">4sI")
CHECKSUMS_MAGIC: Final = b"LSC1"
BLOCK_ENTRY: Final = struct.Struct(">II")
BLOCK_NUMBERED: Final = struct.Struct(">QI")  # what the second field of an entry is the CRC of
CHECKSUMS_END: Final = struct.Struct(">QIqI")  # and the CRC of everything before

STATE_MAGIC: Final = b"LSSTATE1"
STATE_VERSION: Final = 1
STATE_HEADER: Final = struct.Struct("<8sIIQ64s36x")
STATE_HEADER_BYTES: Final = 128
STATE_CLEAN_FLAG: Final = 1
STATE_SLOT: Final = struct.Struct("<16siIqqqqI")
STATE_SLOT_BYTES: Final = 64
REPLACING: Final = 1 << 31  # of the generation
STATE_SLOTS_STEP: Final = 64  # slots the file grows by: one page
CHECKSUM: Final = struct.Struct("<I")

assert STATE_HEADER.size + CHECKSUM.size == STATE_HEADER_BYTES
assert STATE_SLOT.size + CHECKSUM.size == STATE_SLOT_BYTES


def offset_name(offset: int) -> str:
    """The stem of a segment's files: 1204 -> "00000000000000001204"."""
    return f"{offset:020d}"


def parse_offset_name(name: str, suffix: str) -> int | None:
    """The offset in the name of a file with that suffix; None for any other name."""
    stem = name.removesuffix(suffix)
    is_one = len(stem) == 20 and stem != name and stem.isascii() and stem.isdigit()
    return int(stem) if is_one else None
