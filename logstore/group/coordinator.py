"""All consumer groups of a store: members in memory, offsets and epochs in a journal.

A thin shell around ConsumerGroup (pure) and GroupOffsets: it takes the lock, reads the clock,
writes to the journal and tells those who watch a member. Membership is not kept over a restart:
members then find themselves unknown and join again, under an epoch that never falls since it is
in the journal. Offsets are told to readers once they are on disk.

Thread-safe; nothing is called back, and nothing written to the journal, under the lock.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from logstore.api import (
    EPOCH_LEAVE,
    CommittedOffset,
    GroupAssignment,
    GroupHeartbeat,
    GroupInfo,
    GroupKind,
    GroupSummary,
    OffsetAnswer,
    OffsetQuery,
    OffsetReset,
    OffsetToCommit,
    PartitionLag,
    TopicPartition,
)
from logstore.clock import Clock
from logstore.config import GroupConfig
from logstore.errors import (
    GroupNotEmptyError,
    GroupNotFoundError,
    InvalidGroupIdError,
    InvalidRequestError,
    LogStoreError,
    OffsetMetadataTooLargeError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.group.consumer_group import ConsumerGroup
from logstore.group.offset_records import (
    GroupKey,
    OffsetKey,
    OffsetValue,
    decode_group_epoch,
    decode_key,
    decode_offset,
    encode_group_epoch,
    encode_key,
    encode_offset,
)
from logstore.group.offsets import GroupOffsets, KeyValue, TopicIds, tombstone
from logstore.group.resetting import resolve_reset
from logstore.pending import Pending

GROUP_ID_LENGTH_MAX = 255


class Journal(Protocol):
    """Where offsets and epochs are kept; the store has one over an internal topic."""

    def append(self, records: Sequence[KeyValue], group_id: str) -> Pending[None]:
        """Done when all are durable. A group's records keep their order."""
        ...

    def replay(self) -> Iterator[tuple[bytes, bytes | None, int]]:
        """(key, value, timestamp) of all records, each group's in their order."""
        ...


