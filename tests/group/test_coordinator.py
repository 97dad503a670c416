"""All groups over a journal: what is durable when, what a restart keeps, who is called back."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.api import (
    EPOCH_JOIN,
    EPOCH_LEAVE,
    GroupAssignment,
    GroupHeartbeat,
    GroupKind,
    GroupSummary,
    OffsetReset,
    OffsetToCommit,
    PartitionLag,
    ResetTo,
    TopicPartition,
)
from logstore.config import GroupConfig
from logstore.errors import (
    CorruptDataError,
    DiskFullError,
    FencedMemberError,
    GroupNotEmptyError,
    GroupNotFoundError,
    InvalidGroupIdError,
    InvalidRequestError,
    LogStoreError,
    OffsetMetadataTooLargeError,
    StaleMemberEpochError,
    UnknownMemberError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.group.coordinator import GROUP_ID_LENGTH_MAX, GroupCoordinator
from logstore.group.offset_records import (
    ClassicGroupKey,
    GroupKey,
    OffsetKey,
    decode_key,
    encode_key,
)
from logstore.testing import ManualClock
from tests.group.doubles import JournalDouble, TopicsDouble

SESSION = 10.0
RETENTION_MS = 60_000
T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


@dataclass
class Rig:
    journal: JournalDouble = field(default_factory=JournalDouble)
    topics: TopicsDouble = field(default_factory=lambda: TopicsDouble(t=2, u=1))
    clock: ManualClock = field(default_factory=ManualClock)
    ids: int = 0

    def __post_init__(self) -> None:
        self.groups = self.open()

    def open(self) -> GroupCoordinator:
        config = GroupConfig(
            session_timeout_ms=int(SESSION * 1000), offsets_retention_ms=RETENTION_MS
        )
        return GroupCoordinator(config, self.clock, self.journal, self.topics, self.new_id)

    def restart(self, *, kept: int = 0) -> None:
        self.journal.crash(kept)
        self.groups = self.open()

    def new_id(self) -> uuid.UUID:
        self.ids += 1
        return uuid.UUID(int=self.ids)

    def join(self, member_id: str = "a", group_id: str = "g", **asked) -> GroupAssignment:
        asked = {"subscribed_topics": ("t",), **asked}
        return self.groups.heartbeat(GroupHeartbeat(group_id, member_id, EPOCH_JOIN, **asked))

    def beat(self, answer: GroupAssignment) -> GroupAssignment:
        return self.groups.heartbeat(
            GroupHeartbeat("g", answer.member_id, answer.member_epoch, owned=answer.partitions)
        )

    def leave(self, member_id: str = "a") -> None:
        self.groups.heartbeat(GroupHeartbeat("g", member_id, EPOCH_LEAVE))

    def commit(self, offset: int, part: TopicPartition = T0, metadata: str = "", **member):
        commit = OffsetToCommit(*part, offset, metadata=metadata)
        return self.groups.commit_offsets("g", [commit], **member)

    def committed(self, part: TopicPartition = T0) -> int:
        (found,) = self.groups.committed_offsets("g", [part])
        return found.offset

    def keys(self) -> list[object]:
        return [decode_key(key) for key, _ in self.journal.durable]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def nothing_is_located(_):
    raise AssertionError("not by time")


# --- commits ----------------------------------------------------------------------------------


def test_a_commit_is_told_once_it_is_durable(rig):
    pending = rig.commit(5, metadata="m")
    assert not pending.done
    assert rig.committed() == -1

    rig.journal.flush()
    assert pending.done
    (found,) = rig.groups.committed_offsets("g", [T0])
    assert found == ("t", 0, 5, -1, "m", rig.clock.now_ms())


def test_a_commit_that_was_not_written_is_not_told(rig):
    rig.commit(5).result()
    lost = rig.commit(6)
    rig.journal.fail(DiskFullError("full"))
    with pytest.raises(DiskFullError):
        lost.result()
    rig.journal.failure = DiskFullError("full")
    with pytest.raises(DiskFullError):
        rig.commit(7).result()
    assert rig.committed() == 5


def test_commits_become_visible_in_their_order(rig):
    for offset in (1, 2, 3):
        rig.commit(offset)
    rig.journal.flush(2)
    assert rig.committed() == 2
    rig.journal.flush()
    assert rig.committed() == 3


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (OffsetToCommit("v", 0, 1), UnknownTopicError),
        (OffsetToCommit("t", 2, 1), UnknownPartitionError),
        (OffsetToCommit("t", -1, 1), UnknownPartitionError),
        (OffsetToCommit("t", 0, -1), InvalidRequestError),
        (OffsetToCommit("t", 0, 1, metadata="\ud800"), InvalidRequestError),
        (OffsetToCommit("t", 0, 1, metadata="ü" * 2049), OffsetMetadataTooLargeError),
    ],
)
def test_a_commit_is_all_or_none(rig, bad, error):
    with pytest.raises(error):
        rig.groups.commit_offsets("g", [OffsetToCommit("t", 1, 1), bad])
    assert rig.journal.waiting == []
    assert rig.groups.list_groups() == []


def test_a_commit_of_nothing_is_done(rig):
    assert rig.groups.commit_offsets("g", []).done


def test_only_members_of_the_present_epoch_commit(rig):
    member = rig.join()
    rig.commit(1, member_id="a", member_epoch=member.member_epoch)
    with pytest.raises(UnknownMemberError):
        rig.commit(2)
    with pytest.raises(UnknownMemberError):
        rig.commit(2, member_id="b", member_epoch=1)
    with pytest.raises(StaleMemberEpochError):
        rig.commit(2, member_id="a", member_epoch=member.member_epoch + 1)
    rig.journal.flush()
    assert rig.committed() == 1


def test_a_member_that_is_dead_commits_no_more(rig):
    member = rig.join()
    rig.clock.advance(SESSION)
    rig.groups.tick()
    with pytest.raises(UnknownMemberError):
        rig.commit(2, member_id="a", member_epoch=member.member_epoch)


@pytest.mark.parametrize("group_id", ["", "g" * (GROUP_ID_LENGTH_MAX + 1), "\ud800"])
def test_a_group_has_a_name_that_can_be_written(rig, group_id):
    for call in (
        lambda: rig.join(group_id=group_id),
        lambda: rig.groups.commit_offsets(group_id, []),
        lambda: rig.groups.committed_offsets(group_id),
        lambda: rig.groups.reset_offsets(OffsetReset(group_id, ResetTo.LATEST), nothing_is_located),
    ):
        with pytest.raises(InvalidGroupIdError):
            call()


# --- over a restart ---------------------------------------------------------------------------


def test_durable_commits_are_there_after_a_restart(rig):
    rig.commit(5).result()
    rig.commit(6, T1)
    rig.restart()
    assert [tuple(found)[:3] for found in rig.groups.committed_offsets("g")] == [("t", 0, 5)]


def test_members_are_unknown_after_a_restart_and_the_epoch_does_not_fall(rig):
    rig.join("a")
    second = rig.join("b")
    rig.journal.flush()
    rig.restart()

    with pytest.raises(UnknownMemberError):
        rig.beat(second)
    assert rig.groups.describe_group("g").group_epoch == 2
    again = rig.join("b")
    assert again.member_epoch == 3
    assert set(again.partitions) == {T0, T1}


def test_the_epoch_is_the_highest_of_two_that_were_written_in_either_order(rig):
    rig.join("a")
    rig.join("b")
    rig.journal.waiting.reverse()
    rig.journal.flush()
    rig.restart()
    assert rig.groups.describe_group("g").group_epoch == 2


def test_every_rise_of_the_epoch_is_written(rig):
    rig.join("a")
    rig.join("b")
    rig.topics.grow("t", 3)
    rig.groups.topics_changed()
    rig.clock.advance(SESSION)
    rig.groups.tick()
    rig.journal.flush()
    assert rig.groups.describe_group("g").group_epoch == 4
    rig.restart()
    assert rig.groups.describe_group("g").group_epoch == 4
    assert rig.keys() == [GroupKey("g")] * 4


def test_an_offset_beyond_the_end_of_the_log_is_lowered(rig):
    rig.commit(90, metadata="m").result()
    rig.commit(80, T1).result()
    rig.topics.ends["t", 0] = (0, 70)
    rig.restart()

    assert (rig.committed(T0), rig.committed(T1)) == (70, 80)
    assert rig.groups.committed_offsets("g", [T0])[0].metadata == "m"
    (note,) = rig.groups.recovery_notes
    assert "90" in note
    assert "70" in note
    rig.journal.flush()
    rig.topics.ends["t", 0] = (0, 100)
    rig.restart()
    assert (rig.committed(T0), rig.groups.recovery_notes) == (70, [])


def test_records_of_other_types_are_passed_over(rig):
    rig.commit(5).result()
    rig.journal.durable.append((b"\x00\x05\x00\x01g\x00\x01m", b"member"))
    rig.restart()
    assert rig.committed() == 5


@settings(deadline=None)
@given(
    data=st.binary(max_size=60),
    key=st.sampled_from([OffsetKey("g", "t", 0), GroupKey("g"), ClassicGroupKey("g")]),
    is_key=st.booleans(),
)
def test_garbage_in_the_journal_is_read_or_corrupt(data, key, is_key):
    rig = Rig()
    rig.journal.durable.append((data, b"") if is_key else (encode_key(key), data))
    with contextlib.suppress(CorruptDataError):
        rig.restart()


# --- topics -----------------------------------------------------------------------------------


def test_a_topic_that_is_made_again_has_no_offsets(rig):
    rig.commit(5).result()
    rig.topics.delete("t")
    rig.groups.topics_changed()
    assert rig.committed() == -1
    rig.topics.make("t", 2)
    rig.groups.topics_changed()
    assert rig.committed() == -1
    rig.journal.flush()
    rig.restart()
    assert rig.committed() == -1
    assert rig.groups.committed_offsets("g") == []


def test_a_topic_that_is_made_again_while_stopped_has_no_offsets(rig):
    rig.commit(5).result()
    rig.topics.make("t", 2, high_watermark=0)
    rig.restart()
    assert rig.committed() == -1
    assert rig.groups.recovery_notes == []


def test_new_partitions_are_for_the_members(rig):
    answer = rig.join()
    rig.topics.grow("t", 3)
    rig.groups.topics_changed()
    assert len(rig.beat(answer).partitions) == 3


# --- deleting and expiry ----------------------------------------------------------------------


def test_a_deleted_group_is_gone_for_good(rig):
    rig.commit(5).result()
    rig.groups.delete_group("g")

    assert rig.groups.list_groups() == []
    assert rig.committed() == -1
    with pytest.raises(GroupNotFoundError):
        rig.groups.describe_group("g")
    rig.restart()
    assert rig.groups.list_groups() == []
    assert rig.committed() == -1


def test_a_commit_under_way_is_deleted_with_its_group(rig):
    rig.commit(5)
    rig.groups.delete_group("g")
    assert rig.committed() == -1
    rig.restart()
    assert rig.groups.list_groups() == []
    assert rig.committed() == -1


def test_a_group_with_members_is_not_deleted(rig):
    rig.join()
    with pytest.raises(GroupNotEmptyError):
        rig.groups.delete_group("g")
    rig.leave()
    rig.groups.delete_group("g")
    with pytest.raises(GroupNotFoundError):
        rig.groups.delete_group("g")


def test_offsets_are_deleted_one_by_one(rig):
    rig.commit(5).result()
    rig.commit(6, T1).result()
    rig.groups.delete_offsets("g", [T0, TopicPartition("u", 0)])
    assert (rig.committed(T0), rig.committed(T1)) == (-1, 6)
    rig.restart()
    assert (rig.committed(T0), rig.committed(T1)) == (-1, 6)


def test_a_commit_under_way_is_deleted_too(rig):
    rig.commit(5)
    rig.groups.delete_offsets("g", [T0])
    assert rig.committed() == -1
    rig.restart()
    assert rig.committed() == -1


def test_offsets_that_members_need_are_not_deleted(rig):
    rig.commit(5).result()
    rig.commit(1, TopicPartition("u", 0)).result()
    rig.join()
    with pytest.raises(GroupNotEmptyError, match="'t'"):
        rig.groups.delete_offsets("g", [TopicPartition("u", 0), T0])
    assert rig.committed(TopicPartition("u", 0)) == 1
    rig.groups.delete_offsets("g", [TopicPartition("u", 0)])
    with pytest.raises(GroupNotFoundError):
        rig.groups.delete_offsets("other", [T0])


def test_offsets_expire_when_nobody_was_in_the_group_for_long(rig):
    rig.commit(5).result()
    rig.clock.advance(RETENTION_MS / 1000 / 2)
    member = rig.join()
    for _ in range(20):
        rig.clock.advance(SESSION / 2)
        rig.beat(member)
    rig.groups.expire_offsets()
    rig.leave()
    rig.clock.advance(RETENTION_MS / 1000)
    rig.groups.expire_offsets()
    rig.journal.flush()
    assert rig.committed() == 5

    rig.clock.advance(0.001)
    rig.groups.expire_offsets()
    rig.journal.flush()
    assert rig.committed() == -1
    rig.restart()
    assert rig.committed() == -1


def test_the_time_stopped_does_not_make_offsets_old(rig):
    rig.commit(5).result()
    rig.clock.advance(RETENTION_MS)
    rig.restart()
    rig.groups.expire_offsets()
    rig.journal.flush()
    assert rig.committed() == 5


# --- resetting --------------------------------------------------------------------------------


def test_a_reset_is_durable_when_it_returns(rig):
    reset = OffsetReset("g", ResetTo.LATEST, topics=("t",))
    found = rig.groups.reset_offsets(reset, nothing_is_located)
    assert [item[:3] for item in found] == [("t", 0, 100), ("t", 1, 100)]
    rig.restart()
    assert (rig.committed(T0), rig.committed(T1)) == (100, 100)


def test_a_dry_run_resets_nothing(rig):
    reset = OffsetReset("g", ResetTo.LATEST, topics=("t",), dry_run=True)
    assert rig.groups.reset_offsets(reset, nothing_is_located)[0].offset == 100
    assert rig.groups.committed_offsets("g") == []


def test_a_group_with_members_is_not_reset(rig):
    rig.join()
    with pytest.raises(GroupNotEmptyError):
        rig.groups.reset_offsets(OffsetReset("g", ResetTo.LATEST), nothing_is_located)


# --- what is told of groups -------------------------------------------------------------------


def test_groups_are_listed_by_name(rig):
    rig.join("a", group_id="h")
    rig.commit(5).result()
    assert rig.groups.list_groups() == [
        GroupSummary("g", GroupKind.CONSUMER, "empty", 0),
        GroupSummary("h", GroupKind.CONSUMER, "stable", 1),
    ]


def test_a_group_is_described_with_its_lag(rig):
    rig.commit(95).result()
    rig.commit(3, TopicPartition("u", 0), "m").result()
    rig.join()
    rig.topics.ends["t", 1] = (40, 100)
    info = rig.groups.describe_group("g")

    assert (info.state, info.group_epoch, info.assignor) == ("stable", 1, "sticky")
    assert [member.member_id for member in info.members] == ["a"]
    assert info.offsets == (
        PartitionLag("t", 0, 95, 100, 5, "", "a"),
        PartitionLag("t", 1, -1, 100, 60, "", "a"),
        PartitionLag("u", 0, 3, 100, 97, "m", ""),
    )


def test_a_refused_join_makes_no_group(rig):
    with pytest.raises(InvalidRequestError):
        rig.join(subscribed_topics=())
    assert rig.groups.list_groups() == []
    assert rig.journal.waiting == []


# --- watching ---------------------------------------------------------------------------------


def test_who_watches_is_called_once_when_something_changes(rig):
    calls: list[str] = []
    answer = rig.join("a")
    rig.groups.watch_member("g", "a", answer, lambda: calls.append("a"))
    assert calls == []

    rig.join("b")
    assert calls == ["a"]
    rig.topics.grow("t", 4)
    rig.groups.topics_changed()
    assert calls == ["a"]


def test_a_waiting_member_is_called_when_its_part_is_free(rig):
    calls: list[str] = []
    first = rig.join("a")
    waiting = rig.join("b")
    rig.groups.watch_member("g", "b", waiting, lambda: calls.append("b"))
    rig.beat(rig.beat(first))
    assert calls == ["b"]
    assert rig.beat(waiting).partitions


def test_what_is_news_already_calls_at_once(rig):
    calls: list[int] = []
    first = rig.join("a")
    rig.join("b")
    rig.groups.watch_member("g", "a", first, lambda: calls.append(1))
    rig.groups.watch_member("g", "nobody", first, lambda: calls.append(2))
    rig.groups.watch_member("other", "a", first, lambda: calls.append(3))
    left = GroupAssignment("a", EPOCH_LEAVE, 1000, ())
    rig.groups.watch_member("g", "a", left, lambda: calls.append(4))
    assert calls == [1, 2, 3, 4]


def test_who_has_cancelled_is_not_called(rig):
    calls: list[int] = []
    answer = rig.join("a")
    watch = rig.groups.watch_member("g", "a", answer, lambda: calls.append(1))
    watch.cancel()
    watch.cancel()
    rig.join("b")
    assert calls == []


def test_a_callback_may_call_the_coordinator(rig):
    answers: list[GroupAssignment] = []
    answer = rig.join("a")
    rig.groups.watch_member("g", "a", answer, lambda: answers.append(rig.beat(answer)))
    rig.join("b")
    assert len(answers[0].partitions) == 1


def test_the_death_of_a_member_is_told_to_the_others(rig):
    calls: list[int] = []
    rig.join("a")
    rig.clock.advance(1)
    waiting = rig.join("b")
    rig.groups.watch_member("g", "b", waiting, lambda: calls.append(1))
    assert rig.groups.next_deadline() == SESSION
    rig.clock.advance(SESSION - 1)
    rig.groups.tick()
    assert calls == [1]
    assert len(rig.beat(waiting).partitions) == 2


def test_a_refused_heartbeat_calls_nobody(rig):
    calls: list[int] = []
    answer = rig.join("a")
    rig.groups.watch_member("g", "a", answer, lambda: calls.append(1))
    for heartbeat, error in (
        (GroupHeartbeat("g", "a", 9), FencedMemberError),
        (GroupHeartbeat("g", "b", 9), UnknownMemberError),
    ):
        with pytest.raises(error):
            rig.groups.heartbeat(heartbeat)
    assert calls == []


def test_no_deadline_without_members(rig):
    assert rig.groups.next_deadline() is None
    rig.groups.tick()
    with pytest.raises(LogStoreError):
        rig.leave()
    assert rig.keys() == []


def test_the_keys_written_are_kafkas(rig):
    rig.join()
    rig.commit(1, member_id="a", member_epoch=1).result()
    assert rig.keys() == [GroupKey("g"), OffsetKey("g", "t", 0)]
    assert rig.journal.durable[1][0] == encode_key(OffsetKey("g", "t", 0))
