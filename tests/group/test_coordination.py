"""The verbs of classic members: calls that wait, both kinds of group side by side, mixed groups."""

from __future__ import annotations

from typing import Any

import pytest

from logstore.api import (
    ClassicHeartbeat,
    ClassicJoin,
    ClassicJoined,
    ClassicLeave,
    ClassicProtocol,
    ClassicSync,
    ClassicSynced,
    GroupCoordination,
    GroupHeartbeat,
    GroupKind,
    LeavingMember,
    ListedGroup,
    MemberCommit,
    OffsetsQuery,
    OffsetToCommit,
    ProducerIdentity,
    TopicPartition,
)
from logstore.config import GroupConfig
from logstore.errors import (
    FencedInstanceError,
    GroupKindError,
    GroupNotEmptyError,
    GroupNotFoundError,
    GroupReadsTopicError,
    IllegalGenerationError,
    InvalidGroupIdError,
    InvalidRequestError,
    MemberIdRequiredError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    StaleMemberEpochError,
    StorageFailedError,
    StoreClosedError,
    UnknownMemberError,
    UnknownPartitionError,
    UnknownTopicError,
    UnstableOffsetCommitError,
)
from logstore.group import Coordination, GroupCoordinator
from logstore.group.consumer_protocol import (
    decode_assignment,
    encode_assignment,
    encode_subscription,
)
from logstore.group.offset_records import ClassicGroupKey, GroupKey, decode_key
from logstore.pending import Pending
from logstore.testing import ManualClock
from tests.group.classic_rig import RANGE, REBALANCE, SESSION, join_request
from tests.group.doubles import JournalDouble, TopicsDouble

T0 = TopicPartition("t", 0)
CONSUMER = (ClassicProtocol("range", encode_subscription(["t"], ())),)
RETENTION_MS = 60_000


def at_once(pending: Pending[Any]) -> Pending[Any]:
    """Raises what it has failed with."""
    if pending.error is not None:
        raise pending.error
    return pending


class Rig:
    def __init__(self) -> None:
        self.journal = JournalDouble()
        self.topics = TopicsDouble(t=2)
        self.clock = ManualClock()
        self.ids = 0
        self.is_closed = False
        self.announced: float | None = None
        self.groups = self.open()

    def open(self) -> GroupCoordinator:
        config = GroupConfig(
            offsets_retention_ms=RETENTION_MS, classic_initial_rebalance_delay_ms=0
        )
        return GroupCoordinator(config, self.clock, self.journal, self.topics, self.new_id)

    def new_id(self) -> Any:
        """Short ones: the coordinator only asks for their text."""
        self.ids += 1
        return f"m{self.ids}"

    def restart(self) -> None:
        self.journal.crash()
        self.groups = self.open()

    def join(self, member_id: str = "", **asked) -> Pending[ClassicJoined]:
        return at_once(self.verbs.join(join_request(member_id, **asked)))

    def sync(self, member_id: str, generation: int, **assignments: bytes) -> Pending[ClassicSynced]:
        return at_once(
            self.verbs.sync(ClassicSync("g", member_id, generation, assignments=assignments))
        )

    def beat(self, member_id: str, generation: int) -> None:
        self.verbs.heartbeat(ClassicHeartbeat("g", member_id, generation))

    def leave(self, member_id: str) -> None:
        (error,) = self.verbs.leave(ClassicLeave("g", (LeavingMember(member_id),)))
        if error is not None:
            raise error

    @property
    def verbs(self) -> GroupCoordination:
        return Coordination(self.groups, self.check_open, self.announce)

    def check_open(self) -> None:
        if self.is_closed:
            raise StoreClosedError("closed")

    def announce(self) -> None:
        self.announced = self.groups.next_deadline()

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


def test_a_member_id_begins_with_the_clients(rig):
    assert rig.join(client_id="c" * 1000).result(0).member_id == "c" * 200 + "-m1"


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
        at_once(rig.verbs.join(ClassicJoin("", "consumer", (RANGE,), 10_000, 10_000)))
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
        rig.join(protocol_type="connect")


def test_a_refused_join_leaves_an_empty_group_its_kind(rig):
    rig.commit(5).result()
    with pytest.raises(UnknownMemberError):
        rig.join("nobody")
    assert rig.groups.list_groups()[0].kind is GroupKind.CONSUMER


def test_an_id_that_was_given_keeps_the_kind(rig):
    with pytest.raises(MemberIdRequiredError):
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
    assert rig.verbs.describe("g").members[0].assignment == b"all"
    with pytest.raises(GroupNotFoundError):
        rig.verbs.describe("other")
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


def test_groups_are_listed_with_their_type(rig):
    rig.groups.commit_offsets("only-offsets", [OffsetToCommit(*T0, 5)]).result()
    rig.assigned_one()
    assert rig.verbs.list_groups() == [
        ListedGroup("g", GroupKind.CLASSIC, "stable", "consumer"),
        ListedGroup("only-offsets", GroupKind.CONSUMER, "empty", ""),
    ]


# --- leaving ----------------------------------------------------------------------------------


