"""Group epochs (generations) in the journal, so that none falls over a restart. Pure.

A group of either kind has one record, under a key of its kind. A group that changes its kind keeps
counting: the record of the old kind is forgotten with the write of the new one.
"""

from __future__ import annotations

from dataclasses import dataclass

from logstore.group.classic_group import ClassicGroup
from logstore.group.describing import Group
from logstore.group.offset_records import (
    ClassicGroupKey,
    ClassicGroupValue,
    GroupKey,
    decode_classic_group,
    decode_group_epoch,
    encode_classic_group,
    encode_group_epoch,
    encode_key,
)
from logstore.group.offsets import KeyValue


@dataclass(frozen=True, slots=True)
class KnownGroup:
    is_classic: bool
    epoch: int


def epoch_record(group: Group, now_ms: int) -> KeyValue:
    if isinstance(group, ClassicGroup):
        value = ClassicGroupValue(group.protocol_type, group.epoch)
        return encode_key(ClassicGroupKey(group.group_id)), encode_classic_group(value, now_ms)
    return encode_key(GroupKey(group.group_id)), encode_group_epoch(group.epoch)


def epoch_tombstone(group: Group) -> KeyValue:
    is_classic = isinstance(group, ClassicGroup)
    key = ClassicGroupKey(group.group_id) if is_classic else GroupKey(group.group_id)
    return encode_key(key), None


def replay_epoch(
    known: dict[str, KnownGroup], key: GroupKey | ClassicGroupKey, value: bytes | None
) -> None:
    """Take over one record. Two that rose at once may stand in either order: the highest counts.
    Raises CorruptDataError."""
    is_classic = isinstance(key, ClassicGroupKey)
    before = known.get(key.group_id)
    if value is None:
        if before is not None and before.is_classic == is_classic:
            del known[key.group_id]
        return
    epoch = decode_classic_group(value).generation if is_classic else decode_group_epoch(value)
    if before is None or epoch >= before.epoch:
        known[key.group_id] = KnownGroup(is_classic, epoch)
