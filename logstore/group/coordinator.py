"""All consumer groups of a store: members in memory, offsets and epochs in a journal.

A thin shell around the two kinds of group (ConsumerGroup, ClassicGroup: pure) and OffsetManager:
it takes the lock, reads the clock, writes to the journal, answers the calls that wait and tells
those who watch a member. Membership is not kept over a restart: members then find themselves
unknown and join again, under an epoch that never falls since it is in the journal.

Thread-safe; nothing is called back, and nothing written to the journal, under the lock.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from logstore.api import (
    EPOCH_LEAVE,
    ClassicGroupInfo,
    ClassicHeartbeat,
    ClassicJoin,
    ClassicJoined,
    ClassicLeave,
    ClassicSync,
    ClassicSynced,
    CommittedOffset,
    GroupAssignment,
    GroupHeartbeat,
    GroupInfo,
    GroupSummary,
    OffsetAnswer,
    OffsetQuery,
    OffsetReset,
    OffsetToCommit,
    ProducerIdentity,
    TopicPartition,
)
from logstore.clock import Clock
from logstore.config import GroupConfig
from logstore.errors import (
    GroupKindError,
    GroupNotEmptyError,
    GroupNotFoundError,
    InvalidGroupIdError,
    LogStoreError,
    StoreClosedError,
)
from logstore.group import describing
from logstore.group.classic_group import ClassicGroup, Reply
from logstore.group.consumer_group import ConsumerGroup
from logstore.group.describing import Group
from logstore.group.epochs import KnownGroup, epoch_record, epoch_tombstone, replay_epoch
from logstore.group.offset_manager import Journal, OffsetManager, is_unicode
from logstore.group.offset_records import OffsetKey, decode_key, decode_offset
from logstore.group.offsets import GroupOffsets, KeyValue, TopicIds
from logstore.group.resetting import resolve_reset
from logstore.pending import Pending
from logstore.record import NO_PRODUCER_ID

GROUP_ID_LENGTH_MAX = 255
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
class _Entry:
    """A group, and how much of its state was passed on."""

    group: Group
    written_epoch: int
    told_revision: int = -1  # to those who watch
    watches: dict[MemberWatch, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Effects:
    """What is to be done once the lock is released."""

    records: list[tuple[str, list[KeyValue]]] = field(default_factory=list)  # by group
    calls: list[Callable[[], None]] = field(default_factory=list)


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
        self._groups: dict[str, _Entry] = {}
        self._offsets = OffsetManager(config, clock, journal, self._lock)
        self._waiting: dict[int, Pending[Any]] = {}  # joins and syncs, by ticket
        self._tickets = 0
        self._deadline: float | None = None  # not after that of any group
        self._counts: Mapping[str, int] = {}
        self._read_topics()
        self.recovery_notes = self._recover()

    # --- members of server-assigned groups --------------------------------------------------

    def heartbeat(self, heartbeat: GroupHeartbeat) -> GroupAssignment:
        """Never waits. Raises GroupError, InvalidRequestError; then nothing has changed."""
        check_group_id(heartbeat.group_id)
        with self._change() as effects:
            group = self._group_of(heartbeat.group_id, ConsumerGroup)
            answer = group.heartbeat(
                heartbeat, self._clock.monotonic(), new_member_id=str(self._new_id())
            )
            self._note_deadline(group.deadline_of(answer.member_id))
            self._follow(group, effects)
        return answer

    def watch_member(
        self, group_id: str, member_id: str, known: GroupAssignment, on_change: Callable[[], None]
    ) -> MemberWatch:
        """Call back once when the member's next heartbeat would be answered with something other
        than `known`, or with an error; at once if it would be already."""

        def forget(watch: MemberWatch) -> None:
            with self._lock:
                entry = self._groups.get(group_id)
                if entry is not None:
                    entry.watches.pop(watch, None)

        watch = MemberWatch(member_id, known, on_change, forget)
        with self._lock:
            entry = self._groups.get(group_id)
            if (
                entry is not None
                and isinstance(entry.group, ConsumerGroup)
                and known.member_epoch > EPOCH_LEAVE
                and not entry.group.would_change(member_id, known)
            ):
                entry.watches[watch] = None
                return watch
        on_change()
        return watch

    # --- members of classic groups ----------------------------------------------------------

    def classic_join(self, request: ClassicJoin) -> Pending[ClassicJoined]:
        """Done when all others have joined, or their time is over. Raises GroupError,
        InvalidRequestError; MemberIdRequiredError comes through the Pending."""
        check_group_id(request.group_id)
        pending: Pending[ClassicJoined] = Pending()
        with self._change() as effects:
            group = self._group_of(request.group_id, ClassicGroup)
            replies = group.join(
                request,
                self._clock.monotonic(),
                ticket=self._tickets + 1,
                new_member_id=str(self._new_id()),
            )
            self._await(pending)
            self._follow(group, effects, replies)
        return pending

    def classic_sync(self, request: ClassicSync) -> Pending[ClassicSynced]:
        """Done when the leader has assigned. Raises GroupError."""
        check_group_id(request.group_id)
        pending: Pending[ClassicSynced] = Pending()
        with self._change() as effects:
            group = self._group_of(request.group_id, ClassicGroup)
            replies = group.sync(request, self._clock.monotonic(), ticket=self._tickets + 1)
            self._await(pending)
            self._follow(group, effects, replies)
        return pending

    def classic_heartbeat(self, request: ClassicHeartbeat) -> None:
        """Raises GroupError; RebalanceInProgressError asks the member to join again."""
        check_group_id(request.group_id)
        with self._lock:
            self._group_of(request.group_id, ClassicGroup).heartbeat(
                request, self._clock.monotonic()
            )

    def classic_leave(self, request: ClassicLeave) -> None:
        """Raises UnknownMemberError, FencedInstanceError, GroupKindError."""
        check_group_id(request.group_id)
        with self._change() as effects:
            group = self._group_of(request.group_id, ClassicGroup)
            self._follow(group, effects, group.leave(request, self._clock.monotonic()))

    # --- what time and topics bring ---------------------------------------------------------

    def topics_changed(self) -> None:
        """Topics were made, deleted, or got partitions."""
        with self._change() as effects:
            self._read_topics()
            for entry in self._groups.values():
                group = entry.group
                if isinstance(group, ConsumerGroup) and group.topics_changed(self._counts):
                    self._follow(group, effects)
        self._offsets.forget_orphans()

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, or somewhat before."""
        with self._lock:
            return self._deadline

    def tick(self) -> None:
        """Go on without those whose time is over."""
        now = self._clock.monotonic()
        with self._change() as effects:
            self._deadline = None
            for entry in self._groups.values():
                group = entry.group
                deadline = group.next_deadline()
                if deadline is not None and deadline <= now:
                    if isinstance(group, ClassicGroup):
                        self._follow(group, effects, group.expire(now))
                    else:
                        group.expire(now)
                        self._follow(group, effects)
                    deadline = group.next_deadline()
                self._note_deadline(deadline)

    def expire_offsets(self) -> None:
        """Forget offsets of groups that nobody has been in for the retention time, and groups
        that have none left."""
        self._offsets.expire(self._has_members)
        with self._lock:
            forgotten = [group_id for group_id in self._groups if self._is_forgotten(group_id)]
        for group_id in forgotten:
            self._offsets.delete_group(group_id, partial(self._release_forgotten, group_id))

    def _has_members(self, group_id: str) -> bool:
        entry = self._groups.get(group_id)
        return entry is not None and not entry.group.is_vacant

    def _is_forgotten(self, group_id: str) -> bool:
        return not self._has_members(group_id) and self._offsets.is_forgotten(group_id)

    def _release_forgotten(self, group_id: str) -> list[KeyValue]:
        if group_id in self._groups and self._is_forgotten(group_id):
            return [epoch_tombstone(self._groups.pop(group_id).group)]
        return []

    # --- offsets ----------------------------------------------------------------------------

    def commit_offsets(
        self,
        group_id: str,
        offsets: Sequence[OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
        producer: ProducerIdentity | None = None,
    ) -> Pending[None]:
        """All or none; done when durable, and only then told by `committed_offsets`. With a
        producer they are told when its transaction is committed."""
        check_group_id(group_id)

        def admit() -> None:
            entry = self._groups.get(group_id)
            group = self._group_of(group_id, ConsumerGroup) if entry is None else entry.group
            if isinstance(group, ClassicGroup):
                group.check_commit(member_id, member_epoch, self._clock.monotonic())
            else:
                group.check_commit(member_id, member_epoch)
            if offsets and entry is None:
                self._groups[group_id] = _Entry(group, group.epoch)

        return self._offsets.commit(group_id, offsets, admit, producer)

    def end_transaction(self, producer_id: int, *, commit: bool) -> None:
        """Its markers are on disk: offsets that were committed in it count now, or never."""
        self._offsets.end_transaction(producer_id, commit=commit)

    def committed_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition] | None = None
    ) -> list[CommittedOffset]:
        """Raises UnstableOffsetCommitError: see LogStore.committed_offsets."""
        check_group_id(group_id)
        with self._lock:
            if partitions is None:
                return list(self._offsets.committed_of(group_id).values())
            parts = [TopicPartition(*part) for part in partitions]
            self._offsets.check_stable(group_id, parts)
            return [self._offsets.committed(group_id, part) for part in parts]

    def delete_offsets(self, group_id: str, partitions: Sequence[TopicPartition]) -> None:
        """Durable when it returns. Not of topics that the group's members read."""
        wanted = {TopicPartition(*part) for part in partitions}

        def choose(offsets: GroupOffsets) -> set[TopicPartition]:
            self._refuse_if_read(self._find(group_id), {part.topic for part in wanted})
            return offsets.written() & wanted

        self._offsets.forget(group_id, choose).result()

    def reset_offsets(
        self,
        reset: OffsetReset,
        locate: Callable[[Sequence[OffsetQuery]], list[OffsetAnswer]],
    ) -> list[CommittedOffset]:
        """Durable when it returns. `locate` is list_offsets of the store."""
        check_group_id(reset.group_id)
        with self._lock:
            entry = self._groups.get(reset.group_id)
            if entry is not None:
                self._refuse_if_occupied(entry.group)
            counts = self._counts
            found = self._offsets.committed_of(reset.group_id)
        committed = {part: item.offset for part, item in found.items()}
        targets = resolve_reset(reset, counts, committed, self._topics.bounds, locate)
        if not reset.dry_run:
            self.commit_offsets(
                reset.group_id,
                [OffsetToCommit(*part, offset) for part, offset in targets.items()],
            ).result()
        return [CommittedOffset(*part, offset, -1, "", -1) for part, offset in targets.items()]

    # --- whole groups -----------------------------------------------------------------------

    def list_groups(self) -> list[GroupSummary]:
        with self._lock:
            return [describing.summary_of(entry.group) for _, entry in sorted(self._groups.items())]

    def describe_group(self, group_id: str) -> GroupInfo:
        with self._lock:
            group = self._find(group_id)
            members = describing.members_of(group)
            parts = set(self._offsets.committed_of(group_id))
            parts.update(part for member in members for part in member.assigned)
            rows = [
                (self._offsets.committed(group_id, part), describing.owner_of(group, part))
                for part in sorted(parts)
            ]
            summary = describing.summary_of(group)
            epoch, assignor = group.epoch, describing.assignor_of(group)
        return GroupInfo(
            group_id=group_id,
            kind=summary.kind,
            state=summary.state,
            group_epoch=epoch,
            assignor=assignor,
            members=members,
            offsets=tuple(describing.lag_of(*row, self._topics.bounds) for row in rows),
        )

    def describe_classic(self, group_id: str) -> ClassicGroupInfo:
        """With its members' bytes. Raises GroupNotFoundError, GroupKindError."""
        with self._lock:
            group = self._find(group_id)
            if isinstance(group, ClassicGroup):
                return group.describe()
            raise _other_kind(group)

    def delete_group(self, group_id: str) -> None:
        """Durable when it returns."""

        def release() -> list[KeyValue]:
            group = self._find(group_id)
            self._refuse_if_occupied(group)
            del self._groups[group_id]
            if isinstance(group, ClassicGroup):
                group.delete()
            return [epoch_tombstone(group)]

        self._offsets.delete_group(group_id, release).result()

    def close(self) -> None:
        """Nobody waits any longer: joins and syncs get StoreClosedError, watches are called."""
        with self._change() as effects:
            error = StoreClosedError("the store is closed")
            effects.calls += [partial(p.set_error, error) for p in self._waiting.values()]
            self._waiting.clear()
            for entry in self._groups.values():
                effects.calls += [watch.on_change for watch in entry.watches]
                entry.watches.clear()

    # --- under the lock, and after it -------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[_Effects]:
        """Under the lock; then what follows from it. After an error nothing does."""
        effects = _Effects()
        with self._lock:
            yield effects
        # Nobody waits for an epoch to be durable: a lost one is a lower epoch for members of
        # other names.
        for group_id, records in effects.records:
            self._journal.append(records, group_id)
        for call in effects.calls:
            call()

    def _group_of(self, group_id: str, kind: type[G]) -> G:
        """The group, or a new one that is not kept yet (`_follow` does that). An empty group may
        become one of the other kind. Raises GroupKindError."""
        entry = self._groups.get(group_id)
        if entry is not None:
            if isinstance(entry.group, kind):
                return entry.group
            if not entry.group.is_vacant:
                raise _other_kind(entry.group)
        group = kind(group_id, self._config, epoch=0 if entry is None else entry.group.epoch)
        if isinstance(group, ConsumerGroup):
            group.topics_changed(self._counts)
        return group

    def _follow(self, group: Group, effects: _Effects, replies: Sequence[Reply] = ()) -> None:
        """An event has changed the group: keep it, and note what is to be written and told."""
        entry = self._groups.get(group.group_id)
        records: list[KeyValue] = []
        if entry is None:
            entry = self._groups[group.group_id] = _Entry(group, 0)
        elif entry.group is not group:  # it is of another kind now
            records.append(epoch_tombstone(entry.group))
            entry.group, entry.written_epoch = group, -1
        if group.epoch != entry.written_epoch:
            records.append(epoch_record(group, self._clock.now_ms()))
            entry.written_epoch = group.epoch
        if records:
            effects.records.append((group.group_id, records))
        if group.is_vacant:
            self._offsets.group_is_empty(group.group_id)
        if isinstance(group, ConsumerGroup):
            self._tell_watchers(entry, group, effects)
        else:
            self._answer(replies, effects)
            self._note_deadline(group.next_deadline())

    @staticmethod
    def _tell_watchers(entry: _Entry, group: ConsumerGroup, effects: _Effects) -> None:
        if group.revision == entry.told_revision:
            return
        entry.told_revision = group.revision
        news = [
            watch for watch in entry.watches if group.would_change(watch.member_id, watch.known)
        ]
        for watch in news:
            del entry.watches[watch]
            effects.calls.append(watch.on_change)

    def _await(self, pending: Pending[Any]) -> None:
        """The event that was given the next ticket has taken it."""
        self._tickets += 1
        self._waiting[self._tickets] = pending

    def _answer(self, replies: Sequence[Reply], effects: _Effects) -> None:
        for ticket, answer in replies:
            pending = self._waiting.pop(ticket, None)
            if pending is None:  # closed since
                continue
            if isinstance(answer, LogStoreError):
                effects.calls.append(partial(pending.set_error, answer))
            else:
                effects.calls.append(partial(pending.set_result, answer))

    def _note_deadline(self, deadline: float | None) -> None:
        if deadline is not None and (self._deadline is None or deadline < self._deadline):
            self._deadline = deadline

    def _find(self, group_id: str) -> Group:
        entry = self._groups.get(group_id)
        if entry is None:
            raise GroupNotFoundError(f"there is no group {group_id!r}", group_id=group_id)
        return entry.group

    @staticmethod
    def _refuse_if_occupied(group: Group) -> None:
        if not group.is_vacant:
            raise GroupNotEmptyError(
                f"group {group.group_id!r} has {group.member_count} members; stop them first",
                group_id=group.group_id,
                members=group.member_count,
            )

    def _refuse_if_read(self, group: Group, topics: set[str]) -> None:
        if isinstance(group, ClassicGroup):  # what they read is in their bytes
            self._refuse_if_occupied(group)
            return
        busy = sorted(topics & group.subscribed_topics())
        if busy:
            raise GroupNotEmptyError(
                f"group {group.group_id!r} has members that read {busy[0]!r}",
                group_id=group.group_id,
            )

    # --- opening ----------------------------------------------------------------------------

    def _read_topics(self) -> None:
        self._offsets.topic_ids = self._topics.partition_counts()
        self._counts = {name: count for name, (_, count) in self._offsets.topic_ids.items()}

    def _recover(self) -> list[str]:
        """Raises CorruptDataError. Returns what had to be mended."""
        known: dict[str, KnownGroup] = {}
        for producer_id, raw_key, value in self._journal.replay_with_open():
            key = decode_key(raw_key)
            if isinstance(key, OffsetKey):
                offset = None if value is None else decode_offset(value)
                if producer_id == NO_PRODUCER_ID:
                    self._offsets.load(key, offset)
                else:
                    self._offsets.load_open(producer_id, key, offset)
            elif key is not None and producer_id == NO_PRODUCER_ID:
                replay_epoch(known, key, value)
        notes = self._offsets.loaded(self._topics.bounds)
        for group_id in sorted({*known, *self._offsets.group_ids()}):
            found = known.get(group_id, KnownGroup(is_classic=False, epoch=0))
            group: Group
            if found.is_classic:
                group = ClassicGroup(group_id, self._config, epoch=found.epoch)
            else:
                group = ConsumerGroup(group_id, self._config, epoch=found.epoch)
                group.topics_changed(self._counts)
            self._groups[group_id] = _Entry(group, found.epoch)
            self._offsets.group_is_empty(group_id)
        return notes


def check_group_id(group_id: str) -> None:
    """Raises InvalidGroupIdError."""
    if not 0 < len(group_id) <= GROUP_ID_LENGTH_MAX:
        raise InvalidGroupIdError(
            f"a group id has 1 to {GROUP_ID_LENGTH_MAX} characters; {len(group_id)} were given"
        )
    if not is_unicode(group_id):
        raise InvalidGroupIdError("a group id is Unicode text; this one has half a surrogate pair")


def _other_kind(group: Group) -> GroupKindError:
    return GroupKindError(
        f"group {group.group_id!r} is of kind {describing.kind_of(group)} and has members",
        group_id=group.group_id,
        kind=describing.kind_of(group),
    )