def test_several_leave_at_once_and_are_told_one_by_one(rig):
    rig.assigned_one()
    second, third = rig.join(), rig.join()
    first = rig.join("m1")
    assert {p.result(0).generation for p in (first, second, third)} == {2}
    rig.sync("m1", 2)
    waiting = rig.join("m1")
    outcomes = rig.verbs.leave(
        ClassicLeave("g", tuple(LeavingMember(name) for name in ("m2", "nobody", "m3")))
    )
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        UnknownMemberError,
        type(None),
    ]
    assert waiting.result(0).generation == 3, "disturbed once"
    assert len(waiting.result(0).members) == 1


def test_who_leaves_no_group_makes_none(rig):
    (error,) = rig.verbs.leave(ClassicLeave("g", (LeavingMember("m1"),)))
    assert isinstance(error, UnknownMemberError)
    assert rig.groups.list_groups() == []


# --- offsets one by one -----------------------------------------------------------------------


def commit_each(rig, *offsets: OffsetToCommit, **asked):
    return rig.verbs.commit(MemberCommit("g", offsets, **asked))


def test_an_offset_that_is_refused_leaves_the_others_be(rig):
    pending = commit_each(
        rig,
        OffsetToCommit("t", 0, 5, 3, "m"),
        OffsetToCommit("t", 9, 5),
        OffsetToCommit("none", 0, 5),
        OffsetToCommit("t", 1, 6, metadata="x" * 5000),
        OffsetToCommit("t", 1, 7),
    )
    assert not pending.done, "not durable yet"
    assert [type(error) for error in pending_result(rig, pending)] == [
        type(None),
        UnknownPartitionError,
        UnknownTopicError,
        OffsetMetadataTooLargeError,
        type(None),
    ]
    found = rig.verbs.offsets(OffsetsQuery("g"))
    assert [item[:5] for item, _ in found] == [("t", 0, 5, 3, "m"), ("t", 1, 7, -1, "")]


def pending_result(rig, pending):
    rig.journal.flush()
    return pending.result(0)


def test_a_commit_of_nothing_good_is_answered_at_once(rig):
    (error,) = commit_each(rig, OffsetToCommit("none", 0, 5)).result(0)
    assert isinstance(error, UnknownTopicError)
    assert commit_each(rig).result(0) == []
    assert rig.journal.waiting == []
    assert rig.groups.list_groups() == [], "and makes no group"


def test_a_member_that_may_not_commit_commits_nothing(rig):
    rig.assigned_one()
    rig.journal.flush()
    offset = OffsetToCommit("t", 0, 5)
    for asked, error in (
        ({"member_id": "m1", "member_epoch": 7}, IllegalGenerationError),
        ({"member_id": "m7", "member_epoch": 1}, UnknownMemberError),
        ({}, UnknownMemberError),
    ):
        assert isinstance(commit_each(rig, offset, **asked).error, error)
    assert rig.journal.waiting == []


def test_a_static_member_that_was_replaced_is_fenced_as_it_commits(rig):
    rig.join(instance_id="i")
    rig.sync("i-m1", 1)
    rig.join(instance_id="i")
    asked = {"member_id": "i-m1", "member_epoch": 1, "instance_id": "i"}
    assert isinstance(
        commit_each(rig, OffsetToCommit("t", 0, 5), **asked).error, FencedInstanceError
    )


def test_a_commit_that_fails_on_its_way_fails(rig):
    pending = commit_each(rig, OffsetToCommit("t", 0, 5))
    rig.journal.fail(StorageFailedError("gone"))
    assert isinstance(pending.error, StorageFailedError)


def test_offsets_that_a_transaction_may_move_are_unstable(rig):
    rig.commit(5).result()
    producer = ProducerIdentity(7, 0)
    rig.groups.commit_offsets("g", [OffsetToCommit(*T0, 9)], producer=producer)
    ((found, error),) = rig.verbs.offsets(OffsetsQuery("g", (T0,), require_stable=True))
    assert isinstance(error, UnstableOffsetCommitError)
    ((found, error),) = rig.verbs.offsets(OffsetsQuery("g", (T0,)))
    assert (found.offset, error) == (5, None)
    rig.groups.end_transaction(7, commit=True)
    ((found, error),) = rig.verbs.offsets(OffsetsQuery("g", require_stable=True))
    assert (found.offset, error) == (9, None)


def test_who_asks_as_a_server_assigned_member_must_be_one(rig):
    epoch = rig.consumer_join()
    asked = {"member_id": "c", "member_epoch": epoch}
    assert rig.verbs.offsets(OffsetsQuery("g", (T0,), **asked))[0][0].offset == -1
    with pytest.raises(StaleMemberEpochError):
        rig.verbs.offsets(OffsetsQuery("g", (T0,), member_id="c", member_epoch=epoch + 1))
    with pytest.raises(UnknownMemberError):
        rig.verbs.offsets(OffsetsQuery("g", (T0,), member_id="d", member_epoch=epoch))
    with pytest.raises(GroupNotFoundError):
        rig.verbs.offsets(OffsetsQuery("none", (T0,), **asked))


