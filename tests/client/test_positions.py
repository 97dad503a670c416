from __future__ import annotations

import pytest

from logstore.api import TopicPartition
from logstore.client.positions import Positions
from logstore.errors import InvalidRequestError

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


@pytest.fixture
def positions() -> Positions:
    found = Positions()
    found.start(A, 5)
    return found


def test_a_first_position_needs_no_commit(positions: Positions) -> None:
    assert positions.uncommitted() == {}
    positions.advance(A, 6)
    assert positions.uncommitted() == {A: 6}
    positions.committed({A: 6})
    assert positions.uncommitted() == {}


def test_a_seek_is_to_be_committed(positions: Positions) -> None:
    positions.start(A, 2)
    assert positions.uncommitted() == {A: 2}


def test_a_commit_that_was_overtaken_leaves_the_rest(positions: Positions) -> None:
    positions.advance(A, 9)
    positions.committed({A: 7, B: 3})
    assert positions.uncommitted() == {A: 9}
    assert B not in positions


def test_what_is_not_assigned_has_no_position(positions: Positions) -> None:
    assert positions.get(B) is None
    positions.advance(B, 3)
    assert list(positions) == [A]
    with pytest.raises(InvalidRequestError, match="t-1 is not assigned"):
        positions.require(B)


def test_removing_forgets_everything(positions: Positions) -> None:
    positions.pause(A)
    positions.advance(A, 8)
    positions.remove(A)
    positions.remove(A)
    assert list(positions) == []
    assert positions.paused() == set()
    positions.start(A, 1)
    assert positions.uncommitted() == {}


def test_pausing(positions: Positions) -> None:
    positions.pause(A)
    assert positions.is_paused(A)
    assert positions.paused() == {A}
    positions.resume(A)
    positions.resume(B)
    assert not positions.is_paused(A)
