"""The committed offsets of all groups, in memory, as the journal has them.

Owned by the coordinator, under its lock. An offset counts only while the topic it was committed
for exists: a topic made again under the same name has another id, and starts without offsets.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from logstore.api import CommittedOffset, TopicPartition
from logstore.group.offset_records import NO_TOPIC_ID, OffsetKey, OffsetValue, encode_key

TopicIds = Mapping[str, tuple[uuid.UUID, int]]  # name -> (id, partitions)
KeyValue = tuple[bytes, bytes | None]


@dataclass(slots=True)
class GroupOffsets:
    """Of one group. Every commit has a number, larger than those before it.

    `applied`: the commit that each partition stands at, so that an answer of the journal that
    comes late undoes neither a later commit nor a deletion. `in_flight`: how many commits of each
    are on their way to the disk; who deletes has to delete what they will bring.
    """

    values: dict[TopicPartition, OffsetValue] = field(default_factory=dict)
    applied: dict[TopicPartition, int] = field(default_factory=dict)
    in_flight: Counter[TopicPartition] = field(default_factory=Counter)
    empty_since_ms: int = 0

    def begin(self, parts: Iterable[TopicPartition]) -> None:
        for part in parts:
            self.in_flight[part] += 1

    def apply(self, part: TopicPartition, value: OffsetValue | None, commit: int) -> None:
        if commit < self.applied.get(part, -1):
            return
        self.applied[part] = commit
        if value is None:
            self.values.pop(part, None)
        else:
            self.values[part] = value

    def end(self, parts: Iterable[TopicPartition]) -> None:
        """Their commit is on disk and applied, or has failed."""
        for part in parts:
            self.in_flight[part] -= 1
            if not self.in_flight[part]:
                del self.in_flight[part]
                if part not in self.values:
                    self.applied.pop(part, None)

    def written(self) -> set[TopicPartition]:
        """All that the journal has an offset of, or soon will."""
        return self.values.keys() | self.in_flight.keys()

    def committed(self, part: TopicPartition, topics: TopicIds) -> CommittedOffset:
        value = self.values.get(part)
        if value is None or not is_current(part, value, topics):
            return CommittedOffset(*part, -1, -1, "", -1)
        return CommittedOffset(
            *part, value.offset, value.leader_epoch, value.metadata, value.commit_timestamp_ms
        )

    def orphans(self, topics: TopicIds) -> list[TopicPartition]:
        """What was committed for topics that are gone, and nothing else since."""
        return [
            part
            for part, value in self.values.items()
            if not is_current(part, value, topics) and part not in self.in_flight
        ]

    def expired(self, now_ms: int, retention_ms: int) -> list[TopicPartition]:
        """Of a group that has no members."""
        return [
            part
            for part, value in self.values.items()
            if now_ms - max(value.commit_timestamp_ms, self.empty_since_ms) > retention_ms
            and part not in self.in_flight
        ]


def is_current(part: TopicPartition, value: OffsetValue, topics: TopicIds) -> bool:
    found = topics.get(part.topic)
    if found is None or part.partition >= found[1]:
        return False
    return value.topic_id in (found[0], NO_TOPIC_ID)


def tombstone(group_id: str, part: TopicPartition) -> KeyValue:
    return encode_key(OffsetKey(group_id, part.topic, part.partition)), None
