"""The last stable offset and the aborted transactions against what the log's batches say."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from logstore.errors import InvalidTransactionStateError, ProducerFencedError
from logstore.log.producer_state import ProducerState
from logstore.log.transactions import AbortedTransaction, Ended, Transactions, between
from logstore.record import (
    Marker,
    encode_batch,
    encode_marker,
    iter_batches,
    marker_of,
    parse_header,
)
from tests.log.support import Partition


class Truth(NamedTuple):
    """Read off the batches below the high watermark."""

    stable_offset: int
    aborted: list[tuple[int, int, int]]  # producer id, first offset, offset of the marker


def truth_of(part: Partition) -> Truth:
    log = part.log
    opened: dict[int, int] = {}
    aborted = []
    offset = log.log_start_offset
    while offset < log.high_watermark:
        with log.read(offset, bytes_max=1 << 20, cold_ok=True) as lease:
            for batch in iter_batches(lease.data):
                header = parse_header(batch)
                offset = header.last_offset + 1
                if header.is_control:
                    first = opened.pop(header.producer_id, None)
                    if first is not None and marker_of(batch) is Marker.ABORT:
                        aborted.append((header.producer_id, first, header.base_offset))
                elif header.is_transactional:
                    opened.setdefault(header.producer_id, header.base_offset)
    return Truth(min(opened.values(), default=log.high_watermark), aborted)


def check(part: Partition) -> None:
    log = part.log
    truth = truth_of(part)
    assert log.last_stable_offset == truth.stable_offset
    found = between(log.aborted, 0, truth.stable_offset - 1)
    expected = [item for item in truth.aborted if item[1] < truth.stable_offset]
    assert [entry[:3] for entry in found if entry.last_offset < log.high_watermark] == expected
    for first in range(0, truth.stable_offset, 3):  # never fewer than touch a range
        for last in range(first, min(first + 4, truth.stable_offset)):
            needed = {item for item in expected if item[1] <= last and item[2] >= first}
            assert needed <= {entry[:3] for entry in between(log.aborted, first, last)}


class Producers:
    """A few transactional producers of one partition, at random."""

    def __init__(self, part: Partition, seed: int) -> None:
        self.part = part
        self.random = random.Random(seed)
        self.epochs = dict.fromkeys(range(1, 5), 0)

    def step(self) -> None:
        producer_id = self.random.choice(list(self.epochs))
        open_now = self.part.log.open_transactions()
        if producer_id in open_now and self.random.random() < 0.4:
            self.epochs[producer_id] = open_now[producer_id][0] + 1
            marker = self.random.choice(list(Marker))
            batch = encode_marker(
                marker,
                producer_id=producer_id,
                producer_epoch=self.epochs[producer_id],
                timestamp_ms=1,
            )
        else:
            batch = encode_batch(
                [b"v" * 400] * self.random.randrange(1, 4),
                timestamps=1,
                producer_id=producer_id,
                producer_epoch=self.epochs[producer_id],
                is_transactional=True,
            )
        self.part.log.append(batch, validated=True)


@pytest.mark.parametrize("durability", ["fsync", "page_cache"])
@pytest.mark.parametrize("seed", range(6))
def test_at_random_with_rolls_kills_and_power_losses(seed: int, durability: str) -> None:
    part = Partition(durability=durability, segment_bytes="16384")
    producers = Producers(part, seed)
    for step in range(250):
        producers.step()
        if producers.random.random() < 0.3:
            part.flusher.run_round()
        if step % 5 == 0:
            check(part)
        if step % 50 == 49:
            how = producers.random.choice(
                [part.kill_and_open, part.lose_power_and_open, part.close_and_open]
            )
            how()
            check(part)
            open_now = part.log.open_transactions()
            producers.epochs |= {pid: epoch for pid, (epoch, _) in open_now.items()}
    assert part.log.segment_count > 3
    assert len(truth_of(part).aborted) > 5


def test_a_marker_counts_when_it_is_below_the_high_watermark() -> None:
    part = Partition()
    for batch in (
        encode_batch([b"a"], producer_id=1, producer_epoch=0, is_transactional=True),
        encode_batch([b"b"]),
    ):
        part.log.append(batch, validated=True)
    part.flusher.run_round()
    assert (part.log.high_watermark, part.log.last_stable_offset) == (2, 0)
    told: list[int] = []
    part.log.on_stable_offset(1, lambda error: told.append(part.log.last_stable_offset))
    marker = encode_marker(Marker.COMMIT, producer_id=1, producer_epoch=1, timestamp_ms=1)
    part.log.append(marker, validated=True)
    assert part.log.last_stable_offset == 0
    assert not told
    part.flusher.run_round()
    assert part.log.last_stable_offset == 3
    assert told == [3]


def test_what_does_not_fit_an_open_transaction_is_refused() -> None:
    part = Partition()
    first = encode_batch(
        [b"a"], producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True
    )
    part.log.append(first, validated=True)
    plain = encode_batch([b"b"], producer_id=1, producer_epoch=0, base_sequence=1)
    with pytest.raises(InvalidTransactionStateError):
        part.log.append(plain, validated=True)
    marker = encode_marker(Marker.ABORT, producer_id=1, producer_epoch=1, timestamp_ms=1)
    part.log.append(marker, validated=True)
    late = encode_batch(
        [b"c"], producer_id=1, producer_epoch=0, base_sequence=1, is_transactional=True
    )
    with pytest.raises(ProducerFencedError):  # held up on its way: the marker's epoch is higher
        part.log.append(late, validated=True)


def test_deleted_records_take_their_aborted_transactions_with_them() -> None:
    part = Partition()
    for pid in (1, 2):
        data = encode_batch([b"a"], producer_id=pid, producer_epoch=0, is_transactional=True)
        marker = encode_marker(Marker.ABORT, producer_id=pid, producer_epoch=1, timestamp_ms=1)
        part.log.append(data, validated=True)
        part.log.append(marker, validated=True)
    part.flusher.run_round()
    assert len(between(part.log.aborted, 0, 3)) == 2
    part.log.delete_records(2)
    assert [entry.producer_id for entry in between(part.log.aborted, 0, 3)] == [2]


def test_between_stops_where_nothing_later_can_begin_earlier() -> None:
    entries = [AbortedTransaction(i, 10 * i, 10 * i + 5, 10 * i + 6) for i in range(100)]
    transactions = Transactions(entries)
    assert between(transactions.aborted, 12, 14) == [entries[1]]
    assert between(transactions.aborted, 15, 40) == entries[1:5]
    assert between(transactions.aborted, 16, 19) == []


def test_an_undecided_end_holds_the_stable_offset_down() -> None:
    transactions = Transactions(())
    transactions.end(Ended(1, first_offset=3, marker_offset=8, is_aborted=True), None)
    transactions.end(Ended(2, first_offset=5, marker_offset=9, is_aborted=False), None)
    assert transactions.stable_offset(8, None) == 3
    assert transactions.stable_offset(9, None) == 5
    assert transactions.stable_offset(10, 7) == 7
    assert [entry[:3] for entry in between(transactions.aborted, 0, 99)] == [(1, 3, 8)]


@pytest.mark.parametrize("with_batch", [True, False])
def test_a_later_marker_does_not_commit_a_transaction_whose_own_is_lost(with_batch: bool) -> None:
    state = ProducerState()

    def update(batch: bytearray, offset: int, marker: Marker | None = None) -> Ended | None:
        header = parse_header(batch)
        return state.update(header, base_offset=offset, timestamp_ms=1, marker=marker)

    fields = {"producer_id": 7, "base_sequence": 0, "is_transactional": True}
    assert update(encode_batch([b"a"], producer_epoch=0, **fields), 10) is None  # type: ignore[arg-type]
    lost = Ended(7, 10, 12, True)  # its marker was at 11, in epoch 1
    if with_batch:
        assert update(encode_batch([b"b"], producer_epoch=2, **fields), 13) == lost  # type: ignore[arg-type]
        commit = encode_marker(Marker.COMMIT, producer_id=7, producer_epoch=3, timestamp_ms=1)
        assert update(commit, 14, Marker.COMMIT) == Ended(7, 13, 14, False)
    else:
        commit = encode_marker(Marker.COMMIT, producer_id=7, producer_epoch=3, timestamp_ms=1)
        assert update(commit, 13, Marker.COMMIT) == lost
    assert state.open_since is None
