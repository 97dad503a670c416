"""The groups of a store behind one lock, and what follows from an event once it is released: what
is written to the journal, who is answered, who is told.

Shared by the coordinator's verbs. "Under the lock" means that the caller holds `lock`, be it by
`change`. No callback and no write happens under it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from logstore.api import GroupAssignment
from logstore.clock import Clock
from logstore.config import GroupConfig
from logstore.errors import (
    GroupKindError,
    GroupNotEmptyError,
    GroupNotFoundError,
    LogStoreError,
    StoreClosedError,
)
from logstore.group import describing
from logstore.group.classic_group import ClassicGroup
from logstore.group.classic_member import Reply
from logstore.group.consumer_group import ConsumerGroup
from logstore.group.describing import Group
from logstore.group.epochs import epoch_record, epoch_tombstone
from logstore.group.offset_manager import Journal, OffsetManager
from logstore.group.offsets import KeyValue, TopicIds
from logstore.pending import Pending

G = TypeVar("G", ConsumerGroup, ClassicGroup)


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


@dataclass(slots=True)
class Entry:
    """A group, and how much of its state was passed on."""

    group: Group
    written_epoch: int
    told_revision: int = -1  # to those who watch
    watches: dict[MemberWatch, None] = field(default_factory=dict)


@dataclass(slots=True)
class Effects:
    """What is to be done once the lock is released."""

    records: list[tuple[str, list[KeyValue]]] = field(default_factory=list)  # by group
    calls: list[Callable[[], None]] = field(default_factory=list)


class GroupTable:
    """See the module."""

    def __init__(
        self,
        config: GroupConfig,
        clock: Clock,
        journal: Journal,
        topics: Topics,
        new_id: Callable[[], uuid.UUID],
    ) -> None:
        self.config = config
        self.clock = clock
        self.topics = topics
        self.new_id = new_id
        self.lock = threading.Lock()
        self.groups: dict[str, Entry] = {}
        self.offsets = OffsetManager(config, clock, journal, self.lock)
        self.deadline: float | None = None  # not after that of any group
        self.counts: Mapping[str, int] = {}  # of topics' partitions
        self._journal = journal
        self._waiting: dict[int, Pending[Any]] = {}  # joins and syncs, by ticket
        self._tickets = 0

    @contextmanager
    def change(self) -> Iterator[Effects]:
        """Under the lock; then what follows from it. After an error nothing does."""
        effects = Effects()
        with self.lock:
            yield effects
        # Nobody waits for an epoch to be durable: a lost one is a lower epoch for members of
        # other names.
        for group_id, records in effects.records:
            self._journal.append(records, group_id)
        for call in effects.calls:
            call()

    # --- under the lock ---------------------------------------------------------------------

    def read_topics(self) -> None:
        self.offsets.topic_ids = self.topics.partition_counts()
        self.counts = {name: count for name, (_, count) in self.offsets.topic_ids.items()}

    def group_of(self, group_id: str, kind: type[G]) -> G:
        """The group, or a new one that is not kept yet (`follow` does that). An empty group may
        become one of the other kind. Raises GroupKindError."""
        entry = self.groups.get(group_id)
        if entry is not None:
            if isinstance(entry.group, kind):
                return entry.group
            if not entry.group.is_vacant:
                raise other_kind(entry.group)
        group = kind(group_id, self.config, epoch=0 if entry is None else entry.group.epoch)
        if isinstance(group, ConsumerGroup):
            group.topics_changed(self.counts)
        return group

    def occupied_consumer_group(self, group_id: str) -> ConsumerGroup | None:
        """The group, if the server assigns it and it has members."""
        entry = self.groups.get(group_id)
        if entry is None or not isinstance(entry.group, ConsumerGroup) or entry.group.is_vacant:
            return None
        return entry.group

    def follow(self, group: Group, effects: Effects, replies: Sequence[Reply] = ()) -> None:
        """An event has changed the group: keep it, and note what is to be written and told."""
        entry = self.groups.get(group.group_id)
        records: list[KeyValue] = []
        if entry is None:
            entry = self.groups[group.group_id] = Entry(group, 0)
        elif entry.group is not group:
            if type(entry.group) is not type(group):  # it is of another kind now
                records.append(epoch_tombstone(entry.group))
            entry.group, entry.written_epoch = group, -1
        if group.epoch != entry.written_epoch:
            records.append(epoch_record(group, self.clock.now_ms()))
            entry.written_epoch = group.epoch
        if records:
            effects.records.append((group.group_id, records))
        if group.is_vacant:
            self.offsets.group_is_empty(group.group_id)
        self.answer(replies, effects)
        if isinstance(group, ConsumerGroup):
            self._tell_watchers(entry, group, effects)
        else:
            self.note_deadline(group.next_deadline())

    @staticmethod
    def _tell_watchers(entry: Entry, group: ConsumerGroup, effects: Effects) -> None:
        if group.revision == entry.told_revision:
            return
        entry.told_revision = group.revision
        news = [
            watch for watch in entry.watches if group.would_change(watch.member_id, watch.known)
        ]
        for watch in news:
            del entry.watches[watch]
            effects.calls.append(watch.on_change)

    @property
    def next_ticket(self) -> int:
        return self._tickets + 1

    def wait(self, pending: Pending[Any]) -> None:
        """The event that was given the next ticket has taken it."""
        self._tickets += 1
        self._waiting[self._tickets] = pending

    def answer(self, replies: Sequence[Reply], effects: Effects) -> None:
        for ticket, answer in replies:
            pending = self._waiting.pop(ticket, None)
            if pending is None:  # closed since
                continue
            if isinstance(answer, LogStoreError):
                effects.calls.append(partial(pending.set_error, answer))
            else:
                effects.calls.append(partial(pending.set_result, answer))

    def close(self, effects: Effects) -> None:
        """Nobody waits any longer: joins and syncs get StoreClosedError, watches are called."""
        error = StoreClosedError("the store is closed")
        effects.calls += [partial(p.set_error, error) for p in self._waiting.values()]
        self._waiting.clear()
        for entry in self.groups.values():
            effects.calls += [watch.on_change for watch in entry.watches]
            entry.watches.clear()

    def note_deadline(self, deadline: float | None) -> None:
        if deadline is not None and (self.deadline is None or deadline < self.deadline):
            self.deadline = deadline

    def find(self, group_id: str) -> Group:
        """Raises GroupNotFoundError."""
        entry = self.groups.get(group_id)
        if entry is None:
            raise GroupNotFoundError(f"there is no group {group_id!r}", group_id=group_id)
        return entry.group


def refuse_if_occupied(group: Group) -> None:
    """Raises GroupNotEmptyError."""
    if not group.is_vacant:
        raise GroupNotEmptyError(
            f"group {group.group_id!r} has {group.member_count} members; stop them first",
            group_id=group.group_id,
            members=group.member_count,
        )


def other_kind(group: Group) -> GroupKindError:
    return GroupKindError(
        f"group {group.group_id!r} is of kind {describing.kind_of(group)} and has members",
        group_id=group.group_id,
        kind=describing.kind_of(group),
    )
