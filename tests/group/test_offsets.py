"""A group's offsets in memory: late answers, topics made again, age."""

from __future__ import annotations

import uuid

from logstore.api import CommittedOffset, TopicPartition
from logstore.group.offset_records import NO_TOPIC_ID, OffsetKey, OffsetValue, decode_key
from logstore.group.offsets import GroupOffsets, is_current, tombstone

ID, OTHER_ID = uuid.UUID(int=1), uuid.UUID(int=2)
TOPICS = {"t": (ID, 2)}
PART, NEXT = TopicPartition("t", 0), TopicPartition("t", 1)


def value(offset: int, topic_id: uuid.UUID = ID, at_ms: int = 1000) -> OffsetValue:
    return OffsetValue(offset, 3, "m", at_ms, topic_id)


def test_the_last_commit_counts():
    offsets = GroupOffsets()
    offsets.apply(PART, value(5), 1)
    offsets.apply(PART, value(4), 2)
    assert offsets.committed(PART, TOPICS) == CommittedOffset("t", 0, 4, 3, "m", 1000)
    assert offsets.committed(NEXT, TOPICS) == CommittedOffset("t", 1, -1, -1, "", -1)


def test_an_answer_that_comes_late_undoes_no_later_commit():
    offsets = GroupOffsets()
    offsets.apply(PART, value(6), 2)
    offsets.apply(PART, value(5), 1)
    offsets.apply(PART, None, 0)
    assert offsets.values == {PART: value(6)}


def test_an_answer_that_comes_late_undoes_no_deletion():
    offsets = GroupOffsets()
    offsets.begin([PART])
    offsets.begin([PART])
    offsets.apply(PART, None, 2)
    offsets.end([PART])
    offsets.apply(PART, value(5), 1)
    assert offsets.values == {}


def test_what_is_under_way_counts_as_written():
    offsets = GroupOffsets()
    offsets.apply(NEXT, value(1), 0)
    offsets.begin([PART])
    assert offsets.written() == {PART, NEXT}
    offsets.end([PART])  # it failed
    assert offsets.written() == {NEXT}


def test_nothing_is_kept_of_what_was_deleted():
    offsets = GroupOffsets()
    for commit, change in enumerate([value(1), None]):
        offsets.begin([PART])
        offsets.apply(PART, change, commit)
        offsets.end([PART])
    assert (offsets.values, offsets.applied, offsets.in_flight) == ({}, {}, {})


def test_offsets_count_only_for_the_topic_they_were_committed_for():
    assert is_current(PART, value(1), TOPICS)
    assert is_current(PART, value(1, NO_TOPIC_ID), TOPICS), "a foreign writer did not say"
    assert not is_current(PART, value(1, OTHER_ID), TOPICS)
    assert not is_current(TopicPartition("t", 2), value(1), TOPICS)
    assert not is_current(TopicPartition("u", 0), value(1, NO_TOPIC_ID), TOPICS)


def test_orphans_are_not_told_but_found():
    offsets = GroupOffsets()
    offsets.apply(PART, value(1, OTHER_ID), 1)
    offsets.apply(NEXT, value(2), 2)
    assert offsets.committed(PART, TOPICS).offset == -1
    assert offsets.orphans(TOPICS) == [PART]


def test_offsets_are_old_when_commit_and_last_member_are():
    offsets = GroupOffsets()
    offsets.apply(PART, value(1, at_ms=1000), 1)
    offsets.apply(NEXT, value(2, at_ms=1500), 2)
    assert offsets.expired(2000, 1000) == []
    assert offsets.expired(2001, 1000) == [PART]
    offsets.empty_since_ms = 1200
    assert offsets.expired(2001, 1000) == []
    assert offsets.expired(2501, 1000) == [PART, NEXT]


def test_a_tombstone_names_group_and_partition():
    key, nothing = tombstone("g", NEXT)
    assert (decode_key(key), nothing) == (OffsetKey("g", "t", 1), None)
