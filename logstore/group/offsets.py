"""The committed offsets of all groups, in memory, as the journal has them.

Owned by the coordinator, under its lock. An offset counts only while the topic it was committed
for exists: a topic made again under the same name has another id, and starts without offsets.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from logstore.api import CommittedOffset, TopicPartition
from logstore.group.offset_records import NO_TOPIC_ID, OffsetKey, OffsetValue, encode_key

TopicIds = Mapping[str, tuple[uuid.UUID, int]]  # name -> (id, partitions)
KeyValue = tuple[bytes, bytes | None]


@dataclass(slots=True)
class GroupOffsets:
    """Of one group. `commits`: the number of the commit that each offset came with, so that an
    answer of the journal that comes late does not undo a later commit."""

    values: dict[TopicPartition, OffsetValue] = field(default_factory=dict)
    commits: dict[TopicPartition, int] = field(default_factory=dict)
    empty_since_ms: int = 0

    def apply(self, part: TopicPartition, value: OffsetValue | None, commit: int) -> None:
        if commit < self.commits.get(part, -1):
            return
        if value is None:
            self.values.pop(part, None)
            self.commits.pop(part, None)
        else:
            self.values[part] = value
            self.commits[part] = commit

    def committed(self, part: TopicPartition, topics: TopicIds) -> CommittedOffset:
        value = self.values.get(part)
        if value is None or not is_current(part, value, topics):
            return CommittedOffset(*part, -1, -1, "", -1)
        return CommittedOffset(
            *part, value.offset, value.leader_epoch, value.metadata, value.commit_timestamp_ms
        )

    def orphans(self, topics: TopicIds) -> list[TopicPartition]:
        """What was committed for topics that are gone."""
        return [part for part, value in self.values.items() if not is_current(part, value, topics)]

    def expired(self, now_ms: int, retention_ms: int) -> list[TopicPartition]:
        """Of a group that has no members."""
        return [
            part
            for part, value in self.values.items()
            if now_ms - max(value.commit_timestamp_ms, self.empty_since_ms) > retention_ms
        ]


def is_current(part: TopicPartition, value: OffsetValue, topics: TopicIds) -> bool:
    found = topics.get(part.topic)
    if found is None or part.partition >= found[1]:
        return False
    return value.topic_id in (found[0], NO_TOPIC_ID)


def tombstone(group_id: str, part: TopicPartition) -> KeyValue:
    return encode_key(OffsetKey(group_id, part.topic, part.partition)), None
