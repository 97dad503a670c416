"""The committed offsets of all groups: in memory as the journal has them, and the way there.

    commit -> checked, numbered, appended to the journal -> on disk -> in `values`, told to readers

Invariants
- What is decided is appended in the order it was decided in (`_write_order`, taken before the
  coordinator's lock), so that a restart, which takes the last record of each partition, finds what
  was in memory. Otherwise a commit that passed its check and was then held up could be written
  after one of the partition's next owner.
- Nothing is told before it is on disk.

Thread-safe with the coordinator's lock, which it is given. `_write_order` is held over the append,
which does not wait for a sync; never over a callback of a user.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from logstore.api import CommittedOffset, OffsetToCommit, ProducerIdentity, TopicPartition
from logstore.clock import Clock
from logstore.config import GroupConfig
from logstore.errors import (
    InvalidRequestError,
    LogStoreError,
    OffsetMetadataTooLargeError,
    StoreError,
    UnknownPartitionError,
    UnknownTopicError,
    UnstableOffsetCommitError,
)
from logstore.group.offset_records import OffsetKey, OffsetValue, encode_key, encode_offset
from logstore.group.offsets import GroupOffsets, KeyValue, TopicIds, tombstone
from logstore.pending import Pending

Bounds = Callable[[str, int], tuple[int, int]]  # -> log start offset, high watermark
Changes = Mapping[TopicPartition, OffsetValue | None]


class Journal(Protocol):
    """Where offsets and epochs are kept; the store has one over an internal topic."""

    def append(
        self,
        records: Sequence[KeyValue],
        entity: str,
        producer: ProducerIdentity | None = None,
    ) -> Pending[None]:
        """Done when all are durable. The records of one entity, a group, keep their order. With a
        producer they are part of its transaction."""
        ...

    def replay_with_open(self) -> Iterator[tuple[int, bytes, bytes | None]]:
        """(producer id, key, value) of all records, each group's in their order, but for those of
        transactions that were aborted. The producer id is -1 but for those of open ones."""
        ...


class _Change(NamedTuple):
    """What one commit in a transaction will have changed."""

    offsets: GroupOffsets
    values: Changes
    commit: int


class OffsetManager:
    """See the module. "Under the lock" means that the caller holds the coordinator's."""

    def __init__(
        self, config: GroupConfig, clock: Clock, journal: Journal, lock: threading.Lock
    ) -> None:
        self.topic_ids: TopicIds = {}  # under the lock
        self._config = config
        self._clock = clock
        self._journal = journal
        self._lock = lock
        self._write_order = threading.RLock()  # who is told of a wanted flush may come back here
        self._offsets: dict[str, GroupOffsets] = {}
        self._commits = 0
        # producer id -> what its open transaction commits, in that order
        self._in_transaction: dict[int, list[_Change]] = {}

    # --- under the lock ---------------------------------------------------------------------

    def of(self, group_id: str) -> GroupOffsets:
        """To read; those of a group that has none are not kept."""
        return self._offsets.get(group_id) or GroupOffsets()

    def committed_of(self, group_id: str) -> dict[TopicPartition, CommittedOffset]:
        """All that count, sorted."""
        offsets = self.of(group_id)
        found = {part: offsets.committed(part, self.topic_ids) for part in sorted(offsets.values)}
        return {part: committed for part, committed in found.items() if committed.offset >= 0}

    def committed(self, group_id: str, part: TopicPartition) -> CommittedOffset:
        return self.of(group_id).committed(part, self.topic_ids)

    def held(self, group_id: str) -> set[TopicPartition]:
        """Those whose offset an open transaction is to move."""
        offsets = self.of(group_id)
        return {
            part
            for changes in self._in_transaction.values()
            for change in changes
            if change.offsets is offsets
            for part in change.values
        }

    def check_stable(self, group_id: str, parts: Iterable[TopicPartition]) -> None:
        """Raises UnstableOffsetCommitError if one of them is held."""
        held = self.held(group_id)
        for part in parts:
            if part in held:
                raise unstable(group_id, part)

    def group_is_empty(self, group_id: str) -> None:
        """It has no members now: its offsets grow old from here on."""
        self._offsets.setdefault(group_id, GroupOffsets()).empty_since_ms = self._clock.now_ms()

    def is_forgotten(self, group_id: str) -> bool:
        """Nobody was in it for the retention time, and no offset is left of it."""
        offsets = self.of(group_id)
        age_ms = self._clock.now_ms() - offsets.empty_since_ms
        return not offsets.written() and age_ms > self._config.offsets_retention_ms

    def group_ids(self) -> list[str]:
        return sorted(self._offsets)

    # --- changes ----------------------------------------------------------------------------

    def commit(
        self,
        group_id: str,
        offsets: Sequence[OffsetToCommit],
        admit: Callable[[], None],
        producer: ProducerIdentity | None = None,
        *,
        errors: list[LogStoreError | None] | None = None,
    ) -> Pending[None]:
        """`admit` is called under the lock and may raise; then nothing has changed. With a producer
        the offsets count from the end of its transaction on (`end_transaction`).

        With `errors` an offset that is refused leaves the others be: it gets one for each."""
        with self._write_order:
            with self._lock:
                values = self._values(offsets, errors)
                admit()
                if not values:
                    return Pending.completed(None)
                kept, commit = self._begin(group_id, values)
                change = _Change(kept, dict(values), commit)
                if producer is not None:  # before it is written: nobody may start there now
                    self._in_transaction.setdefault(producer.producer_id, []).append(change)
            records = [
                (encode_key(OffsetKey(group_id, *part)), encode_offset(value))
                for part, value in values.items()
            ]
            written = self._journal.append(records, group_id, producer)
            if producer is not None:
                return self._hold(written, producer, change)
        return self._take_over(written, kept, change.values, commit)

    def _hold(
        self, written: Pending[None], producer: ProducerIdentity, change: _Change
    ) -> Pending[None]:
        """Until the transaction ends; unless it could not be written."""

        def give_up(done: Pending[None]) -> None:
            if done.error is not None:
                with self._lock:
                    held = self._in_transaction.get(producer.producer_id, [])
                    if change in held:
                        held.remove(change)
                        change.offsets.end(change.values)

        written.add_done_callback(give_up)
        return written

    def end_transaction(self, producer_id: int, *, commit: bool) -> None:
        """What it committed counts from now on, or never did. A commit that is being written is
        waited for: held from then on, it would count with the next transaction."""
        with self._write_order, self._lock:
            for change in self._in_transaction.pop(producer_id, []):
                if commit:
                    for part, value in change.values.items():
                        change.offsets.apply(part, value, change.commit)
                change.offsets.end(change.values)

    def forget(
        self, group_id: str, choose: Callable[[GroupOffsets], Iterable[TopicPartition]]
    ) -> Pending[None]:
        """Forget the offsets of those that `choose`, called under the lock, names."""
        with self._write_order:
            with self._lock:
                parts = sorted(choose(self.of(group_id)))
                if not parts:
                    return Pending.completed(None)
                kept, commit = self._begin(group_id, parts)
            written = self._journal.append([tombstone(group_id, part) for part in parts], group_id)
        return self._take_over(written, kept, dict.fromkeys(parts), commit)

    def delete_group(
        self, group_id: str, release: Callable[[], Sequence[KeyValue]]
    ) -> Pending[None]:
        """Forget all; `release`, called under the lock, lets go of the group and tells what else
        is to be written, or nothing when the group is to stay."""
        with self._write_order:
            with self._lock:
                records = list(release())
                if not records:
                    return Pending.completed(None)
                offsets = self._offsets.pop(group_id, GroupOffsets())
                records += [tombstone(group_id, part) for part in sorted(offsets.written())]
            return self._journal.append(records, group_id)

    def forget_orphans(self) -> None:
        """Those of topics that are gone."""
        with self._lock:
            group_ids = self.group_ids()
        for group_id in group_ids:
            self.forget(group_id, lambda offsets: offsets.orphans(self.topic_ids))

    def expire(self, has_members: Callable[[str], bool]) -> None:
        """Those of groups that nobody has been in for the retention time."""
        now_ms, retention_ms = self._clock.now_ms(), self._config.offsets_retention_ms
        with self._lock:
            group_ids = self.group_ids()
        for group_id in group_ids:

            def old(offsets: GroupOffsets, group_id: str = group_id) -> list[TopicPartition]:
                return [] if has_members(group_id) else offsets.expired(now_ms, retention_ms)

            self.forget(group_id, old)

    def _begin(self, group_id: str, parts: Iterable[TopicPartition]) -> tuple[GroupOffsets, int]:
        kept = self._offsets.setdefault(group_id, GroupOffsets())
        kept.begin(parts)
        self._commits += 1
        return kept, self._commits

    def _take_over(
        self, written: Pending[None], offsets: GroupOffsets, changes: Changes, commit: int
    ) -> Pending[None]:
        """Once it is on disk; what is returned is done after that. Of a group that was deleted
        meanwhile, `offsets` are nobody's any more."""

        def apply(_: None) -> None:
            with self._lock:
                for part, value in changes.items():
                    offsets.apply(part, value, commit)

        def end(_: Pending[None]) -> None:
            with self._lock:
                offsets.end(changes)

        applied = written.then(apply)
        written.add_done_callback(end)
        return applied

    def _values(
        self, offsets: Sequence[OffsetToCommit], errors: list[LogStoreError | None] | None
    ) -> dict[TopicPartition, OffsetValue]:
        values: dict[TopicPartition, OffsetValue] = {}
        for item in offsets:
            error = None
            try:
                values[TopicPartition(item.topic, item.partition)] = self._value(item)
            except LogStoreError as refused:
                error = refused
                if errors is None:
                    raise
            if errors is not None:
                errors.append(error)
        return values

    def _value(self, item: OffsetToCommit) -> OffsetValue:
        found = self.topic_ids.get(item.topic)
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

    # --- opening, by one thread -------------------------------------------------------------

    def load(self, key: OffsetKey, value: OffsetValue | None) -> None:
        """One record of the journal."""
        offsets = self._offsets.setdefault(key.group_id, GroupOffsets())
        part = TopicPartition(key.topic, key.partition)
        self._commits += 1
        offsets.apply(part, value, self._commits)
        if part not in offsets.in_flight:  # else it is later than what is open
            del offsets.applied[part]

    def load_open(self, producer_id: int, key: OffsetKey, value: OffsetValue | None) -> None:
        """One record of a transaction that is open still."""
        part = TopicPartition(key.topic, key.partition)
        kept, commit = self._begin(key.group_id, [part])
        change = _Change(kept, {part: value}, commit)
        self._in_transaction.setdefault(producer_id, []).append(change)

    def loaded(self, bounds: Bounds) -> list[str]:
        """All were loaded. Lower what is beyond the log's end (its records were lost), since it
        would skip what comes there; a sentence for each."""
        notes = []
        for group_id, offsets in list(self._offsets.items()):
            if not offsets.written():
                del self._offsets[group_id]
            for part, committed in self.committed_of(group_id).items():
                try:
                    _, end = bounds(*part)
                except StoreError:  # it could not be opened: nobody knows where it ends
                    continue
                if committed.offset > end:
                    self._lower(group_id, part, end)
                    notes.append(
                        f"group {group_id}: committed offset {committed.offset} of {part.topic}-"
                        f"{part.partition} is beyond the log's end and was lowered to {end}"
                    )
        return notes

    def _lower(self, group_id: str, part: TopicPartition, end: int) -> None:
        values = self._offsets[group_id].values
        old = values[part]
        values[part] = OffsetValue(end, -1, old.metadata, old.commit_timestamp_ms, old.topic_id)
        key = encode_key(OffsetKey(group_id, *part))
        self._journal.append([(key, encode_offset(values[part]))], group_id)


def unstable(group_id: str, part: TopicPartition) -> UnstableOffsetCommitError:
    return UnstableOffsetCommitError(
        f"a transaction that is still open commits an offset of group {group_id!r} for "
        f"{part.topic}-{part.partition}; try again",
        group_id=group_id,
        topic=part.topic,
        partition=part.partition,
    )


def is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
