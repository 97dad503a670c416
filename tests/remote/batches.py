"""Batches and what is in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from logstore.api import FetchedPartition, Reader
from logstore.record import decode_records, encode_batch, iter_batches


def batch(*values: bytes, **fields: Any) -> bytes:
    return bytes(encode_batch(list(values), timestamps=1_700_000_000_000, **fields))


def numbered(number: int, producer_id: int | None = None) -> bytes:
    """One record; with a producer, its sequence is the number."""
    if producer_id is None:
        return batch(b"%d" % number)
    return batch(b"%d" % number, producer_id=producer_id, producer_epoch=0, base_sequence=number)


def values_of(items: Iterable[FetchedPartition]) -> list[bytes | None]:
    return [
        record.value
        for item in items
        for data in iter_batches(item.data)
        for record in decode_records(data, decompressed_bytes_max=1 << 28)
    ]


def read_values(reader: Reader, count: int, seconds: float = 10) -> list[bytes | None]:
    """Polls until there are so many, or the time is over."""
    found: list[bytes | None] = []
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        items = reader.poll(0.5)
        for item in items:
            if item.error is not None:
                raise item.error
        found += values_of(items)
    return found


def eventually(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
