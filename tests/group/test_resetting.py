"""Where a reset moves offsets to: inside the log, whatever is asked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.api import OffsetAnswer, OffsetQuery, OffsetReset, ResetTo, TopicPartition
from logstore.errors import (
    InvalidRequestError,
    OffsetOutOfRangeError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.group.resetting import resolve_reset
from tests.group.doubles import TopicsDouble

T0, T1, U0 = TopicPartition("t", 0), TopicPartition("t", 1), TopicPartition("u", 0)
COUNTS = {"t": 2, "u": 1}
COMMITTED = {T0: 50, U0: 7}
ENDS = {("t", 0): (10, 100), ("t", 1): (0, 0), ("u", 0): (5, 8)}


def nothing_is_located(_: Sequence[OffsetQuery]) -> list[OffsetAnswer]:
    raise AssertionError("not by time")


def resolve(to: ResetTo, value: int = 0, *, locate=nothing_is_located, **asked):
    topics = TopicsDouble(**COUNTS)
    topics.ends |= ENDS
    reset = OffsetReset("g", to, value, **asked)
    return resolve_reset(reset, COUNTS, COMMITTED, topics.bounds, locate)


def test_without_names_those_that_have_an_offset_are_moved():
    assert resolve(ResetTo.EARLIEST) == {T0: 10, U0: 5}


def test_topics_are_moved_whole_and_partitions_one_by_one():
    assert resolve(ResetTo.LATEST, topics=("t",)) == {T0: 100, T1: 0}
    assert resolve(ResetTo.LATEST, partitions=(U0,)) == {U0: 8}
    assert resolve(ResetTo.LATEST, topics=("t",), partitions=(T0, U0)) == {T0: 100, T1: 0, U0: 8}


@pytest.mark.parametrize(("value", "offset"), [(-5, 10), (9, 10), (42, 42), (100, 100), (101, 100)])
def test_an_offset_outside_is_moved_to_the_nearest_end(value, offset):
    assert resolve(ResetTo.OFFSET, value, partitions=(T0,)) == {T0: offset}


@pytest.mark.parametrize(("value", "offset"), [(-1, 49), (-50, 10), (3, 53), (51, 100)])
def test_a_shift_is_from_what_is_committed(value, offset):
    assert resolve(ResetTo.SHIFT, value, partitions=(T0,)) == {T0: offset}


def test_nothing_committed_is_nothing_to_shift():
    with pytest.raises(InvalidRequestError, match="t-1"):
        resolve(ResetTo.SHIFT, 1, topics=("t",))


def test_a_time_is_its_first_record_or_the_end():
    def locate(queries: Sequence[OffsetQuery]) -> list[OffsetAnswer]:
        assert queries == [OffsetQuery("t", 0, 1234), OffsetQuery("u", 0, 1234)]
        return [OffsetAnswer("t", 0, 60, 1300, 0), OffsetAnswer("u", 0, -1, -1, -1)]

    assert resolve(ResetTo.TIMESTAMP, 1234, locate=locate) == {T0: 60, U0: 8}


def test_an_error_of_the_look_up_is_the_resets():
    def locate(_: Sequence[OffsetQuery]) -> list[OffsetAnswer]:
        return [OffsetAnswer("t", 0, -1, -1, -1, OffsetOutOfRangeError("gone"))]

    with pytest.raises(OffsetOutOfRangeError):
        resolve(ResetTo.TIMESTAMP, 1234, locate=locate, partitions=(T0,))


def test_a_negative_time_is_no_time():
    with pytest.raises(InvalidRequestError):
        resolve(ResetTo.TIMESTAMP, -1)


def test_what_is_not_there_cannot_be_reset():
    with pytest.raises(UnknownTopicError):
        resolve(ResetTo.EARLIEST, topics=("v",))
    with pytest.raises(UnknownTopicError):
        resolve(ResetTo.EARLIEST, partitions=(TopicPartition("v", 0),))
    with pytest.raises(UnknownPartitionError):
        resolve(ResetTo.EARLIEST, partitions=(TopicPartition("t", 2),))


def test_a_group_without_offsets_has_nothing_to_reset():
    topics = TopicsDouble(t=1)
    for committed in ({}, {TopicPartition("t", 1): 4}, {TopicPartition("gone", 0): 4}):
        with pytest.raises(InvalidRequestError, match="no offsets"):
            resolve_reset(
                OffsetReset("g", ResetTo.EARLIEST),
                {"t": 1},
                committed,
                topics.bounds,
                nothing_is_located,
            )


@given(st.sampled_from([ResetTo.OFFSET, ResetTo.SHIFT]), st.integers(-(2**63), 2**63 - 1))
def test_every_target_is_inside_the_log(to, value):
    for part, offset in resolve(to, value).items():
        start, end = ENDS[part]
        assert start <= offset <= end
