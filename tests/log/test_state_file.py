from __future__ import annotations

import uuid

from logstore.log.format import STATE_HEADER_BYTES, STATE_SLOT_BYTES
from logstore.log.state_file import SlotValues, StateFile, StateReader
from logstore.testing import MemoryFileSystem

TOPIC = uuid.UUID(int=5)
VALUES = SlotValues(10, 9, 8, 1, 2)


def opened(fs: MemoryFileSystem) -> StateFile:
    return StateFile.open(fs, "state")


def test_a_slot_is_exact_after_a_kill() -> None:
    fs = MemoryFileSystem()
    state = opened(fs)
    state.begin()
    state.slot(TOPIC, 3).write(VALUES)
    fs.kill()
    again = opened(fs)
    slot = again.slot(TOPIC, 3)
    assert (slot.recorded, slot.is_exact, again.was_clean) == (VALUES, True, False)


def test_after_a_power_loss_a_slot_is_a_lower_bound_or_gone() -> None:
    for seed in range(50):
        fs = MemoryFileSystem(seed)
        state = opened(fs)
        state.begin()
        fs.sync_file_system(".")
        slot = state.slot(TOPIC, 0)
        for number in range(20):
            slot.write(VALUES._replace(flushed_offset=number))
        fs.power_loss()
        found = opened(fs).slot(TOPIC, 0)
        assert not found.is_exact
        assert found.recorded is None or 0 <= found.recorded.flushed_offset < 20


def test_only_a_clean_close_is_clean() -> None:
    fs = MemoryFileSystem()
    state = opened(fs)
    state.begin()
    state.close(clean=True)
    state = opened(fs)
    assert state.was_clean
    state.begin()
    state.close(clean=False)
    assert not opened(fs).was_clean


def test_a_released_slot_is_given_to_another() -> None:
    fs = MemoryFileSystem()
    state = opened(fs)
    state.slot(TOPIC, 0).write(VALUES)
    state.release(TOPIC, 0)
    other = uuid.UUID(int=6)
    state.slot(other, 1).write(VALUES)
    reader = StateReader(fs, "state")
    assert reader.read(TOPIC, 0) is None
    assert reader.read(other, 1) == VALUES
    assert fs.open("state").size() == STATE_HEADER_BYTES + 64 * STATE_SLOT_BYTES


def test_every_flipped_bit_of_a_slot_makes_it_unknown() -> None:
    fs = MemoryFileSystem()
    opened(fs).slot(TOPIC, 0).write(VALUES)
    file = fs.open("state")
    for bit in range(STATE_SLOT_BYTES * 8):
        position = STATE_HEADER_BYTES + bit // 8
        (byte,) = file.read(1, position)
        file.write([bytes([byte ^ 1 << bit % 8])], position)
        recorded = StateFile.open(fs, "state").slot(TOPIC, 0).recorded
        assert recorded is None, bit
        file.write([bytes([byte])], position)


def test_a_follower_sees_what_was_written_last() -> None:
    fs = MemoryFileSystem()
    slot = opened(fs).slot(TOPIC, 0)
    reader = StateReader(fs, "state")
    assert reader.read(TOPIC, 0) is None
    for number in range(3):
        slot.write(VALUES._replace(high_watermark=number))
        found = reader.read(TOPIC, 0)
        assert found is not None
        assert found.high_watermark == number


def test_what_was_prepared_is_written_unless_the_slot_was_since() -> None:
    fs = MemoryFileSystem()
    state = opened(fs)
    slot = state.slot(TOPIC, 3)
    assert slot.write_prepared(slot.prepare(VALUES))
    reader = StateReader(fs, "state")
    assert reader.read(TOPIC, 3) == VALUES
    old = slot.prepare(VALUES._replace(flushed_offset=3))
    newer = VALUES._replace(log_start_offset=7)
    slot.write(newer)
    assert not slot.write_prepared(old)
    assert not slot.write_prepared(None)
    assert reader.read(TOPIC, 3) == newer
