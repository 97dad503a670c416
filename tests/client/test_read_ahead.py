from __future__ import annotations

import pytest

from logstore.api import TopicPartition
from logstore.client.positions import Positions
from logstore.client.read_ahead import ReadAhead
from logstore.errors import InvalidBatchError
from logstore.record import encode_batch

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def batch(*values: bytes, base_offset: int) -> bytes:
    return bytes(encode_batch(list(values), timestamps=1000, base_offset=base_offset))


@pytest.fixture
def positions() -> Positions:
    found = Positions()
    found.start(A, 1)
    found.start(B, 0)
    return found


@pytest.fixture
def ahead(positions: Positions) -> ReadAhead:
    """Offsets 0 to 3 of A, whose position is 1, in two batches, and 0 of B."""
    found = ReadAhead(positions)
    found.add(
        A, memoryview(batch(b"a0", b"a1", base_offset=0) + batch(b"a2", b"a3", base_offset=2))
    )
    found.add(B, memoryview(batch(b"b0", base_offset=0)))
    return found


def test_records_come_from_the_position_on(ahead: ReadAhead, positions: Positions) -> None:
    assert ahead.decode(100)
    assert [record.value for record in ahead.take(2)] == [b"a1", b"a2"]
    assert positions.get(A) == 3
    assert [record.value for record in ahead.take(100)] == [b"a3", b"b0"]
    assert (positions.get(A), positions.get(B)) == (4, 1)
    assert not ahead.decode(100)


def test_records_one_by_one_and_by_partition(ahead: ReadAhead, positions: Positions) -> None:
    assert ahead.take_one() is None, "nothing is decoded yet"
    assert ahead.decode(100)
    first = ahead.take_one()
    assert first is not None
    assert (first.value, positions.get(A)) == (b"a1", 2)
    found = ahead.take_by_partition()
    assert {part: [record.value for record in records] for part, records in found.items()} == {
        A: [b"a2", b"a3"],
        B: [b"b0"],
    }
    assert (positions.get(A), positions.get(B)) == (4, 1)
    assert ahead.take_one() is None
    assert ahead.take_by_partition() == {}


def test_no_more_is_decoded_than_asked_for(ahead: ReadAhead) -> None:
    assert ahead.decode(1)
    assert ahead.has_batches
    assert [record.value for record in ahead.take(100)] == [b"a1"]


def test_columns_are_joined_by_partition(ahead: ReadAhead, positions: Positions) -> None:
    (first, of_a), (second, of_b) = ahead.take_columns()
    assert (first, list(of_a.offsets), of_a.values()) == (A, [1, 2, 3], [b"a1", b"a2", b"a3"])
    assert (second, of_b.values()) == (B, [b"b0"])
    assert (positions.get(A), positions.get(B)) == (4, 1)
    assert ahead.take_columns() == []


def test_what_was_decoded_is_forgotten_with_what_follows_it(ahead: ReadAhead) -> None:
    ahead.decode(1)
    assert ahead.drop_decoded() == {A}
    assert [part for part, _ in ahead.take_columns()] == [B]


def test_a_partition_without_position_hands_out_nothing(
    ahead: ReadAhead, positions: Positions
) -> None:
    positions.remove(A)
    assert ahead.decode(100)
    assert [record.value for record in ahead.take(100)] == [b"b0"]


def test_where_to_read_on(ahead: ReadAhead) -> None:
    assert (ahead.end(A), ahead.end(B)) == (4, 1)
    ahead.decode(2)  # of A: its first batch is decoded
    assert ahead.end(A) == 4
    ahead.decode(100)
    assert (ahead.end(A), ahead.end(B)) == (4, 1)
    ahead.take(3)
    assert (ahead.end(A), ahead.end(B)) == (None, 1)


def test_dropping_a_partition(ahead: ReadAhead) -> None:
    ahead.decode(2)
    ahead.drop({A})
    assert ahead.decode(100)
    assert [record.value for record in ahead.take(100)] == [b"b0"]


def test_a_batch_that_cannot_be_decoded_is_told_again_and_nothing_passes_it(
    ahead: ReadAhead, positions: Positions
) -> None:
    torn = bytearray(batch(b"a4", base_offset=4))
    torn[-3:] = b"\xff\xff\xff"
    ahead.add(A, memoryview(torn))
    ahead.add(A, memoryview(batch(b"a5", base_offset=5)))
    assert ahead.decode(100)
    assert len(ahead.take(100)) == 4
    for _ in range(2):
        with pytest.raises(InvalidBatchError):
            ahead.decode(100)
        with pytest.raises(InvalidBatchError):
            ahead.take_columns()
    assert positions.get(A) == 4
    ahead.drop({A})
    assert not ahead.decode(100)


def test_columns_before_a_batch_that_cannot_be_decoded_are_handed_out(
    ahead: ReadAhead, positions: Positions
) -> None:
    torn = bytearray(batch(b"b1", base_offset=1))
    torn[-3:] = b"\xff\xff\xff"
    ahead.add(B, memoryview(torn))
    assert [part for part, _ in ahead.take_columns()] == [A, B]
    assert positions.get(B) == 1
    with pytest.raises(InvalidBatchError):
        ahead.take_columns()
