"""All consumer groups of a store: members in memory, offsets and epochs in a journal.

A thin shell around the two kinds of group (ConsumerGroup, ClassicGroup: pure) and OffsetManager:
it takes the lock, reads the clock, writes to the journal, answers the calls that wait and tells
those who watch a member. Membership is not kept over a restart: members then find themselves
unknown and join again, under an epoch that never falls since it is in the journal.

Thread-safe; nothing is called back, and nothing written to the journal, under the lock.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from functools import partial

from logstore.api import (
    EPOCH_JOIN,
    EPOCH_LEAVE,
    CommittedOffset,
    GroupAssignment,
    GroupHeartbeat,
    GroupInfo,
    GroupSummary,
    MemberCommit,
    OffsetAnswer,
    OffsetQuery,
    OffsetReset,
    OffsetsQuery,
    OffsetToCommit,
    ProducerIdentity,
    TopicPartition,
)
from logstore.clock import Clock
from logstore.config import GroupConfig
from logstore.errors import (
    GroupReadsTopicError,
    InvalidGroupIdError,
    LogStoreError,
    UnstableOffsetCommitError,
)
from logstore.group import describing, translation
from logstore.group.classic_group import ClassicGroup
from logstore.group.consumer_group import ConsumerGroup
from logstore.group.describing import Group
from logstore.group.epochs import KnownGroup, epoch_tombstone, replay_epoch
from logstore.group.group_table import (
    Entry,
    GroupTable,
    MemberWatch,
    Topics,
    other_kind,
    refuse_if_occupied,
)
from logstore.group.offset_manager import Journal, is_unicode, unstable
from logstore.group.offset_records import OffsetKey, decode_key, decode_offset
from logstore.group.offsets import GroupOffsets, KeyValue
from logstore.group.resetting import resolve_reset
from logstore.pending import Pending
from logstore.record import NO_PRODUCER_ID

GROUP_ID_LENGTH_MAX = 255


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
        self._journal = journal
        self._clock = clock
        self.table = GroupTable(config, clock, journal, topics, new_id)
        self.table.read_topics()
        self.recovery_notes = self._recover()

    # --- members of server-assigned groups --------------------------------------------------

    def heartbeat(self, heartbeat: GroupHeartbeat) -> GroupAssignment:
        """Never waits. Raises GroupError, InvalidRequestError; then nothing has changed."""
        check_group_id(heartbeat.group_id)
        with self.table.change() as effects:
            now = self._clock.monotonic()
            before = self._upgradable(heartbeat)
            if before is None:
                group = self.table.group_of(heartbeat.group_id, ConsumerGroup)
            else:
                group = self._upgraded(before, now)
            answer = group.heartbeat(heartbeat, now, new_member_id=str(self.table.new_id()))
            replies = (
                [] if before is None else translation.answers_after_upgrade(before, group, now)
            )
            self.table.note_deadline(group.deadline_of(answer.member_id))
            self.table.follow(group, effects, replies)
        return answer

    def _upgradable(self, heartbeat: GroupHeartbeat) -> ClassicGroup | None:
        """The classic group, with members, that somebody joins who speaks heartbeats."""
        entry = self.table.groups.get(heartbeat.group_id)
        if heartbeat.member_epoch != EPOCH_JOIN or entry is None:
            return None
        group = entry.group
        return group if isinstance(group, ClassicGroup) and not group.is_vacant else None

    def _upgraded(self, before: ClassicGroup, now: float) -> ConsumerGroup:
        """Raises GroupKindError when its members do not say what they read."""
        group = translation.upgrade(before, self.table.config, now)
        if group is None:
            raise other_kind(before)
        group.topics_changed(self.table.counts)
        self.table.note_deadline(group.next_deadline())
        return group

    def watch_member(
        self, group_id: str, member_id: str, known: GroupAssignment, on_change: Callable[[], None]
    ) -> MemberWatch:
        """Call back once when the member's next heartbeat would be answered with something other
        than `known`, or with an error; at once if it would be already."""

        def forget(watch: MemberWatch) -> None:
            with self.table.lock:
                entry = self.table.groups.get(group_id)
                if entry is not None:
                    entry.watches.pop(watch, None)

        watch = MemberWatch(member_id, known, on_change, forget)
        with self.table.lock:
            entry = self.table.groups.get(group_id)
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

    # --- what time and topics bring ---------------------------------------------------------

    def topics_changed(self) -> None:
        """Topics were made, deleted, or got partitions."""
        with self.table.change() as effects:
            self.table.read_topics()
            for entry in self.table.groups.values():
                group = entry.group
                if isinstance(group, ConsumerGroup) and group.topics_changed(self.table.counts):
                    self.table.follow(group, effects)
        self.table.offsets.forget_orphans()

    def next_deadline(self) -> float | None:
        """When `tick` has something to do, or somewhat before."""
        with self.table.lock:
            return self.table.deadline

    def tick(self) -> None:
        """Go on without those whose time is over."""
        now = self._clock.monotonic()
        with self.table.change() as effects:
            self.table.deadline = None
            for entry in self.table.groups.values():
                group = entry.group
                deadline = group.next_deadline()
                if deadline is not None and deadline <= now:
                    if isinstance(group, ClassicGroup):
                        self.table.follow(group, effects, group.expire(now))
                    else:
                        group.expire(now)
                        self.table.follow(group, effects)
                    deadline = group.next_deadline()
                self.table.note_deadline(deadline)

    def expire_offsets(self) -> None:
        """Forget offsets of groups that nobody has been in for the retention time, and groups
        that have none left."""
        self.table.offsets.expire(self._has_members)
        with self.table.lock:
            forgotten = [group_id for group_id in self.table.groups if self._is_forgotten(group_id)]
        for group_id in forgotten:
            self.table.offsets.delete_group(group_id, partial(self._release_forgotten, group_id))

    def _has_members(self, group_id: str) -> bool:
        entry = self.table.groups.get(group_id)
        return entry is not None and not entry.group.is_vacant

    def _is_forgotten(self, group_id: str) -> bool:
        return not self._has_members(group_id) and self.table.offsets.is_forgotten(group_id)

    def _release_forgotten(self, group_id: str) -> list[KeyValue]:
        if group_id in self.table.groups and self._is_forgotten(group_id):
            return [epoch_tombstone(self.table.groups.pop(group_id).group)]
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
            self._admit(group_id, member_id, member_epoch, None, is_kept=bool(offsets))

        return self.table.offsets.commit(group_id, offsets, admit, producer)

    def commit_each(
        self, commit: MemberCommit, producer: ProducerIdentity | None = None
    ) -> Pending[list[LogStoreError | None]]:
        """See GroupCoordination.commit, with a producer TransactionCoordination.commit_offsets;
        errors that concern all are raised."""
        check_group_id(commit.group_id)
        is_fenced_by_epoch = producer is not None and not commit.member_id
        errors: list[LogStoreError | None] = []  # known when it is admitted

        def admit() -> None:
            self._admit(
                commit.group_id,
                commit.member_id,
                commit.member_epoch,
                commit.instance_id,
                is_kept=None in errors,
                may_anyone=is_fenced_by_epoch and commit.member_epoch < 0,
            )

        written = self.table.offsets.commit(
            commit.group_id, commit.offsets, admit, producer, errors=errors
        )
        answer: Pending[list[LogStoreError | None]] = Pending()

        def finish(done: Pending[None]) -> None:
            if done.error is not None:
                answer.set_error(done.error)
            else:
                answer.set_result(errors)

        written.add_done_callback(finish)
        return answer

    def _admit(
        self,
        group_id: str,
        member_id: str,
        member_epoch: int,
        instance_id: str | None,
        *,
        is_kept: bool,
        may_anyone: bool = False,
    ) -> None:
        """Under the lock. Raises GroupError if this member may not commit."""
        entry = self.table.groups.get(group_id)
        group = self.table.group_of(group_id, ConsumerGroup) if entry is None else entry.group
        if may_anyone:
            pass
        elif isinstance(group, ClassicGroup):
            now = self._clock.monotonic()
            group.check_commit(member_id, member_epoch, now, instance_id=instance_id)
        else:
            group.check_commit(member_id, member_epoch)
        if is_kept and entry is None:
            self.table.groups[group_id] = Entry(group, group.epoch)

    def end_transaction(self, producer_id: int, *, commit: bool) -> None:
        """Its markers are on disk: offsets that were committed in it count now, or never."""
        self.table.offsets.end_transaction(producer_id, commit=commit)

    def committed_offsets(
        self, group_id: str, partitions: Sequence[TopicPartition] | None = None
    ) -> list[CommittedOffset]:
        """Raises UnstableOffsetCommitError: see LogStore.committed_offsets."""
        check_group_id(group_id)
        with self.table.lock:
            if partitions is None:
                return list(self.table.offsets.committed_of(group_id).values())
            parts = [TopicPartition(*part) for part in partitions]
            self.table.offsets.check_stable(group_id, parts)
            return [self.table.offsets.committed(group_id, part) for part in parts]

    def offsets(
        self, query: OffsetsQuery
    ) -> list[tuple[CommittedOffset, UnstableOffsetCommitError | None]]:
        """See GroupCoordination.offsets."""
        group_id, partitions, offsets = query.group_id, query.partitions, self.table.offsets
        check_group_id(group_id)
        with self.table.lock:
            if query.member_epoch >= 0:
                group = self.table.find(group_id)
                if isinstance(group, ConsumerGroup):
                    group.check_commit(query.member_id, query.member_epoch)
            if partitions is None:
                found = offsets.committed_of(group_id)
            else:
                parts = [TopicPartition(*part) for part in partitions]
                found = {part: offsets.committed(group_id, part) for part in parts}
            held = offsets.held(group_id) if query.require_stable else set()
            return [
                (committed, unstable(group_id, part) if part in held else None)
                for part, committed in found.items()
            ]

    def delete_offsets(self, group_id: str, partitions: Sequence[TopicPartition]) -> None:
        """Durable when it returns. Not of topics that the group's members read."""
        wanted = {TopicPartition(*part) for part in partitions}

        def choose(offsets: GroupOffsets) -> set[TopicPartition]:
            _refuse_if_read(self.table.find(group_id), {part.topic for part in wanted})
            return offsets.written() & wanted

        self.table.offsets.forget(group_id, choose).result()

    def reset_offsets(
        self,
        reset: OffsetReset,
        locate: Callable[[Sequence[OffsetQuery]], list[OffsetAnswer]],
    ) -> list[CommittedOffset]:
        """Durable when it returns. `locate` is list_offsets of the store."""
        check_group_id(reset.group_id)
        with self.table.lock:
            entry = self.table.groups.get(reset.group_id)
            if entry is not None:
                refuse_if_occupied(entry.group)
            counts = self.table.counts
            found = self.table.offsets.committed_of(reset.group_id)
        committed = {part: item.offset for part, item in found.items()}
        targets = resolve_reset(reset, counts, committed, self.table.topics.bounds, locate)
        if not reset.dry_run:
            self.commit_offsets(
                reset.group_id,
                [OffsetToCommit(*part, offset) for part, offset in targets.items()],
            ).result()
        return [CommittedOffset(*part, offset, -1, "", -1) for part, offset in targets.items()]

    # --- whole groups -----------------------------------------------------------------------

    def list_groups(self) -> list[GroupSummary]:
        with self.table.lock:
            groups = [entry.group for _, entry in sorted(self.table.groups.items())]
            return [describing.summary_of(group) for group in groups]

    def describe_group(self, group_id: str) -> GroupInfo:
        with self.table.lock:
            group = self.table.find(group_id)
            members = describing.members_of(group)
            owners = describing.owners_of(members)
            rows = [
                (self.table.offsets.committed(group_id, part), owners.get(part, ""))
                for part in sorted({*self.table.offsets.committed_of(group_id), *owners})
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
            offsets=tuple(describing.lag_of(*row, self.table.topics.bounds) for row in rows),
        )

    def delete_group(self, group_id: str) -> None:
        """Durable when it returns."""

        def release() -> list[KeyValue]:
            group = self.table.find(group_id)
            refuse_if_occupied(group)
            del self.table.groups[group_id]
            if isinstance(group, ClassicGroup):
                group.delete()
            return [epoch_tombstone(group)]

        self.table.offsets.delete_group(group_id, release).result()

    def close(self) -> None:
        """Nobody waits any longer."""
        with self.table.change() as effects:
            self.table.close(effects)

    # --- opening ----------------------------------------------------------------------------

    def _recover(self) -> list[str]:
        """Raises CorruptDataError. Returns what had to be mended."""
        known: dict[str, KnownGroup] = {}
        for producer_id, raw_key, value in self._journal.replay_with_open():
            key = decode_key(raw_key)
            if isinstance(key, OffsetKey):
                offset = None if value is None else decode_offset(value)
                if producer_id == NO_PRODUCER_ID:
                    self.table.offsets.load(key, offset)
                else:
                    self.table.offsets.load_open(producer_id, key, offset)
            elif key is not None and producer_id == NO_PRODUCER_ID:
                replay_epoch(known, key, value)
        notes = self.table.offsets.loaded(self.table.topics.bounds)
        for group_id in sorted({*known, *self.table.offsets.group_ids()}):
            found = known.get(group_id, KnownGroup(is_classic=False, epoch=0))
            group: Group
            if found.is_classic:
                group = ClassicGroup(group_id, self.table.config, epoch=found.epoch)
            else:
                group = ConsumerGroup(group_id, self.table.config, epoch=found.epoch)
                group.topics_changed(self.table.counts)
            self.table.groups[group_id] = Entry(group, found.epoch)
            self.table.offsets.group_is_empty(group_id)
        return notes


def check_group_id(group_id: str) -> None:
    """Raises InvalidGroupIdError."""
    if not 0 < len(group_id) <= GROUP_ID_LENGTH_MAX:
        raise InvalidGroupIdError(
            f"a group id has 1 to {GROUP_ID_LENGTH_MAX} characters; {len(group_id)} were given"
        )
    if not is_unicode(group_id):
        raise InvalidGroupIdError("a group id is Unicode text; this one has half a surrogate pair")


def _refuse_if_read(group: Group, topics: set[str]) -> None:
    """Raises GroupNotEmptyError; of which GroupReadsTopicError, if it is known what is read."""
    read = describing.topics_read(group)
    if read is None:
        refuse_if_occupied(group)
        return
    busy = sorted(topics & read)
    if busy:
        raise GroupReadsTopicError(
            f"group {group.group_id!r} has members that read {busy[0]!r}",
            group_id=group.group_id,
            topic=busy[0],
        )