def test_offsets_are_deleted_of_topics_that_nobody_reads(rig):
    rig.topics.make("u", 1)
    rig.groups.topics_changed()
    for topic in "tu":
        rig.groups.commit_offsets("g", [OffsetToCommit(topic, 0, 5)]).result()
    rig.join(protocols=CONSUMER)
    with pytest.raises(GroupReadsTopicError):
        rig.groups.delete_offsets("g", [T0])
    rig.groups.delete_offsets("g", [TopicPartition("u", 0)])
    assert [item.topic for item in rig.groups.committed_offsets("g")] == ["t"]


# --- mixed groups -----------------------------------------------------------------------------


def parts_of(synced: Pending[ClassicSynced]) -> tuple[TopicPartition, ...]:
    return decode_assignment(synced.result(0).assignment)


def consumer_beat(rig, epoch: int, *owned: TopicPartition):
    return rig.groups.heartbeat(GroupHeartbeat("g", "c", epoch, owned=owned))


def test_a_classic_member_joins_a_server_assigned_group(rig):
    both = (T0, TopicPartition("t", 1))
    epoch = rig.consumer_join()
    calls: list[str] = []
    told = consumer_beat(rig, epoch, *both)
    rig.groups.watch_member("g", "c", told, lambda: calls.append("c"))
    joined = rig.join("d", protocols=CONSUMER)
    assert calls == ["c"], "who has to give up hears of it"
    assert parts_of(rig.sync("d", joined.result(0).generation)) == ()
    kept = consumer_beat(rig, epoch, *both).partitions
    consumer_beat(rig, epoch, *kept)
    with pytest.raises(RebalanceInProgressError):
        rig.beat("d", joined.result(0).generation)
    assert rig.announced is not None
    generation = rig.join("d", protocols=CONSUMER).result(0).generation
    assert set(parts_of(rig.sync("d", generation))) == set(both) - set(kept)
    rig.beat("d", generation)
    rig.commit(5, member_id="d", member_epoch=generation).result()
    with pytest.raises(IllegalGenerationError):
        rig.commit(6, member_id="d", member_epoch=generation - 1)
    info = rig.groups.describe_group("g")
    assert [member.is_classic for member in info.members] == [False, True]
    assert rig.verbs.describe("g").state == "stable"

    rig.clock.advance(SESSION)  # d is silent
    rig.groups.tick()
    assert [member.member_id for member in rig.groups.describe_group("g").members] == ["c"]


def test_a_server_assigned_member_makes_a_classic_group_mixed(rig):
    rig.join(protocols=CONSUMER)
    both = (T0, TopicPartition("t", 1))
    rig.sync("m1", 1, m1=encode_assignment(both))
    waiting = rig.join(protocols=CONSUMER)
    told = rig.groups.heartbeat(GroupHeartbeat("g", "c", subscribed_topics=("t",)))
    assert told.partitions == ()
    assert waiting.result(0).generation == told.member_epoch
    assert rig.groups.list_groups()[0].kind is GroupKind.CONSUMER
    with pytest.raises(RebalanceInProgressError):
        rig.beat("m1", 1)
    rig.commit(5, member_id="m1", member_epoch=1).result()
    for name in ("m1", "m2"):  # m1 gives up all, and m2 may get some of it
        generation = rig.join(name, protocols=CONSUMER).result(0).generation
    owned = {name: parts_of(rig.sync(name, generation)) for name in ("m1", "m2")}
    owned["c"] = consumer_beat(rig, told.member_epoch).partitions
    shared = [part for parts in owned.values() for part in parts]
    assert len(shared) == len(set(shared)) == 2

    for name in ("m1", "m2"):
        rig.leave(name)
    rig.groups.heartbeat(GroupHeartbeat("g", "c", -1))
    assert rig.join().result(0).generation > generation, "an empty one may be classic again"
    rig.journal.flush()
    rig.restart()
    assert rig.groups.list_groups()[0].kind is GroupKind.CLASSIC


def test_a_refused_heartbeat_upgrades_nothing(rig):
    rig.join(protocols=CONSUMER)
    waiting = rig.join(protocols=CONSUMER)
    for refused, error in (
        (GroupHeartbeat("g", "c"), InvalidRequestError),  # without topics
        (GroupHeartbeat("g", "c", 1), GroupKindError),
        (GroupHeartbeat("g", "c", -1), GroupKindError),
    ):
        with pytest.raises(error):
            rig.groups.heartbeat(refused)
    assert rig.groups.list_groups()[0].kind is GroupKind.CLASSIC
    assert not waiting.done


# --- the store is closed ----------------------------------------------------------------------


def test_nothing_is_answered_once_the_store_is_closed(rig):
    rig.assigned_one()
    rig.is_closed = True
    for call in (
        lambda: rig.join(),
        lambda: rig.sync("m1", 1),
        lambda: rig.beat("m1", 1),
        lambda: rig.leave("m1"),
        lambda: at_once(commit_each(rig)),
        lambda: rig.verbs.offsets(OffsetsQuery("g")),
        lambda: rig.verbs.describe("g"),
        lambda: rig.verbs.list_groups(),
    ):
        with pytest.raises(StoreClosedError):
            call()
