"""Which batches are left when aborted transactions are taken out, against a plain rule."""

from __future__ import annotations

import random

import pytest

from logstore.record import (
    Marker,
    committed_runs,
    encode_batch,
    encode_marker,
    iter_batches,
    parse_header,
)


def log_of(seed: int) -> tuple[bytes, list[tuple[int, int, int]], list[int]]:
    """Batches of three producers, their aborted transactions, and the base offsets that stay."""
    rng = random.Random(seed)
    data, aborted, kept, offset = b"", [], [], 0
    opened: dict[int, list[int]] = {}

    def add(batch: bytearray) -> int:
        nonlocal data, offset
        batch[:8] = offset.to_bytes(8, "big")
        data += batch
        offset += parse_header(batch).record_count
        return offset - parse_header(batch).record_count

    for _ in range(60):
        producer = rng.randrange(3)
        kind = rng.random()
        if kind < 0.2:
            kept.append(add(encode_batch([b"plain"])))
        elif kind < 0.5 and producer in opened:
            marker = rng.choice(list(Marker))
            own = opened.pop(producer)
            base = add(
                encode_marker(marker, producer_id=producer, producer_epoch=0, timestamp_ms=0)
            )
            kept.append(base)
            if marker is Marker.ABORT:
                aborted.append((producer, own[0], base))
            else:
                kept += own
        else:
            base = add(
                encode_batch(
                    [b"v"] * rng.randrange(1, 3),
                    producer_id=producer,
                    producer_epoch=0,
                    is_transactional=True,
                )
            )
            opened.setdefault(producer, []).append(base)
    kept += [base for own in opened.values() for base in own]
    return data, aborted, sorted(kept)


@pytest.mark.parametrize("seed", range(40))
def test_runs_hold_what_was_not_aborted_in_order(seed: int) -> None:
    data, aborted, kept = log_of(seed)
    runs = committed_runs(data, aborted)
    assert all(run.nbytes for run in runs)
    found = [parse_header(batch).base_offset for run in runs for batch in iter_batches(run)]
    assert found == kept


@pytest.mark.parametrize("seed", range(8))
def test_from_anywhere_in_the_log(seed: int) -> None:
    data, aborted, kept = log_of(seed)
    position = 0
    for batch in iter_batches(data):
        start = parse_header(batch).base_offset
        entries = [entry for entry in aborted if entry[2] >= start]
        runs = committed_runs(data[position:], entries)
        found = [parse_header(part).base_offset for run in runs for part in iter_batches(run)]
        assert found == [base for base in kept if base >= start]
        position += batch.nbytes


def test_nothing_aborted_is_one_view_of_all() -> None:
    data = bytes(encode_batch([b"v"]))
    (run,) = committed_runs(data, [])
    assert run == data
    assert committed_runs(b"", []) == []
