"""Invariant: bytes that come in pieces give the batches that the whole gives, and never others."""

from __future__ import annotations

from logstore.errors import InvalidBatchError
from logstore.record import check_crc, iter_batches, parse_header
from tests.fuzz.batches import plain_batches, repair_batches
from tests.fuzz.target import Target, require


def seeds() -> list[bytes]:
    some = plain_batches()
    return [some[0] + some[1] + some[2], some[1] * 3, some[4] + some[5][:70], some[3]]


def batches_of(data: bytes | memoryview) -> tuple[list[bytes], type[InvalidBatchError] | None]:
    """All batches in front of the first fault, and the fault."""
    found: list[bytes] = []
    try:
        found.extend(map(bytes, iter_batches(data)))  # keeps those in front of a fault
    except InvalidBatchError as error:
        return found, type(error)
    return found, None


def check(data: bytes) -> object:
    whole, fault = batches_of(data)
    size = sum(len(batch) for batch in whole)
    require(b"".join(whole) == data[:size], "batches lie end to end")
    sound = 0
    for batch in whole:
        require(parse_header(batch).size_bytes == len(batch), "a batch is as long as it says")
        sound += check_crc(batch)
    # A reader that gets the bytes in two parts, cut anywhere, goes on behind the last whole batch.
    for cut in range(len(data) % 7, len(data), 1 + len(data) // 7):
        first, first_fault = batches_of(data[:cut])
        require(first == whole[: len(first)], "a piece has the first batches")
        require(first_fault in (None, fault), "a piece has no fault of its own")
        rest, rest_fault = batches_of(memoryview(data)[sum(len(batch) for batch in first) :])
        require(first + rest == whole and rest_fault == fault, "two pieces make the whole")
    return len(whole), fault, sound


TARGET = Target("batch_stream", seeds, check, repair=repair_batches)
