"""Invariant: a state file gives only slots whose checksum holds, to all readers the same ones."""

from __future__ import annotations

import struct
import uuid

import crc32c

from logstore.log.format import STATE_HEADER_BYTES, STATE_SLOT_BYTES
from logstore.log.state_file import SlotValues, StateFile, StateReader
from tests.fuzz.files import PlainFiles
from tests.fuzz.target import Target, require

TOPICS = [uuid.UUID(int=number) for number in (1, 7, 2**127)]
NEXT = SlotValues(9, 9, 9, 1, 4)


def seeds() -> list[bytes]:
    made = []
    for clean in (False, True):
        files = PlainFiles({})
        state = StateFile.open(files, "state")
        for number, topic_id in enumerate(TOPICS):
            state.slot(topic_id, number).write(SlotValues(5, 6, 5, 0, 3))
        state.begin()
        if clean:
            state.close(clean=True)
        made.append(bytes(files.files["state"][: STATE_HEADER_BYTES + 5 * STATE_SLOT_BYTES]))
    return made


def repair(data: bytearray) -> None:
    """The checksums of the header and of every slot that is not free."""
    ends = [STATE_HEADER_BYTES]
    ends += range(STATE_HEADER_BYTES + STATE_SLOT_BYTES, len(data) + 1, STATE_SLOT_BYTES)
    start = 0
    for end in ends:
        if end <= len(data) and any(data[start:end]):
            struct.pack_into("<I", data, end - 4, crc32c.crc32c(memoryview(data)[start : end - 4]))
        start = end


def _whole_slots(data: bytes) -> list[SlotValues | None]:
    """By the layout alone: of each topic the last slot that is whole."""
    found: list[SlotValues | None] = [None] * len(TOPICS)
    for start in range(STATE_HEADER_BYTES, len(data) - STATE_SLOT_BYTES + 1, STATE_SLOT_BYTES):
        slot = data[start : start + STATE_SLOT_BYTES]
        if slot[-4:] == struct.pack("<I", crc32c.crc32c(slot[:-4])):
            topic_id, partition, _, *values = struct.unpack("<16siIqqqqI", slot[:-4])
            for number, known in enumerate(TOPICS):
                if (known.bytes, number) == (topic_id, partition):
                    found[number] = SlotValues(*values)
    return found


def check(data: bytes) -> object:
    files = PlainFiles({"state": data})
    before = StateReader(files, "state")
    seen = [before.read(topic_id, number) for number, topic_id in enumerate(TOPICS)]
    header = before.header()
    state = StateFile.open(files, "state")
    require(state.was_clean == (header is not None and header.is_clean), "one view of the header")
    slots = [state.slot(topic_id, number) for number, topic_id in enumerate(TOPICS)]
    for slot, values in zip(slots, seen, strict=True):
        require(slot.recorded == values, "one view of a slot")
    require(seen == _whole_slots(data), "slots whose checksum holds, and no others")
    positions = {slot._position for slot in slots}
    require(len(positions) == len(slots), "no slot is two partitions'")
    if header is None or header.open_generation < 2**64 - 1:
        state.begin()
    slots[1].write(NEXT)
    after = StateReader(files, "state")
    require(after.read(TOPICS[1], 1) == NEXT, "what was written is read")
    require(after.read(TOPICS[0], 0) == seen[0], "the others stay")
    return sum(values is not None for values in seen), header is None, state.was_clean


TARGET = Target("state_file", seeds, check, repair=repair, bytes_max=1024)
