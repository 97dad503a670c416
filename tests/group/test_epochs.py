"""What a restart makes of the epochs in the journal."""

from __future__ import annotations

import pytest

from logstore.config import GroupConfig
from logstore.errors import CorruptDataError
from logstore.group.classic_group import ClassicGroup
from logstore.group.consumer_group import ConsumerGroup
from logstore.group.epochs import KnownGroup, epoch_record, epoch_tombstone, replay_epoch
from logstore.group.offset_records import ClassicGroupKey, GroupKey, decode_key
from logstore.group.offsets import KeyValue

CONFIG = GroupConfig()


def consumer(epoch: int) -> ConsumerGroup:
    return ConsumerGroup("g", CONFIG, epoch=epoch)


def classic(epoch: int) -> ClassicGroup:
    return ClassicGroup("g", CONFIG, epoch=epoch)


def replay(*records: KeyValue) -> KnownGroup | None:
    known: dict[str, KnownGroup] = {}
    for raw_key, value in records:
        key = decode_key(raw_key)
        assert isinstance(key, GroupKey | ClassicGroupKey)
        replay_epoch(known, key, value)
    return known.get("g")


def record(group: ConsumerGroup | ClassicGroup) -> KeyValue:
    return epoch_record(group, 1_700_000_000_000)


def test_each_kind_has_a_record_of_its_own():
    assert decode_key(record(consumer(3))[0]) == GroupKey("g")
    assert decode_key(record(classic(3))[0]) == ClassicGroupKey("g")
    assert replay(record(consumer(3))) == KnownGroup(is_classic=False, epoch=3)
    assert replay(record(classic(3))) == KnownGroup(is_classic=True, epoch=3)


def test_the_highest_of_two_counts_in_either_order():
    assert replay(record(consumer(2)), record(consumer(3))) == KnownGroup(False, 3)
    assert replay(record(consumer(3)), record(consumer(2))) == KnownGroup(False, 3)


def test_a_group_that_changed_its_kind_keeps_counting():
    changed = [epoch_tombstone(consumer(3)), record(classic(3))]
    assert replay(record(consumer(3)), *changed) == KnownGroup(True, 3)
    late = record(consumer(3))  # decided before the change, written after it
    assert replay(record(consumer(2)), *changed, record(classic(4)), late) == KnownGroup(True, 4)


def test_a_deleted_group_begins_anew():
    assert replay(record(classic(7)), epoch_tombstone(classic(7))) is None
    assert replay(
        record(classic(7)), epoch_tombstone(classic(7)), record(consumer(1))
    ) == KnownGroup(False, 1)


def test_the_end_of_another_kind_ends_nothing():
    assert replay(record(classic(7)), epoch_tombstone(consumer(6))) == KnownGroup(True, 7)


@pytest.mark.parametrize("key", [GroupKey("g"), ClassicGroupKey("g")])
def test_garbage_is_corrupt(key):
    with pytest.raises(CorruptDataError):
        replay_epoch({}, key, b"garbage")
