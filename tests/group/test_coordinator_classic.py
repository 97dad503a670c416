"""Classic groups behind the coordinator: calls that wait, both kinds of group side by side."""

from __future__ import annotations

from typing import Any

import pytest

from logstore.api import (
    ClassicHeartbeat,
    ClassicJoin,
    ClassicJoined,
    ClassicLeave,
    ClassicSync,
    ClassicSynced,
    GroupHeartbeat,
    GroupKind,
    OffsetToCommit,
    TopicPartition,
)
from logstore.config import GroupConfig
from logstore.errors import (
    GroupKindError,
    GroupNotEmptyError,
    GroupNotFoundError,
    IllegalGenerationError,
    InvalidGroupIdError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    StoreClosedError,
    UnknownMemberError,
)
from logstore.group.coordinator import GroupCoordinator
from logstore.group.offset_records import ClassicGroupKey, GroupKey, decode_key
from logstore.pending import Pending
from logstore.testing import ManualClock
from tests.group.classic_rig import RANGE, REBALANCE, SESSION, join_request
from tests.group.doubles import JournalDouble, TopicsDouble

T0 = TopicPartition("t", 0)
RETENTION_MS = 60_000


class Rig:
    def __init__(self) -> None:
        self.journal = JournalDouble()
        self.topics = TopicsDouble(t=2)
        self.clock = ManualClock()
        self.ids = 0
        self.groups = self.open()

    def open(self) -> GroupCoordinator:
        config = GroupConfig(offsets_retention_ms=RETENTION_MS)
        return GroupCoordinator(config, self.clock, self.journal, self.topics, self.new_id)

    def new_id(self) -> Any:
        """Short ones: the coordinator only asks for their text."""
        self.ids += 1
        return f"m{self.ids}"

    def restart(self) -> None:
        self.journal.crash()
        self.groups = self.open()

    def join(self, member_id: str = "", **asked) -> Pending[ClassicJoined]:
        return self.groups.classic_join(join_request(member_id, **asked))

    def sync(self, member_id: str, generation: int, **assignments: bytes) -> Pending[ClassicSynced]:
        return self.groups.classic_sync(
            ClassicSync("g", member_id, generation, assignments=assignments)
        )

    def beat(self, member_id: str, generation: int) -> None:
        self.groups.classic_heartbeat(ClassicHeartbeat("g", member_id, generation))

    def leave(self, member_id: str) -> None:
        self.groups.classic_leave(ClassicLeave("g", member_id))

    def commit(self, offset: int, **member) -> Pending[None]:
        return self.groups.commit_offsets("g", [OffsetToCommit(*T0, offset)], **member)

    def consumer_join(self) -> int:
        heartbeat = GroupHeartbeat("g", "c", subscribed_topics=("t",))
        return self.groups.heartbeat(heartbeat).member_epoch

    def assigned_one(self) -> None:
        """m1 is alone, assigned at generation 1."""
        assert self.join().result(0).member_id == "m1"
        assert self.sync("m1", 1, m1=b"all").result(0).assignment == b"all"


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_join_waits_for_the_others_and_a_sync_for_the_leader(rig):
    rig.assigned_one()
    second = rig.join()
    assert not second.done
    with pytest.raises(RebalanceInProgressError):
        rig.beat("m1", 1)
    first = rig.join("m1")
    assert (first.result(0).generation, second.result(0).generation) == (2, 2)
    assert first.result(0).leader == "m1"

    follower = rig.sync("m2", 2)
    assert not follower.done
    assert rig.sync("m1", 2, m1=b"one", m2=b"two").result(0).assignment == b"one"
    assert follower.result(0).assignment == b"two"
    rig.beat("m2", 2)


def test_what_waits_is_answered_by_time(rig):
    rig.assigned_one()
    second = rig.join(rebalance_timeout_ms=1000)
    assert rig.groups.next_deadline() is not None
    rig.clock.advance(SESSION)
    rig.groups.tick()
    assert second.result(0).leader == "m2"
    rig.clock.advance(REBALANCE)
    rig.groups.tick()
    assert rig.groups.list_groups()[0].state == "empty"
    assert rig.groups.next_deadline() is None


def test_the_id_that_is_asked_for_first_comes_through_the_pending(rig):
    with pytest.raises(MemberIdRequiredError) as caught:
        rig.join(needs_known_id=True).result(0)
    member_id = caught.value.details["member_id"]
    assert rig.join(member_id, needs_known_id=True).result(0).member_id == member_id


def test_a_refused_call_makes_no_group(rig):
    for call in (
        lambda: rig.join("nobody"),
        lambda: rig.sync("m1", 1),
        lambda: rig.beat("m1", 1),
        lambda: rig.leave("m1"),
    ):
        with pytest.raises(UnknownMemberError):
            call()
    with pytest.raises(InvalidGroupIdError):
        rig.groups.classic_join(ClassicJoin("", "consumer", (RANGE,), 10_000, 10_000))
    assert rig.groups.list_groups() == []


def test_a_callback_may_call_the_coordinator(rig):
    synced: list[Pending[ClassicSynced]] = []
    rig.join().add_done_callback(
        lambda done: synced.append(rig.sync("m1", done.result(0).generation))
    )
    assert synced[0].result(0).assignment == b""


