"""Commits on their way to the disk: in which order, what is told when, what a late one undoes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from logstore.api import OffsetToCommit, ProducerIdentity, TopicPartition
from logstore.config import GroupConfig
from logstore.errors import DiskFullError, UnknownMemberError, UnstableOffsetCommitError
from logstore.group.offset_manager import OffsetManager
from logstore.group.offset_records import OffsetKey, decode_key, decode_offset
from logstore.group.offsets import KeyValue
from logstore.pending import Pending
from logstore.testing import ManualClock
from tests.group.doubles import JournalDouble, TopicsDouble

RETENTION_MS = 60_000
T0, T1 = TopicPartition("t", 0), TopicPartition("t", 1)


class Rig:
    def __init__(self, journal: JournalDouble | None = None) -> None:
        self.journal = journal or JournalDouble()
        self.clock = ManualClock()
        self.topics = TopicsDouble(t=2)
        self.lock = threading.Lock()
        self.manager = self.open()

    def open(self) -> OffsetManager:
        config = GroupConfig(offsets_retention_ms=RETENTION_MS)
        manager = OffsetManager(config, self.clock, self.journal, self.lock)
        manager.topic_ids = self.topics.partition_counts()
        for raw_key, value, _ in self.journal.replay():
            key = decode_key(raw_key)
            assert isinstance(key, OffsetKey)
            manager.load(key, None if value is None else decode_offset(value))
        self.notes = manager.loaded(self.topics.bounds)
        return manager

    def commit(self, offset: int, part: TopicPartition = T0, group_id: str = "g") -> Pending[None]:
        return self.manager.commit(group_id, [OffsetToCommit(*part, offset)], lambda: None)

    def told(self, group_id: str = "g") -> dict[TopicPartition, int]:
        return {p: item.offset for p, item in self.manager.committed_of(group_id).items()}

    def age(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds / 1000)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_who_is_not_admitted_changes_nothing(rig):
    def refuse() -> None:
        assert rig.lock.locked()
        raise UnknownMemberError("who?")

    with pytest.raises(UnknownMemberError):
        rig.manager.commit("g", [OffsetToCommit(*T0, 5)], refuse)
    assert rig.manager.group_ids() == []
    assert rig.journal.waiting == []
    rig.commit(6).result()
    assert rig.told() == {T0: 6}, "no lock is left taken"


def test_a_commit_that_was_held_up_is_not_written_over_a_later_one():
    """One that passed its check and stops before its write keeps the next from being decided."""
    in_write, may_go_on = threading.Event(), threading.Event()

    class SlowJournal(JournalDouble):
        def append(
            self,
            records: Sequence[KeyValue],
            entity: str,
            producer: ProducerIdentity | None = None,
        ) -> Pending[None]:
            if not in_write.is_set():
                in_write.set()
                assert may_go_on.wait(10)
            return super().append(records, entity, producer)

    rig = Rig(SlowJournal())
    first = threading.Thread(target=rig.commit, args=(1,))
    first.start()
    assert in_write.wait(10)
    second = threading.Thread(target=rig.commit, args=(2,))
    second.start()
    assert rig.told() == {}, "reading does not wait for a write"
    may_go_on.set()
    for thread in (first, second):
        thread.join(10)
    rig.journal.flush()

    assert rig.told() == {T0: 2}
    rig.manager = rig.open()
    assert rig.told() == {T0: 2}


def test_a_callback_of_a_commit_may_commit(rig):
    rig.commit(1).add_done_callback(lambda _: rig.commit(2))
    rig.journal.flush()
    rig.journal.flush()
    assert rig.told() == {T0: 2}


def test_a_commit_that_fails_leaves_what_was(rig):
    rig.commit(1).result()
    rig.commit(2)
    rig.journal.fail(DiskFullError("full"))
    assert rig.told() == {T0: 1}
    rig.commit(3).result()
    assert rig.told() == {T0: 3}


def test_what_is_forgotten_while_a_commit_is_under_way_stays_so(rig):
    rig.commit(1)
    rig.manager.forget("g", lambda offsets: offsets.written())
    rig.journal.flush()
    assert rig.told() == {}
    rig.manager = rig.open()
    assert rig.told() == {}


def test_an_offset_that_is_being_committed_anew_is_not_old(rig):
    rig.commit(1).result()
    rig.age(RETENTION_MS + 1)
    rig.commit(2)
    rig.manager.expire(lambda _: False)
    rig.journal.flush()
    assert rig.told() == {T0: 2}


def test_offsets_of_groups_with_members_do_not_expire(rig):
    rig.commit(1).result()
    rig.commit(1, group_id="h").result()
    rig.age(RETENTION_MS + 1)
    rig.manager.expire(lambda group_id: group_id == "g")
    rig.journal.flush()
    assert (rig.told("g"), rig.told("h")) == ({T0: 1}, {})


def test_a_group_is_forgotten_when_it_is_old_and_has_nothing(rig):
    rig.manager.group_is_empty("g")
    rig.age(RETENTION_MS)
    assert not rig.manager.is_forgotten("g")
    rig.age(1)
    assert rig.manager.is_forgotten("g")
    rig.commit(1)
    assert not rig.manager.is_forgotten("g"), "something is under way"


def test_orphans_are_forgotten_but_not_what_is_committed_for_the_new_topic(rig):
    rig.commit(1).result()
    rig.commit(2, T1).result()
    rig.topics.make("t", 2)
    rig.manager.topic_ids = rig.topics.partition_counts()
    rig.commit(7, T1)
    rig.manager.forget_orphans()
    rig.journal.flush()
    assert rig.told() == {T1: 7}
    assert rig.manager.of("g").values.keys() == {T1}


def test_a_group_that_stays_keeps_its_offsets(rig):
    rig.commit(1).result()
    assert rig.manager.delete_group("g", list).done
    assert rig.told() == {T0: 1}


def test_a_deleted_group_is_forgotten_with_what_is_under_way(rig):
    rig.commit(1).result()
    rig.commit(2, T1)
    rig.manager.delete_group("g", lambda: [(b"\x00\x09", None)]).result()
    assert rig.told() == {}
    assert [value for _, value in rig.journal.durable[-3:]] == [None] * 3
    assert rig.journal.durable[-3][0] == b"\x00\x09"


def test_what_is_loaded_beyond_the_end_is_lowered(rig):
    rig.commit(90).result()
    rig.topics.ends["t", 0] = (0, 70)
    rig.manager = rig.open()
    assert rig.told() == {T0: 70}
    assert rig.notes == [
        "group g: committed offset 90 of t-0 is beyond the log's end and was lowered to 70"
    ]


def test_groups_of_which_all_was_forgotten_are_not_loaded(rig):
    rig.commit(1).result()
    rig.manager.forget("g", lambda offsets: offsets.written()).result()
    rig.manager = rig.open()
    assert rig.manager.group_ids() == []


def test_a_transaction_that_ends_waits_for_a_commit_that_is_being_written():
    """Held after the end, the offset of an aborted transaction would count with the next one."""
    in_write, may_go_on = threading.Event(), threading.Event()

    class SlowJournal(JournalDouble):
        def append(
            self,
            records: Sequence[KeyValue],
            entity: str,
            producer: ProducerIdentity | None = None,
        ) -> Pending[None]:
            in_write.set()
            assert may_go_on.wait(10)
            return super().append(records, entity, producer)

    rig = Rig(SlowJournal())
    producer = ProducerIdentity(7, 0)
    offsets = [OffsetToCommit(*T0, 5)]
    first = threading.Thread(target=rig.manager.commit, args=("g", offsets, lambda: None, producer))
    first.start()
    assert in_write.wait(10)
    with pytest.raises(UnstableOffsetCommitError), rig.lock:  # decided already
        rig.manager.check_stable("g", [T0])
    second = threading.Thread(
        target=lambda: rig.manager.end_transaction(producer.producer_id, commit=False)
    )
    second.start()
    second.join(0.05)  # time to go wrong in
    may_go_on.set()
    for thread in (first, second):
        thread.join(10)
    rig.manager.end_transaction(producer.producer_id, commit=True)
    rig.manager.check_stable("g", [T0])
    assert rig.told() == {}
