"""Invariant: a producer snapshot is a ValueError or a state that goes on, and is written again."""

from __future__ import annotations

import struct

import crc32c

from logstore.errors import LogStoreError
from logstore.log.producer_state import (
    BATCHES_KEPT,
    NO_OFFSET,
    SEQUENCES,
    ProducerEntry,
    ProducerState,
)
from logstore.log.transactions import AbortedTransaction
from logstore.record import encode_batch, parse_header
from tests.fuzz.target import Target, promised, require


def _append(state: ProducerState, producer_id: int, epoch: int, sequence: int, at: int) -> None:
    batch = encode_batch(
        [b"v"] * 3, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence
    )
    state.update(parse_header(batch), base_offset=at, timestamp_ms=1000 + at)


def seeds() -> list[bytes]:
    states = [ProducerState() for _ in range(3)]
    _append(states[1], 5, 0, 0, 0)
    for number in range(7):
        _append(states[2], 5, 1, number * 3, number * 10)
        _append(states[2], 2**62, 32767, SEQUENCES - 1 - number, number * 10 + 3)
    aborted = [AbortedTransaction(5, 0, 9, 0), AbortedTransaction(2**62, 3, 2**63 - 1, 9)]
    return [state.encode() for state in states] + [states[1].encode(aborted)]


def repair(data: bytearray) -> None:
    if len(data) >= 6:
        data[:2] = b"\0\1"
        struct.pack_into(">I", data, 2, crc32c.crc32c(memoryview(data)[6:]))


def check(data: bytes) -> object:
    state, aborted = ProducerState.decode(data)
    with promised:
        again, same = ProducerState.decode(state.encode(aborted))
    require(again._producers == state._producers, "a round trip")
    require(again._open == state._open, "open transactions survive a round trip")
    require(same == aborted, "aborted transactions survive a round trip")
    for producer_id, entry in state._producers.items():
        require(len(entry.batches) <= BATCHES_KEPT, "no more batches than are kept")
        require(min(producer_id, entry.epoch) >= 0, "an id and epoch that a producer may have")
        for seen in entry.batches:
            require(0 <= seen.base_sequence < SEQUENCES, "a sequence in range")
            require(0 <= seen.last_sequence < SEQUENCES, "a sequence in range")
            require(0 <= seen.base_offset <= seen.last_offset, "offsets in range")
        known = {seen.base_sequence for seen in entry.batches}
        if entry.batches and not known & _next_two(entry):
            _go_on(state, producer_id, entry)
    most = max((len(entry.batches) for entry in state._producers.values()), default=0)
    return min(len(state), 3), most, len(state._open), min(len(aborted), 3)


def _next_two(entry: ProducerEntry) -> set[int]:
    """Of batches that do not follow each other an older one may bear what comes next."""
    last = entry.batches[-1].last_sequence
    return {(last + 1) % SEQUENCES, (last + 2) % SEQUENCES}


def _go_on(state: ProducerState, producer_id: int, entry: ProducerEntry) -> None:
    """The next sequence is new, the one after it a gap."""
    batch = encode_batch(
        [b"v"],
        producer_id=producer_id,
        producer_epoch=entry.epoch,
        base_sequence=0,
        is_transactional=entry.open_since != NO_OFFSET,
    )
    header = parse_header(batch)
    last = entry.batches[-1].last_sequence
    with promised:
        following = header._replace(base_sequence=(last + 1) % SEQUENCES)
        require(state.check(following) is None, "the next sequence is taken")
    try:
        state.check(header._replace(base_sequence=(last + 2) % SEQUENCES))
    except LogStoreError:
        return
    require(False, "a gap is refused")


TARGET = Target("producer_snapshot", seeds, check, (ValueError,), repair, bytes_max=1024)
