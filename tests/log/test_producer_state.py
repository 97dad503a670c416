from __future__ import annotations

import struct

import crc32c
import pytest

from logstore.errors import (
    DuplicateSequenceError,
    OutOfOrderSequenceError,
    ProducerFencedError,
)
from logstore.log.producer_state import SEQUENCES, ProducerState
from logstore.record import BatchHeader, encode_batch, parse_header


def header(sequence: int, *, records: int = 1, epoch: int = 0, producer: int = 7) -> BatchHeader:
    return parse_header(
        encode_batch(
            [b"v"] * records,
            timestamps=1,
            producer_id=producer,
            producer_epoch=epoch,
            base_sequence=sequence,
        )
    )


def state_with(*sequences: int) -> ProducerState:
    state = ProducerState()
    for offset, sequence in enumerate(sequences):
        state.update(header(sequence), base_offset=offset * 10, timestamp_ms=1)
    return state


def test_an_unknown_producer_may_begin_anywhere() -> None:
    assert ProducerState().check(header(500)) is None


def test_the_last_five_are_recognised_and_older_ones_refused() -> None:
    state = state_with(*range(7))
    for sequence in range(2, 7):
        seen = state.check(header(sequence))
        assert seen is not None
        assert seen.base_offset == sequence * 10
    for sequence in (0, 1):
        with pytest.raises(DuplicateSequenceError):
            state.check(header(sequence))
    assert state.check(header(7)) is None


def test_a_gap_is_refused_and_names_what_was_expected() -> None:
    with pytest.raises(OutOfOrderSequenceError, match="expected 2"):
        state_with(0, 1).check(header(3))


def test_sequences_wrap() -> None:
    state = ProducerState()
    state.update(header(SEQUENCES - 2, records=3), base_offset=0, timestamp_ms=1)
    assert state.check(header(1)) is None
    seen = state.check(header(SEQUENCES - 2, records=3))
    assert seen is not None
    assert seen.last_sequence == 0


def test_an_old_epoch_is_fenced_and_a_new_one_begins_at_zero() -> None:
    state = ProducerState()
    state.update(header(0, epoch=3), base_offset=0, timestamp_ms=1)
    with pytest.raises(ProducerFencedError):
        state.check(header(1, epoch=2))
    with pytest.raises(OutOfOrderSequenceError):
        state.check(header(1, epoch=4))
    assert state.check(header(0, epoch=4)) is None


def test_a_snapshot_keeps_everything() -> None:
    state = state_with(*range(9))
    state.update(header(4, producer=8, epoch=2), base_offset=99, timestamp_ms=5)
    again, _ = ProducerState.decode(state.encode())
    assert again.encode() == state.encode()
    for sequence in range(4, 9):
        assert again.check(header(sequence)) == state.check(header(sequence))


def test_every_damaged_snapshot_is_refused() -> None:
    good = state_with(*range(3)).encode()
    for length in range(len(good)):
        with pytest.raises(ValueError):  # noqa: PT011 - any ValueError means: not whole
            ProducerState.decode(good[:length])
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x40
        with pytest.raises(ValueError):  # noqa: PT011
            ProducerState.decode(bytes(bad))


@pytest.mark.parametrize(
    ("position", "layout", "value"),
    [
        (10, ">q", -1),  # producer id
        (18, ">h", -1),  # epoch
        (20, ">i", -2),  # last sequence
        (24, ">q", -1),  # last offset
        (32, ">i", -1),  # offset delta
        (32, ">i", 6),  # one more than the last offset
        (48, ">q", -2),  # first offset of the open transaction
    ],
)
def test_a_sealed_snapshot_that_no_log_made_is_refused(
    position: int, layout: str, value: int
) -> None:
    state = ProducerState()
    state.update(header(0, records=6), base_offset=0, timestamp_ms=1)
    data = bytearray(state.encode())
    struct.pack_into(layout, data, position, value)
    struct.pack_into(">I", data, 2, crc32c.crc32c(bytes(data[6:])))
    with pytest.raises(ValueError, match=r"no batch|no producer"):
        ProducerState.decode(bytes(data))


def test_a_snapshot_with_a_producer_twice_is_refused() -> None:
    state = ProducerState()
    for producer in (7, 8):
        state.update(header(0, producer=producer), base_offset=0, timestamp_ms=1)
    data = bytearray(state.encode())
    struct.pack_into(">q", data, 10 + 46, 7)
    struct.pack_into(">I", data, 2, crc32c.crc32c(bytes(data[6:])))
    with pytest.raises(ValueError, match="twice"):
        ProducerState.decode(bytes(data))