def test_closing_lets_go_of_all_who_wait(rig):
    rig.assigned_one()
    waiting = rig.join()
    calls: list[str] = []
    other = rig.groups.heartbeat(GroupHeartbeat("h", "c", subscribed_topics=("t",)))
    rig.groups.watch_member("h", "c", other, lambda: calls.append("c"))
    rig.groups.close()
    assert calls == ["c"]
    assert isinstance(waiting.error, StoreClosedError)
    rig.clock.advance(SESSION)
    rig.groups.tick()
    rig.groups.close()
    assert calls == ["c"]


# --- offsets ----------------------------------------------------------------------------------


def test_commits_are_for_members_of_the_present_generation(rig):
    rig.assigned_one()
    rig.commit(5, member_id="m1", member_epoch=1).result()
    with pytest.raises(IllegalGenerationError):
        rig.commit(6, member_id="m1", member_epoch=2)
    with pytest.raises(UnknownMemberError):
        rig.commit(6)
    rig.leave("m1")
    rig.commit(7).result()
    assert rig.groups.committed_offsets("g", [T0])[0].offset == 7


def test_offsets_of_a_group_with_classic_members_are_not_deleted_or_reset(rig):
    rig.commit(5).result()
    rig.assigned_one()
    with pytest.raises(GroupNotEmptyError):
        rig.groups.delete_offsets("g", [T0])
    with pytest.raises(GroupNotEmptyError):
        rig.groups.delete_group("g")
    rig.leave("m1")
    rig.groups.delete_offsets("g", [T0])
    assert rig.groups.committed_offsets("g") == []


# --- two kinds --------------------------------------------------------------------------------


def test_a_group_with_members_keeps_its_kind(rig):
    rig.assigned_one()
    with pytest.raises(GroupKindError):
        rig.consumer_join()
    rig.leave("m1")
    assert rig.consumer_join() == 3, "it keeps counting"
    with pytest.raises(GroupKindError):
        rig.join()
    with pytest.raises(GroupKindError):
        rig.groups.describe_classic("g")


def test_a_refused_join_leaves_an_empty_group_its_kind(rig):
    rig.commit(5).result()
    with pytest.raises(UnknownMemberError):
        rig.join("nobody")
    assert rig.groups.list_groups()[0].kind is GroupKind.CONSUMER


def test_an_id_that_was_given_keeps_the_kind(rig):
    rig.join(needs_known_id=True)
    with pytest.raises(GroupKindError):
        rig.consumer_join()
    rig.clock.advance(SESSION)
    rig.groups.tick()
    assert rig.consumer_join() == 1


def test_kind_generation_and_offsets_survive_a_restart(rig):
    rig.commit(5).result()
    rig.assigned_one()
    rig.commit(6, member_id="m1", member_epoch=1).result()
    rig.restart()
    (summary,) = rig.groups.list_groups()
    assert (summary.kind, summary.state, summary.members) == (GroupKind.CLASSIC, "empty", 0)
    assert rig.groups.committed_offsets("g", [T0])[0].offset == 6
    with pytest.raises(UnknownMemberError):
        rig.beat("m1", 1)
    assert rig.join().result(0).generation == 2


def test_the_record_of_the_kind_before_is_forgotten(rig):
    rig.consumer_join()
    rig.groups.heartbeat(GroupHeartbeat("g", "c", -1))
    assert rig.join().result(0).generation == 3
    rig.journal.flush()
    last = {decode_key(key): value for key, value in rig.journal.durable}
    assert last[GroupKey("g")] is None
    assert last[ClassicGroupKey("g")] is not None
    rig.restart()
    assert rig.groups.describe_group("g").kind is GroupKind.CLASSIC
    assert rig.groups.describe_group("g").group_epoch == 3


def test_a_classic_group_is_described_and_deleted(rig):
    rig.assigned_one()
    info = rig.groups.describe_group("g")
    assert (info.kind, info.state, info.group_epoch) == (GroupKind.CLASSIC, "stable", 1)
    assert (info.assignor, [member.member_id for member in info.members]) == ("range", ["m1"])
    assert rig.groups.describe_classic("g").members[0].assignment == b"all"
    with pytest.raises(GroupNotFoundError):
        rig.groups.describe_classic("other")
    rig.leave("m1")
    rig.groups.delete_group("g")
    assert rig.groups.list_groups() == []
    rig.restart()
    assert rig.groups.list_groups() == []
    assert rig.join().result(0).generation == 1


@pytest.mark.parametrize("is_classic", [True, False])
def test_a_group_that_nobody_uses_is_forgotten(rig, is_classic):
    if is_classic:
        rig.assigned_one()
        rig.leave("m1")
    else:
        rig.consumer_join()
        rig.groups.heartbeat(GroupHeartbeat("g", "c", -1))
    rig.clock.advance(RETENTION_MS / 1000)
    rig.groups.expire_offsets()
    assert len(rig.groups.list_groups()) == 1
    rig.clock.advance(0.001)
    rig.groups.expire_offsets()
    assert rig.groups.list_groups() == []
    rig.journal.flush()
    rig.restart()
    assert rig.groups.list_groups() == []