class Topics(Protocol):
    """What the groups may know of topics."""

    def partition_counts(self) -> TopicIds:
        """name -> (topic id, partitions) of all topics that users read."""
        ...

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(log start offset, high watermark). Raises UnknownTopicError, UnknownPartitionError."""
        ...


class MemberWatch:
    """A registration of watch_member."""

    __slots__ = ("_forget", "known", "member_id", "on_change")

    def __init__(
        self,
        member_id: str,
        known: GroupAssignment,
        on_change: Callable[[], None],
        forget: Callable[[MemberWatch], None],
    ) -> None:
        self.member_id = member_id
        self.known = known
        self.on_change = on_change
        self._forget = forget

    def cancel(self) -> None:
        self._forget(self)


class GroupCoordinator:
    """See the module; the methods are those of api.LogStore and ServedLogStore."""

    def __init__(
        self,
        config: GroupConfig,
        clock: Clock,
        journal: Journal,
        topics: Topics,
        new_id: Callable[[], uuid.UUID],
    ) -> None:
        self._config = config
        self._clock = clock
        self._journal = journal
        self._topics = topics
        self._new_id = new_id
        self._lock = threading.Lock()
        self._groups: dict[str, ConsumerGroup] = {}
        self._offsets: dict[str, GroupOffsets] = {}
        self._watches: dict[str, dict[MemberWatch, None]] = {}
        self._commits = 0
        self._counts: Mapping[str, int] = {}
        self.recovery_notes: list[str] = []
        self._topic_ids = self._read_topics()
        self._recover()

    # --- members ----------------------------------------------------------------------------

    def heartbeat(self, heartbeat: GroupHeartbeat) -> GroupAssignment:
        """Never waits. Raises GroupError, InvalidRequestError; then nothing has changed."""
        check_group_id(heartbeat.group_id)
        with self._lock:
            group = self._groups.get(heartbeat.group_id)
            if group is None:
                group = ConsumerGroup(heartbeat.group_id, self._config)
                group.topics_changed(self._counts)
            before = group.epoch
            answer = group.heartbeat(
                heartbeat, self._clock.monotonic(), new_member_id=str(self._new_id())
            )
            self._groups[heartbeat.group_id] = group
            fired = self._after_change(group)
            epoch = group.epoch
        if epoch != before:
            self._write_epoch(heartbeat.group_id, epoch)
        _call_all(fired)
        return answer

    def watch_member(
        self, group_id: str, member_id: str, known: GroupAssignment, on_change: Callable[[], None]
    ) -> MemberWatch:
        def forget(watch: MemberWatch) -> None:
            with self._lock:
                self._watches.get(group_id, {}).pop(watch, None)

        watch = MemberWatch(member_id, known, on_change, forget)
        with self._lock:
            group = self._groups.get(group_id)
            is_news = (
                known.member_epoch <= EPOCH_LEAVE
                or group is None
                or group.would_change(member_id, known)
            )
            if not is_news:
                self._watches.setdefault(group_id, {})[watch] = None
        if is_news:
            on_change()
        return watch

    def topics_changed(self) -> None:
        """Topics were made, deleted, or got partitions."""
        with self._lock:
            self._topic_ids = self._read_topics()
            changed = [
                group for group in self._groups.values() if group.topics_changed(self._counts)
            ]
            fired = [call for group in changed for call in self._after_change(group)]
            orphans = {
                group_id: parts
                for group_id, offsets in self._offsets.items()
                if (parts := offsets.orphans(self._topic_ids))
            }
        for group in changed:
            self._write_epoch(group.group_id, group.epoch)
        for group_id, parts in orphans.items():
            self._forget_offsets(group_id, parts)
        _call_all(fired)

    def next_deadline(self) -> float | None:
        with self._lock:
            deadlines = [group.next_deadline() for group in self._groups.values()]
        return min((at for at in deadlines if at is not None), default=None)

    def tick(self) -> None:
        """Declare those members dead whose time is over."""
        now = self._clock.monotonic()
        with self._lock:
            changed = [group for group in self._groups.values() if group.expire(now)]
            fired = [call for group in changed for call in self._after_change(group)]
        for group in changed:
            self._write_epoch(group.group_id, group.epoch)
        _call_all(fired)

    def _after_change(self, group: ConsumerGroup) -> list[Callable[[], None]]:
        """Under the lock: whom to call back after it."""
        if group.member_count == 0:
            self._offsets.setdefault(
                group.group_id, GroupOffsets()
            ).empty_since_ms = self._clock.now_ms()
        watches = self._watches.get(group.group_id)
        if not watches:
            return []
        news = [watch for watch in watches if group.would_change(watch.member_id, watch.known)]
        for watch in news:
            del watches[watch]
        return [watch.on_change for watch in news]

    def _write_epoch(self, group_id: str, epoch: int) -> None:
        """Nobody waits for it: a lost one is a lower epoch for members of other names."""
        key = encode_key(GroupKey(group_id))
        self._journal.append([(key, encode_group_epoch(epoch))], group_id)

    # --- offsets ----------------------------------------------------------------------------

    def commit_offsets(
        self,
        group_id: str,
        offsets: Sequence[OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
    ) -> Pending[None]:
        """All or none; done when durable, and only then told by `committed_offsets`."""
        check_group_id(group_id)
        with self._lock:
            values = {
                TopicPartition(item.topic, item.partition): self._offset_value(item)
                for item in offsets
            }
            group = self._groups.get(group_id)
            if group is None:
                group = ConsumerGroup(group_id, self._config)
                group.topics_changed(self._counts)
            group.check_commit(member_id, member_epoch)
            self._groups[group_id] = group
            kept = self._offsets.setdefault(group_id, GroupOffsets())
            kept.begin(values)
            self._commits += 1
            commit = self._commits
        records = [
            (encode_key(OffsetKey(group_id, *part)), encode_offset(value))
            for part, value in values.items()
        ]
        if not records:
            return Pending.completed(None)
        return self._write_offsets(group_id, kept, records, dict(values), commit)

    def _write_offsets(
        self,
        group_id: str,
        offsets: GroupOffsets,
        records: Sequence[KeyValue],
        changes: Mapping[TopicPartition, OffsetValue | None],
        commit: int,
    ) -> Pending[None]:
        """Write, and when it is on disk take it over; what is returned is done after that.
        Of a group that was deleted meanwhile, `offsets` are nobody's any more."""

        def apply(_: None) -> None:
            with self._lock:
                for part, value in changes.items():
                    offsets.apply(part, value, commit)

        def end(_: Pending[None]) -> None:
            with self._lock:
                offsets.end(changes)

        written = self._journal.append(records, group_id)
        applied = written.then(apply)
        written.add_done_callback(end)
        return applied

    def _offset_value(self, item: OffsetToCommit) -> OffsetValue:
        found = self._topic_ids.get(item.topic)
        if found is None:
            raise UnknownTopicError(f"there is no topic {item.topic!r}", topic=item.topic)
        topic_id, partitions = found
        if not 0 <= item.partition < partitions:
            raise UnknownPartitionError(
                f"topic {item.topic!r} has no partition {item.partition}",
                topic=item.topic,
                partition=item.partition,
            )
        if item.offset < 0:
            raise InvalidRequestError(f"offset {item.offset} is negative")
        limit = self._config.offset_metadata_bytes_max
        if not is_unicode(item.metadata):
            raise InvalidRequestError("the metadata of an offset is no Unicode text")
        if len(item.metadata.encode("utf-8")) > limit:
            raise OffsetMetadataTooLargeError(
                f"the metadata of an offset is over the limit of {limit} bytes", limit=limit
            )
        return OffsetValue(
            item.offset, item.leader_epoch, item.metadata, self._clock.now_ms(), topic_id
        )

    def committed_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition] | None = None
    ) -> list[CommittedOffset]:
        check_group_id(group_id)
        with self._lock:
            offsets = self._offsets.get(group_id, GroupOffsets())
            wanted = sorted(offsets.values) if partitions is None else partitions
            found = [offsets.committed(TopicPartition(*part), self._topic_ids) for part in wanted]
        return found if partitions is not None else [item for item in found if item.offset >= 0]

    def delete_offsets(self, group_id: str, partitions: Sequence[TopicPartition]) -> None:
        """Durable when it returns. Not of topics that the group's members read."""
        with self._lock:
            group = self._find(group_id)
            read = group.subscribed_topics()
            busy = sorted({part.topic for part in partitions if part.topic in read})
            offsets = self._offsets.get(group_id, GroupOffsets())
            known = sorted(offsets.written() & set(map(TopicPartition._make, partitions)))
        if busy:
            raise GroupNotEmptyError(
                f"group {group_id!r} has members that read {busy[0]!r}", group_id=group_id
            )
        self._forget_offsets(group_id, known).result()

    def _forget_offsets(self, group_id: str, parts: Sequence[TopicPartition]) -> Pending[None]:
        if not parts:
            return Pending.completed(None)
        with self._lock:
            offsets = self._offsets.get(group_id)
            if offsets is None:  # deleted since
                return Pending.completed(None)
            offsets.begin(parts)
            self._commits += 1
            commit = self._commits
        records = [tombstone(group_id, part) for part in parts]
        return self._write_offsets(group_id, offsets, records, dict.fromkeys(parts), commit)

    def reset_offsets(
        self,
        reset: OffsetReset,
        locate: Callable[[Sequence[OffsetQuery]], list[OffsetAnswer]],
    ) -> list[CommittedOffset]:
        """Durable when it returns. `locate` is list_offsets of the store."""
        check_group_id(reset.group_id)
        with self._lock:
            group = self._groups.get(reset.group_id)
            if group is not None and group.member_count:
                raise self._not_empty(group)
            offsets = self._offsets.get(reset.group_id, GroupOffsets())
            counts = dict(self._counts)
            committed = {part: value.offset for part, value in offsets.values.items()}
        targets = resolve_reset(reset, counts, committed, self._topics.bounds, locate)
        if not reset.dry_run:
            self.commit_offsets(
                reset.group_id,
                [OffsetToCommit(*part, offset) for part, offset in targets.items()],
            ).result()
        return [CommittedOffset(*part, offset, -1, "", -1) for part, offset in targets.items()]

    def expire_offsets(self) -> None:
        """Forget offsets of groups that nobody has been in for the retention time."""
        now_ms = self._clock.now_ms()
        with self._lock:
            expired = {
                group_id: parts
                for group_id, offsets in self._offsets.items()
                if not self._has_members(group_id)
                and (parts := offsets.expired(now_ms, self._config.offsets_retention_ms))
            }
        for group_id, parts in expired.items():
            self._forget_offsets(group_id, parts)

    # --- whole groups -----------------------------------------------------------------------

    def list_groups(self) -> list[GroupSummary]:
        with self._lock:
            return [
                GroupSummary(group_id, GroupKind.CONSUMER, group.state, group.member_count)
                for group_id, group in sorted(self._groups.items())
            ]

    def describe_group(self, group_id: str) -> GroupInfo:
        with self._lock:
            group = self._find(group_id)
            members = group.describe()
            offsets = self._offsets.get(group_id, GroupOffsets())
            parts = {part for member in members for part in member.assigned}
            parts |= {
                p for p in offsets.values if offsets.committed(p, self._topic_ids).offset >= 0
            }
            rows = [
                (offsets.committed(part, self._topic_ids), group.owner(part))
                for part in sorted(parts)
            ]
            state, epoch, assignor = group.state, group.epoch, group.assignor
        return GroupInfo(
            group_id=group_id,
            kind=GroupKind.CONSUMER,
            state=state,
            group_epoch=epoch,
            assignor=assignor,
            members=members,
            offsets=tuple(self._lag(committed, owner) for committed, owner in rows),
        )

    def _lag(self, committed: CommittedOffset, owner: str) -> PartitionLag:
        try:
            start, watermark = self._topics.bounds(committed.topic, committed.partition)
        except LogStoreError:  # deleted since
            start = watermark = 0
        position = committed.offset if committed.offset >= 0 else start
        return PartitionLag(
            topic=committed.topic,
            partition=committed.partition,
            committed=committed.offset,
            high_watermark=watermark,
            lag=max(0, watermark - max(position, start)),
            metadata=committed.metadata,
            member_id=owner,
        )

    def delete_group(self, group_id: str) -> None:
        """Durable when it returns."""
        with self._lock:
            group = self._find(group_id)
            if group.member_count:
                raise self._not_empty(group)
            del self._groups[group_id]
            offsets = self._offsets.pop(group_id, GroupOffsets())
            records = [tombstone(group_id, part) for part in sorted(offsets.written())]
        records.append((encode_key(GroupKey(group_id)), None))
        self._journal.append(records, group_id).result()

    def _find(self, group_id: str) -> ConsumerGroup:
        group = self._groups.get(group_id)
        if group is None:
            raise GroupNotFoundError(f"there is no group {group_id!r}", group_id=group_id)
        return group

    def _has_members(self, group_id: str) -> bool:
        group = self._groups.get(group_id)
        return group is not None and group.member_count > 0

    @staticmethod
    def _not_empty(group: ConsumerGroup) -> GroupNotEmptyError:
        return GroupNotEmptyError(
            f"group {group.group_id!r} has {group.member_count} members; stop them first",
            group_id=group.group_id,
            members=group.member_count,
        )

    # --- opening ----------------------------------------------------------------------------

    def _read_topics(self) -> TopicIds:
        topic_ids = self._topics.partition_counts()
        self._counts = {name: count for name, (_, count) in topic_ids.items()}
        return topic_ids

    def _recover(self) -> None:
        epochs: dict[str, int] = {}
        for raw_key, value, _ in self._journal.replay():
            key = decode_key(raw_key)
            if isinstance(key, GroupKey):
                if value is None:
                    epochs.pop(key.group_id, None)
                else:  # two that rose at once may stand in either order
                    epoch = decode_group_epoch(value)
                    epochs[key.group_id] = max(epoch, epochs.get(key.group_id, 0))
            elif isinstance(key, OffsetKey):
                part = TopicPartition(key.topic, key.partition)
                decoded = None if value is None else decode_offset(value)
                self._offsets.setdefault(key.group_id, GroupOffsets()).apply(part, decoded, 0)
        now_ms = self._clock.now_ms()
        for group_id in self._offsets.keys() | epochs.keys():
            offsets = self._offsets.setdefault(group_id, GroupOffsets())
            offsets.empty_since_ms = now_ms
            if not offsets.values and group_id not in epochs:
                del self._offsets[group_id]
                continue
            group = ConsumerGroup(group_id, self._config, epoch=epochs.get(group_id, 0))
            group.topics_changed(self._counts)
            self._groups[group_id] = group
            self._lower(group_id, offsets)

    def _lower(self, group_id: str, offsets: GroupOffsets) -> None:
        """An offset beyond the log's end (its records were lost) would skip what comes there."""
        for part in list(offsets.values):
            if offsets.committed(part, self._topic_ids).offset < 0:
                continue
            value = offsets.values[part]
            _, watermark = self._topics.bounds(*part)
            if value.offset > watermark:
                lowered = OffsetValue(
                    watermark, -1, value.metadata, value.commit_timestamp_ms, value.topic_id
                )
                offsets.values[part] = lowered
                self.recovery_notes.append(
                    f"group {group_id}: committed offset {value.offset} of {part.topic}-"
                    f"{part.partition} is beyond the log's end and was lowered to {watermark}"
                )
                key = encode_key(OffsetKey(group_id, *part))
                self._journal.append([(key, encode_offset(lowered))], group_id)


def check_group_id(group_id: str) -> None:
    if not 0 < len(group_id) <= GROUP_ID_LENGTH_MAX:
        raise InvalidGroupIdError(
            f"a group id has 1 to {GROUP_ID_LENGTH_MAX} characters; {len(group_id)} were given"
        )
    if not is_unicode(group_id):
        raise InvalidGroupIdError("a group id is Unicode text; this one has half a surrogate pair")


def is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _call_all(callbacks: Sequence[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()
